//! `relu`: max(x, 0), NaN of NaN; the gradient at 0 is 0, as in PyTorch.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
}

/// What the last step of a kernel makes 0: numbers whose bits, as an i32, lie below. `shaders/ops/relu.wgsl` says why bits.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Floor(i32);

impl Floor {
    /// ReLU: the negative numbers.
    pub(crate) const RELU: Floor = Floor(-0x7f_ffff);
    /// Nothing.
    pub(crate) const NONE: Floor = Floor(i32::MIN);
}

const FILE: &str = "ops/relu.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>("relu.forward", FILE, "forward", &[Read, Write]);
static BACKWARD: Kernel =
    Kernel::new::<Params>("relu.backward", FILE, "backward", &[Read, Write, Read]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// `max(x, 0)`, element by element, and NaN where `x` is.
///
/// # Errors
/// [`crate::Error::Memory`] where `x` does not fit one binding.
pub fn relu(tape: &mut Tape, x: &Var) -> Result<Var> {
    let gpu = x.tensor.gpu();
    let n = x.tensor.shape().len();
    let y = Tensor::empty(gpu, x.tensor.shape().clone())?;
    let bindings = [x.tensor.buffer("relu")?, y.buffer("relu")?];
    gpu.run(
        &FORWARD,
        &Params { n: n as u32 },
        &bindings,
        n.div_ceil(256),
    )?;
    tape.record(y.clone(), &[x], || Rule { y })
}

/// `dy` where `y`, a result of ReLU, is not 0; else 0.
pub(crate) fn backward(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let n = dy.shape().len();
    let dx = Tensor::empty(dy.gpu(), dy.shape().clone())?;
    let bindings = [y.buffer("relu")?, dx.buffer("relu")?, dy.buffer("relu")?];
    dy.gpu().run(
        &BACKWARD,
        &Params { n: n as u32 },
        &bindings,
        n.div_ceil(256),
    )?;
    Ok(dx)
}

struct Rule {
    y: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(backward(&self.y, dy)?.into())])
    }
}

/// ReLU in f64, which `f64::max` is not of NaN.
pub(crate) fn reference(x: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { x }
}

pub(crate) fn cases() -> Vec<Case> {
    [vec![1], vec![3, 5, 7, 11], vec![257]]
        .into_iter()
        .map(|shape: Vec<usize>| {
            Case::new(
                "relu",
                format!("{shape:?}"),
                // Finite differences need every element on one side of the kink.
                [Input::normal(shape).away_from_zero()],
                |tape, v| relu(tape, &v[0]),
                |v| v[0].iter().copied().map(reference).collect(),
            )
        })
        .collect()
}
