//! Every op against its f64 reference, its gradient against finite differences, with every index checked
//! and guard words behind every buffer.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use goldfish::ops::{self, Targets, Transpose};
use goldfish::{Gpu, GpuOptions, Tape, Var};
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
