//! Every op against its f64 reference, its gradient against finite differences, with every index checked
//! and guard words behind every buffer.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use goldfish::ops::{self, Targets, Transpose};
use goldfish::optim::Adam;
use goldfish::{Backward, Gpu, GpuOptions, Gradient, Result, Tape, Tensor, Var};
use libtest_mimic::Trial;

use crate::support::{gpu, gpu_trial, gpu_with, normal};

/// A device whose shaders check every index, where one opens. One case at a time: the guards are checked for all buffers.
static CHECKED: LazyLock<Mutex<goldfish::Result<Gpu>>> = LazyLock::new(|| {
    Mutex::new(Gpu::open(&GpuOptions {
        device: std::env::var("GOLDFISH_DEVICE").ok(),
        guard: true,
        checked: true,
        ..GpuOptions::default()
    }))
});

/// A case that failed does not spoil the device for the next.
fn checked() -> MutexGuard<'static, goldfish::Result<Gpu>> {
    CHECKED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn trials() -> Vec<Trial> {
    let cases = goldfish::selftest::cases().into_iter().map(|case| {
        let name = format!("ops::{}_{}", case.op, case.name.replace(' ', "_"));
        let skipped = checked().as_ref().is_ok_and(|gpu| !case.suits(gpu));
        let trial = gpu_trial(&name, move || {
            let gpu = checked();
            let outcome = case.run(gpu.as_ref().expect("a device opens"));
            assert!(outcome.is_ok(), "{outcome:?}");
        });
        match skipped {
            true => trial
                .with_ignored_flag(true)
                .with_kind("does not suit the device"),
            false => trial,
        }
    });
    cases
        .chain([
            gpu_trial("ops::a_weight_larger_than_a_binding_is_sharded", sharded),
            gpu_trial(
                "ops::logits_of_a_row_do_not_depend_on_the_other_rows",
                rows_are_independent,
            ),
            gpu_trial("ops::a_large_activation_is_refused_and_not_cut", oversized),
            gpu_trial("ops::wrong_shapes_are_errors_that_name_the_op", rejected),
            gpu_trial("ops::gradients_of_shared_values_add_up", shared_values),
            gpu_trial("ops::relu_and_pool_pass_nan_back_as_pytorch_does", nan_back),
            gpu_trial(
                "ops::a_grid_that_the_device_does_not_dispatch_is_an_error_naming_the_kernel",
                large_grids,
            ),
            gpu_trial(
                "ops::limits_past_those_of_the_device_are_refused",
                limits_past_the_device,
            ),
            gpu_trial(
                "ops::adam_refuses_other_parameters_than_its_first",
                adam_keeps_to_its_parameters,
            ),
            gpu_trial(
                "ops::an_outer_product_of_other_rows_is_refused",
                outer_of_other_rows,
            ),
            gpu_trial(
                "ops::a_value_of_another_tape_or_device_is_refused",
                strangers,
            ),
            gpu_trial("ops::a_rule_that_gives_no_gradient_is_refused", bad_rules),
        ])
        .collect()
}

fn sharded() {
    let small = gpu_with(GpuOptions {
        max_binding: Some(16 << 10),
        ..GpuOptions::default()
    });
    let run = |gpu: &Gpu| {
        let mut tape = Tape::new();
        let x = tape.leaf(&normal(gpu, 1, "x", &[3, 130], 1.0));
        // 67 rows of 520 bytes: three parts where a binding has 16 KiB.
        let w = tape.leaf(&normal(gpu, 1, "w", &[67, 130], 1.0));
        let y = ops::linear(&mut tape, &x, &w).expect("linear takes parts");
        let value = y.tensor.to_vec().expect("a result");
        let upstream = normal(gpu, 1, "dy", &[3, 67], 1.0);
        let gradients = tape.backward_from(&y, upstream).expect("gradients");
        let read = |v: &Var| {
            gradients
                .of(v)
                .expect("tracked")
                .dense()
                .expect("a gradient")
                .to_vec()
                .expect("a gradient")
        };
        (value, read(&x), read(&w))
    };
    let (parts, whole) = (run(&small), run(&gpu()));
    assert_eq!(parts.0, whole.0);
    assert_eq!(parts.2, whole.2);
    // The rows of w are summed part after part: other roundings.
    let expected: Vec<f64> = whole.1.iter().map(|&v| f64::from(v)).collect();
    assert!(crate::support::error(&parts.1, &expected) < 1e-6);
}

fn rows_are_independent() {
    let gpu = gpu();
    let w = Var::frozen(&normal(&gpu, 2, "w", &[37, 5000], 1.0));
    let all = normal(&gpu, 2, "x", &[11, 5000], 1.0);
    let host = all.to_vec().expect("data");
    let mut tape = Tape::new();
    let together = ops::linear(&mut tape, &Var::frozen(&all), &w).expect("logits");
    let together = together.tensor.to_vec().expect("logits");
    for (row, x) in host.chunks(5000).enumerate() {
        let x = goldfish::Tensor::from_slice(&gpu, [1, 5000], x).expect("a row");
        let alone = ops::linear(&mut tape, &Var::frozen(&x), &w).expect("logits");
        assert_eq!(
            alone.tensor.to_vec().expect("logits"),
            together[row * 37..(row + 1) * 37]
        );
    }
}

fn oversized() {
    let small = gpu_with(GpuOptions {
        max_binding: Some(16 << 10),
        ..GpuOptions::default()
    });
    let x = Var::frozen(&normal(&small, 1, "x", &[80, 80], 1.0));
    let error = ops::relu(&mut Tape::new(), &x)
        .map(|_| ())
        .expect_err("25 KiB in a binding of 16");
    assert!(error.to_string().contains("lower the batch"), "{error}");
}

fn rejected() {
    let gpu = gpu();
    let tensor = |shape: &[usize]| Var::frozen(&normal(&gpu, 1, "x", shape, 1.0));
    let mut tape = Tape::new();
    let (matrix, image) = (tensor(&[2, 3]), tensor(&[1, 2, 4, 4]));
    let errors = [
        ("add", ops::add(&mut tape, &matrix, &tensor(&[3, 2]))),
        ("bias", ops::bias(&mut tape, &matrix, &tensor(&[2]))),
        (
            "matmul",
            ops::matmul(&mut tape, &matrix, &matrix, Transpose::Nn),
        ),
        ("linear", ops::linear(&mut tape, &matrix, &tensor(&[2, 2]))),
        (
            "low_rank",
            ops::low_rank(&mut tape, &matrix, &matrix, [&matrix; 2], 1.0),
        ),
        ("max_pool2d", ops::max_pool2d(&mut tape, &image, 5, 1)),
        (
            "adaptive_avg_pool2d",
            ops::adaptive_avg_pool2d(&mut tape, &matrix, 7),
        ),
        ("reshape", ops::reshape(&mut tape, &matrix, [7])),
        ("mse_loss", ops::mse_loss(&mut tape, &matrix, &image)),
        (
            "cross_entropy",
            ops::cross_entropy(&mut tape, &matrix, Targets::Classes(&[1])),
        ),
    ];
    for (op, result) in errors {
        let error = result.map(|_| ()).expect_err(op).to_string();
        assert!(
            error.starts_with(&format!("{op}: expected")),
            "{op}: {error}"
        );
    }
}

fn shared_values() {
    let gpu = gpu();
    let mut tape = Tape::new();
    let x = tape.leaf(&normal(&gpu, 3, "x", &[5], 1.0));
    let twice = ops::add(&mut tape, &x, &x).expect("x + x");
    let y = ops::axpy(&mut tape, 3.0, &twice, &x).expect("3 (x + x) + x");
    let loss = ops::sum(&mut tape, 1.0, &y).expect("a sum");
    let gradients = tape.backward(&loss).expect("gradients");
    let dx = gradients
        .of(&x)
        .expect("tracked")
        .dense()
        .expect("a gradient")
        .to_vec()
        .expect("a gradient");
    assert_eq!(dx, [7.0; 5]);
}

/// The numbers are PyTorch 2's: a result of NaN lets the gradient through ReLU, the last NaN of a window takes its
/// gradient, and what ReLU or the pool left out gets 0 whatever comes from above.
fn nan_back() {
    const NAN: f32 = f32::NAN;
    let gpu = gpu();
    type Op = fn(&mut Tape, &Var) -> Result<Var>;
    let relu: Op = |tape, x| ops::relu(tape, x);
    let pool: Op = |tape, x| ops::max_pool2d(tape, x, 2, 2);
    let inf = f32::INFINITY;
    // An op, its input, the gradient from above, and what it makes of it.
    type Row = (Op, [f32; 4], Vec<f32>, [f32; 4]);
    let cases: [Row; 8] = [
        (
            relu,
            [NAN, inf, -inf, -1.0],
            vec![2.0; 4],
            [2.0, 2.0, 0.0, 0.0],
        ),
        (
            relu,
            [-NAN, 1.0, -1.0, -0.0],
            vec![NAN; 4],
            [NAN, NAN, 0.0, 0.0],
        ),
        (relu, [1.0, 2.0, 3.0, 4.0], vec![-inf; 4], [-inf; 4]),
        (pool, [1.0, NAN, 2.0, 3.0], vec![1.0], [0.0, 1.0, 0.0, 0.0]),
        (pool, [NAN, 1.0, NAN, 3.0], vec![1.0], [0.0, 0.0, 1.0, 0.0]),
        (pool, [-inf; 4], vec![1.0], [1.0, 0.0, 0.0, 0.0]),
        (pool, [1.0, inf, inf, 2.0], vec![1.0], [0.0, 1.0, 0.0, 0.0]),
        (pool, [4.0, 5.0, 7.0, 6.0], vec![NAN], [0.0, 0.0, NAN, 0.0]),
    ];
    for (op, x, upstream, expected) in cases {
        let mut tape = Tape::new();
        let leaf = tape.leaf(&Tensor::from_slice(&gpu, [1, 1, 2, 2], &x).expect("x"));
        let y = op(&mut tape, &leaf).expect("a result");
        let shape = y.tensor.shape().clone();
        let upstream = Tensor::from_slice(&gpu, shape, &upstream).expect("a gradient");
        let gradients = tape.backward_from(&y, upstream).expect("gradients");
        let dx = gradients.of(&leaf).and_then(Gradient::dense).expect("dx");
        let dx = dx.to_vec().expect("dx");
        let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        assert!(dx.iter().zip(&expected).all(same), "{x:?}: {dx:?}");
    }
}

fn large_grids() {
    let small = gpu_with(GpuOptions {
        max_groups: Some(4),
        ..GpuOptions::default()
    });
    // 16 workgroups of 256 are all there are.
    let relu = |n: usize| {
        let x = Var::frozen(&normal(&small, 1, "x", &[n], 1.0));
        let y = ops::relu(&mut Tape::new(), &x)?.tensor.to_vec()?;
        assert!(y.iter().any(|&y| y > 0.0));
        Ok::<_, goldfish::Error>(())
    };
    relu(16 * 256).expect("folded");
    let text = relu(16 * 256 + 1).expect_err("one too many").to_string();
    assert!(text.starts_with("relu.forward: a grid of 17"), "{text}");
    assert!(text.contains("lower the batch or image size"), "{text}");
}

fn limits_past_the_device() {
    let device = std::env::var("GOLDFISH_DEVICE").ok();
    let open = |max_binding, max_groups| {
        let device = device.clone();
        let options = GpuOptions {
            device,
            max_binding,
            max_groups,
            ..GpuOptions::default()
        };
        Gpu::open(&options).map(drop)
    };
    for (binding, groups) in [
        (Some(1 << 40), None),
        (Some(0), None),
        (None, Some(u32::MAX)),
        (None, Some(0)),
    ] {
        let text = open(binding, groups).expect_err("out of range").to_string();
        assert!(text.contains("were asked for"), "{text}");
    }
}

fn adam_keeps_to_its_parameters() {
    let gpu = gpu();
    let tensor = |n: usize| normal(&gpu, 1, "p", &[n], 1.0);
    let mut adam = Adam::new(0.1);
    let mut step = |sizes: &[usize]| {
        let mut parameters: Vec<Tensor> = sizes.iter().map(|&n| tensor(n)).collect();
        let gradients: Vec<Gradient> = sizes.iter().map(|&n| tensor(n).into()).collect();
        adam.step(&mut parameters, &gradients)
    };
    step(&[5]).expect("the first");
    for others in [&[6][..], &[4], &[5, 5], &[]] {
        let text = step(others).expect_err("others").to_string();
        assert!(
            text.starts_with("adam: expected the parameters of its first"),
            "{text}"
        );
    }
    step(&[5]).expect("the first again");
    assert_eq!(adam.steps, 2, "a refused step is none");
}

fn outer_of_other_rows() {
    let gpu = gpu();
    let tensor = |shape: &[usize]| normal(&gpu, 1, "x", shape, 1.0);
    for (left, right) in [([2, 3], [5, 7]), ([5, 3], [2, 7])] {
        let outer = Gradient::Outer {
            left: tensor(&left),
            right: tensor(&right),
            alpha: 1.0,
        };
        let text = outer.dense().map(drop).expect_err("other rows").to_string();
        assert!(text.contains("of an outer product"), "{text}");
        let step = Adam::new(0.1).step(&mut [tensor(&[3, 7])], &[outer]);
        assert!(step.is_err());
    }
    let flat = Gradient::Outer {
        left: tensor(&[6]),
        right: tensor(&[6, 2]),
        alpha: 1.0,
    };
    assert!(flat.shape().is_err());
}

fn strangers() {
    let gpu = gpu();
    let (mut one, mut other) = (Tape::new(), Tape::new());
    let x = one.leaf(&normal(&gpu, 1, "x", &[3], 1.0));
    let y = other.leaf(&normal(&gpu, 1, "y", &[3], 1.0));
    let text = ops::add(&mut one, &x, &y).map(drop).expect_err("two tapes");
    assert!(text.to_string().contains("another tape"), "{text}");
    let loss = ops::sum(&mut one, 1.0, &x).expect("a sum");
    assert!(other.backward(&loss).map(drop).is_err());
    let gradients = one.backward(&loss).expect("gradients");
    assert!(gradients.of(&x).is_ok() && gradients.of(&y).is_err());

    let elsewhere = gpu_with(GpuOptions::default());
    let far = Var::frozen(&normal(&elsewhere, 1, "y", &[3, 4], 1.0));
    let near = Var::frozen(&normal(&gpu, 1, "x", &[3, 4], 1.0));
    let mut tape = Tape::new();
    for result in [
        ops::add(&mut tape, &near, &far),
        ops::linear(&mut tape, &near, &far),
        ops::concat(&mut tape, &[near.clone(), far.clone()]),
    ] {
        let text = result.map(drop).expect_err("two devices").to_string();
        assert!(text.contains("different devices"), "{text}");
    }
    // Both go on.
    assert_eq!(far.tensor.to_vec().expect("data").len(), 12);
    assert!(ops::relu(&mut tape, &near).is_ok());
}

struct Gives(Vec<Option<Gradient>>);

impl Backward for Gives {
    fn backward(self: Box<Self>, _: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(self.0)
    }
}

fn bad_rules() {
    let gpu = gpu();
    let tensor = |shape: &[usize]| normal(&gpu, 1, "x", shape, 1.0);
    let gives = |gradients: Vec<Option<Gradient>>| {
        let mut tape = Tape::new();
        let x = tape.leaf(&tensor(&[2, 3]));
        let w = tape.leaf(&tensor(&[3]));
        let y = tape.record(tensor(&[1]), &[&x, &w], || Gives(gradients))?;
        tape.backward(&y).map(drop)
    };
    let (dx, dw): (Gradient, Gradient) = (tensor(&[2, 3]).into(), tensor(&[3]).into());
    gives(vec![Some(dx.clone()), Some(dw.clone())]).expect("as it should be");
    gives(vec![Some(dx.clone()), None]).expect("one that nothing depends on");
    for wrong in [
        vec![Some(dx.clone())],
        vec![],
        vec![Some(dw), Some(tensor(&[3]).into())],
        vec![Some(dx), Some(tensor(&[4]).into())],
    ] {
        let text = gives(wrong).expect_err("no gradient").to_string();
        assert!(text.starts_with("backward: expected a gradient"), "{text}");
    }
}
