//! The library by itself: its words are its own, its types show themselves, and an op from outside the crate is checked
//! like those inside it.

use std::fmt::Write as _;

use goldfish::check::{Case, Input};
use goldfish::gpu::Access::{self, Read, Write};
use goldfish::gpu::Kernel;
use goldfish::{Error, Gpu, GpuOptions, Remedy, Result, Tape, Tensor, Var, ops};
use libtest_mimic::Trial;
use proc_macro2::{TokenStream, TokenTree};

use crate::floors::sources;
use crate::support::{gpu, gpu_trial, gpu_with, normal, trial};

#[path = "../examples/custom_op.rs"]
#[allow(dead_code)]
mod custom_op;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("library::no_text_of_the_library_names_a_flag", no_flags),
        trial("library::a_message_ends_with_one_remedy", remedies),
        gpu_trial("library::types_show_what_they_are", shown),
        gpu_trial("library::an_op_from_outside_is_checked", || {
            let done = custom_op::run(&guarded()).expect("the cases run");
            assert!(done, "an error is too large");
        }),
        gpu_trial("library::the_harness_sees_a_wrong_gradient", wrong_gradient),
        gpu_trial("library::a_wrong_use_of_a_kernel_is_an_error", wrong_uses),
        gpu_trial("library::a_kernel_may_bear_anothers_name", same_name),
        gpu_trial("library::a_write_past_the_end_is_lost", past_the_end),
        gpu_trial("library::a_shader_that_is_none_is_an_error", no_shader),
        gpu_trial(
            "library::a_kernel_that_is_ready_runs_while_another_is_compiled",
            compiled_beside,
        ),
    ]
}

/// Every string of a file, what its documentation says included.
fn strings(tokens: TokenStream, into: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => strings(group.stream(), into),
            TokenTree::Literal(literal) => into.push(literal.to_string()),
            _ => {}
        }
    }
}

fn names_a_flag(text: &str) -> bool {
    let mut after = text.split("--").skip(1);
    after.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn no_flags() {
    assert!(names_a_flag("try --lr") && !names_a_flag("a -- b, 1 --- 2"));
    let mut read = 0;
    for (file, text) in sources() {
        let program = file == "src/main.rs" || file.starts_with("src/cli/");
        if program || file.ends_with("/tests.rs") {
            continue;
        }
        let mut found = Vec::new();
        strings(text.parse().expect("Rust"), &mut found);
        read += found.len();
        found.retain(|text| names_a_flag(text));
        assert_eq!(found, Vec::<String>::new(), "{file}");
    }
    assert!(read > 1000, "{read} strings are too few to be all");
}

fn remedies() {
    let error = |remedy| Error::data("a.png".as_ref(), "is empty").with(remedy);
    assert_eq!(error(None).to_string(), "a.png: is empty");
    let all = [
        Remedy::LessAtOnce,
        Remedy::OtherDevice,
        Remedy::LowerRate,
        Remedy::LeaveOut,
        Remedy::OtherFolder,
    ];
    for remedy in all {
        let data = error(Some(remedy));
        assert_eq!(data.to_string(), format!("a.png: is empty. {remedy}"));
        assert_eq!(data.remedy(), Some(remedy));
        let device = Error::device("it stopped").with(remedy);
        assert_eq!(device.to_string(), format!("it stopped. {remedy}"));
        assert!(!remedy.to_string().ends_with('.'));
    }
    let setting = Error::setting("lr", "must be a positive number").with(Remedy::LowerRate);
    assert_eq!(setting.to_string(), "lr must be a positive number");
    assert_eq!(setting.remedy(), None);
}

fn guarded() -> Gpu {
    gpu_with(GpuOptions {
        guard: true,
        ..GpuOptions::default()
    })
}

fn shown() {
    let gpu = gpu();
    let name = &gpu.info().name;
    let x = Tensor::from_slice(&gpu, [2, 3], &[1.5; 6]).expect("a tensor");
    let expected = format!("Tensor {{ shape: [2, 3], layout: rows, device: {name:?} }}");
    assert_eq!(format!("{x:?}"), expected);
    let mut tape = Tape::new();
    let leaf = tape.leaf(&x);
    let shown = format!("{leaf:?}");
    let expected = format!("Var {{ tensor: {expected}, node: Some(Place {{ tape: ");
    assert!(
        shown.starts_with(&expected) && shown.ends_with(", index: 0 }) }"),
        "{shown}"
    );
    assert_eq!(format!("{tape:?}"), "Tape { nodes: 1 }");
    assert_eq!(format!("{gpu:?}"), format!("Gpu({name:?})"));
    let small = gpu_with(GpuOptions {
        max_binding: Some(16 << 10),
        ..GpuOptions::default()
    });
    let parts = normal(&small, 1, "x", &[80, 80], 1.0);
    assert!(format!("{parts:?}").contains("layout: rows in 2 parts"));
}

const DOUBLE: &str = "
@group(0) @binding(0) var<uniform> n: u32;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if id.x < n {
        y[id.x] = 2.0 * x[id.x];
    }
}";
static KERNEL: Kernel =
    Kernel::new::<u32>("double.forward", "outside.wgsl", "forward", &[Read, Write])
        .with_text(DOUBLE);

fn double(x: &Tensor) -> Result<Tensor> {
    let n = x.shape().len();
    let y = Tensor::empty(x.gpu(), x.shape().clone())?;
    let groups = n.div_ceil(64);
    x.gpu().compute(&KERNEL, &(n as u32), &[x, &y], groups)?;
    Ok(y)
}

/// A rule that forgets the 2.
struct Wrong;

impl goldfish::Backward for Wrong {
    fn backward(
        self: Box<Self>,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<goldfish::Gradient>>> {
        Ok(vec![Some(dy.clone().into())])
    }
}

fn wrong_gradient() {
    let outcome = Case::new(
        "double",
        "[70]",
        [Input::normal([70])],
        |tape, v| tape.record(double(&v[0].tensor)?, &[&v[0]], || Wrong),
        |v| v[0].iter().map(|x| 2.0 * x).collect(),
    )
    .run(&guarded());
    assert_eq!(outcome.problem, None);
    assert_eq!(outcome.forward_error, Some(0.0));
    let error = outcome.gradient_error.expect("it has a gradient");
    assert!(
        (error - 0.5).abs() < 1e-6 && !outcome.is_ok(),
        "{outcome:?}"
    );
}

fn wrong_uses() {
    let (gpu, other) = (gpu(), guarded());
    let x = normal(&gpu, 1, "x", &[64], 1.0);
    let y = Tensor::empty(&gpu, [64]).expect("a tensor");
    let elsewhere = normal(&other, 1, "x", &[64], 1.0);
    let texture = Kernel::new::<u32>(
        "t",
        "outside.wgsl",
        "forward",
        &[Access::ReadTexture, Write],
    )
    .with_text(DOUBLE);
    let same = Var::frozen(&y);
    let same = ops::reshape(&mut Tape::new(), &same, [8, 8]).expect("another shape");
    for (says, result) in [
        ("1 tensors for 2", gpu.compute(&KERNEL, &64u32, &[&x], 1)),
        ("params of 8", gpu.compute(&KERNEL, &64u64, &[&x, &y], 1)),
        (
            "another device",
            gpu.compute(&KERNEL, &64u32, &[&elsewhere, &y], 1),
        ),
        (
            "is written, and bound",
            gpu.compute(&KERNEL, &64u32, &[&y, &y], 1),
        ),
        (
            "is written, and bound",
            gpu.compute(&KERNEL, &64u32, &[&same.tensor, &y], 1),
        ),
        ("is a texture", gpu.compute(&texture, &64u32, &[&x, &y], 1)),
        (
            "workgroups",
            gpu.compute(&KERNEL, &64u32, &[&x, &y], usize::MAX),
        ),
    ] {
        let error = result.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    // Nothing of that was recorded, and the device works on.
    let twice = double(&x).and_then(|y| y.to_vec()).expect("numbers");
    let once = x.to_vec().expect("numbers");
    assert!(once.iter().zip(&twice).all(|(a, b)| 2.0 * a == *b));
}

/// Kernels of this crate are found again by their name: one from outside of the same name is another one.
fn same_name() {
    let gpu = gpu();
    let x = Tensor::from_slice(&gpu, [2], &[-1.0, 3.0]).expect("a tensor");
    let relu = || {
        let y = ops::relu(&mut Tape::new(), &Var::frozen(&x)).expect("relu");
        y.tensor.to_vec().expect("numbers")
    };
    assert_eq!(relu(), [0.0, 3.0]);
    let triple = DOUBLE.replace("2.0", "3.0").leak();
    for (source, expected) in [(DOUBLE, [-2.0, 6.0]), (triple, [-3.0, 9.0])] {
        let kernel = Kernel::new::<u32>("relu.forward", "outside.wgsl", "forward", &[Read, Write])
            .with_text(source);
        let y = Tensor::empty(&gpu, [2]).expect("a tensor");
        gpu.compute(&kernel, &2u32, &[&x, &y], 1).expect("it runs");
        assert_eq!(y.to_vec().expect("numbers"), expected);
        assert_eq!(relu(), [0.0, 3.0]);
    }
}

/// On a device whose own kernels are not checked.
fn past_the_end() {
    let gpu = guarded();
    let source = "
@group(0) @binding(0) var<uniform> far: u32;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> many: array<f32, 64>;
@compute @workgroup_size(64)
fn forward(@builtin(local_invocation_index) lane: u32) {
    many[lane] = f32(lane + far);
    workgroupBarrier();
    y[lane] = many[64u + lane * far];
    y[lane * far + 4096u] = 7.0;
}";
    let kernel = Kernel::new::<u32>("far", "outside.wgsl", "forward", &[Write]).with_text(source);
    let others: Vec<Tensor> = (0..8)
        .map(|_| Tensor::from_slice(&gpu, [64], &[0.0; 64]).expect("a tensor"))
        .collect();
    for far in [1u32, 64, 1 << 12] {
        let y = Tensor::empty(&gpu, [64]).expect("a tensor");
        gpu.compute(&kernel, &far, &[&y], 1).expect("it runs");
        // An index past the end of an array is that of its last element.
        assert_eq!(y.to_vec().expect("numbers"), [(63 + far) as f32; 64]);
    }
    for other in others {
        assert_eq!(other.to_vec().expect("numbers"), [0.0; 64]);
    }
}

fn no_shader() {
    let gpu = guarded();
    let x = normal(&gpu, 1, "x", &[64], 1.0);
    let y = Tensor::empty(&gpu, [64]).expect("a tensor");
    let sized = DOUBLE.replace("array<f32>", "array<f32, 4096>").leak();
    let cases: [(&'static str, &'static str, &'static [Access]); 3] = [
        ("no WGSL at all", "forward", &[Read, Write]),
        (DOUBLE, "backward", &[Read, Write]),
        // The shader writes what the kernel says it reads.
        (DOUBLE, "forward", &[Read, Read]),
    ];
    for (source, entry, bindings) in cases {
        let kernel = Kernel::new::<u32>("mine", "outside.wgsl", entry, bindings).with_text(source);
        let error = gpu.compute(&kernel, &64u32, &[&x, &y], 1);
        let error = error.expect_err("it does not compile");
        assert!(matches!(error, Error::Kernel { .. }), "{error}");
        assert!(error.to_string().contains("mine"), "{error}");
    }
    // Arrays longer than the tensors: found out when the work is handed over.
    let kernel =
        Kernel::new::<u32>("sized", "outside.wgsl", "forward", &[Read, Write]).with_text(sized);
    let error = gpu
        .compute(&kernel, &64u32, &[&x, &y], 1)
        .and_then(|()| y.to_vec());
    assert!(error.is_err(), "{error:?}");
    assert!(double(&x).and_then(|y| y.to_vec()).is_ok(), "it works on");
}

fn compiled_beside() {
    let gpu = gpu_with(GpuOptions::default());
    let x = normal(&gpu, 1, "beside", &[70], 1.0);
    let trip = || drop(double(&x).and_then(|y| y.to_vec()).expect("it runs"));
    trip();
    // Many functions that nobody calls: long to read, and nothing that the device would have to compile in its own queue, as
    // software drivers do.
    let mut text = DOUBLE.to_string();
    for n in 0..20_000 {
        writeln!(
            text,
            "fn unused{n}(x: f32) -> f32 {{ return x * {n}.0 + 1.0; }}"
        )
        .expect("a text");
    }
    let slow = Kernel::new::<u32>("long", "outside.wgsl", "forward", &[Read, Write])
        .with_text(text.leak());
    let mut trips = 0;
    let compiled = std::thread::scope(|scope| {
        let compiling = scope.spawn(|| gpu.warm(&slow));
        while !compiling.is_finished() {
            trip();
            trips += 1;
        }
        compiling.join().expect("no panic")
    });
    compiled.expect("it compiles");
    assert!(trips >= 10, "{trips} dispatches went through meanwhile");
}
