//! An op of your own, from outside the crate: `cargo run --release --example custom_op`.
//!
//! Softplus in WGSL (`custom_op.wgsl`) with its gradient, on the tape like any other op, and held by the harness against
//! f64 and finite differences. Prints the errors; the exit code is 1 where one is too large.

use std::process::ExitCode;

use bytemuck::{Pod, Zeroable};
use goldfish::check::{Case, Input};
use goldfish::gpu::Access::{Read, Write};
use goldfish::gpu::Kernel;
use goldfish::{Backward, Gpu, GpuOptions, Gradient, Result, Tape, Tensor, Var};

/// The uniform at binding 0.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
}

const SOURCE: &str = include_str!("custom_op.wgsl");
static FORWARD: Kernel = Kernel::new::<Params>(
    "softplus.forward",
    "custom_op.wgsl",
    "forward",
    &[Read, Write],
)
.with_text(SOURCE);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "softplus.backward",
    "custom_op.wgsl",
    "backward",
    &[Read, Write, Read],
)
.with_text(SOURCE);

/// `ln(1 + e^x)`, element by element: any shape, which the result has too.
fn softplus(tape: &mut Tape, x: &Var) -> Result<Var> {
    let y = elementwise(&FORWARD, &x.tensor, None)?;
    let saved = x.tensor.clone();
    tape.record(y, &[x], || Rule { x: saved })
}

/// What the tape keeps of the op until the gradient of its result is known.
struct Rule {
    x: Tensor,
}

impl Backward for Rule {
    /// A gradient for each parent of [`Tape::record`]: here `dx = dy / (1 + e^-x)` alone.
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = elementwise(&BACKWARD, &self.x, Some(dy))?;
        Ok(vec![Some(dx.into())])
    }
}

/// A new tensor from `x` and, going back, `dy`; 64 elements a workgroup.
fn elementwise(kernel: &Kernel, x: &Tensor, dy: Option<&Tensor>) -> Result<Tensor> {
    let n = x.shape().len();
    let out = Tensor::empty(x.gpu(), x.shape().clone())?;
    let mut tensors = vec![x, &out];
    tensors.extend(dy);
    let params = Params { n: n as u32 };
    x.gpu().compute(kernel, &params, &tensors, n.div_ceil(64))?;
    Ok(out)
}

/// Prints how the op does at some sizes, forward and backward, and says whether all is right.
pub fn run(gpu: &Gpu) -> Result<bool> {
    let mut right = true;
    for shape in [vec![1], vec![3, 5, 7, 11], vec![20_000]] {
        let outcome = Case::new(
            "softplus",
            format!("{shape:?}"),
            [Input::normal(shape).times(4.0)],
            |tape, v| softplus(tape, &v[0]),
            |v| v[0].iter().map(|x| x.exp().ln_1p()).collect(),
        )
        .run(gpu);
        println!(
            "{} {}: error {:.1e}, of the gradient {:.1e}, allowed {:.0e} {}",
            outcome.op,
            outcome.case,
            outcome.forward_error.unwrap_or(f64::NAN),
            outcome.gradient_error.unwrap_or(f64::NAN),
            outcome.tolerance,
            outcome.problem.as_deref().unwrap_or_default()
        );
        right &= outcome.is_ok();
    }
    Ok(right)
}

fn main() -> Result<ExitCode> {
    // Guard words behind every buffer betray writes past its end.
    let gpu = Gpu::open(&GpuOptions {
        device: std::env::var("GOLDFISH_DEVICE").ok(),
        guard: true,
        ..GpuOptions::default()
    })?;
    println!("device: {}", gpu.info().name);
    Ok(match run(&gpu)? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
