//! `sum`: alpha * the sum over the first dimension; it also joins the splits of long products.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    n: u32,
    alpha: f32,
}

const FILE: &str = "ops/sum.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>("sum.forward", FILE, "forward", &[Read, Write]);
static BACKWARD: Kernel = Kernel::new::<Params>("sum.backward", FILE, "backward", &[Read, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// `alpha * sum_i x[i, ...]`: [rows, ...] -> [...] (or `[1]` for a vector).
///
/// # Errors
/// [`crate::Error::Memory`] where `x` does not fit one binding.
pub fn sum(tape: &mut Tape, alpha: f32, x: &Var) -> Result<Var> {
    let y = forward(&x.tensor, alpha)?;
    let shape = x.tensor.shape();
    tape.record(y, &[x], || Rule {
        alpha,
        shape: shape.clone(),
    })
}

pub(crate) fn forward(x: &Tensor, alpha: f32) -> Result<Tensor> {
    let dims = x.shape().dims();
    let out = if dims.len() == 1 { &[1] } else { &dims[1..] };
    let (rows, n) = (dims[0], x.shape().row_len());
    check_trips(x.gpu(), "sum", rows)?;
    let y = Tensor::empty(x.gpu(), out)?;
    let params = Params {
        rows: rows as u32,
        n: n as u32,
        alpha,
    };
    x.gpu().run(
        &FORWARD,
        &params,
        &[x.buffer("sum")?, y.buffer("sum")?],
        n.div_ceil(256),
    )?;
    Ok(y)
}

struct Rule {
    alpha: f32,
    shape: Shape,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = Tensor::empty(dy.gpu(), self.shape.clone())?;
        let params = Params {
            rows: self.shape[0] as u32,
            n: self.shape.row_len() as u32,
            alpha: self.alpha,
        };
        let groups = self.shape.len().div_ceil(256);
        dy.gpu().run(
            &BACKWARD,
            &params,
            &[dy.buffer("sum")?, dx.buffer("sum")?],
            groups,
        )?;
        Ok(vec![Some(dx.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [vec![5, 300], vec![13], vec![1, 7, 3], vec![27, 70]]
        .into_iter()
        .map(|shape: Vec<usize>| {
            let n: usize = shape[1..].iter().product();
            Case::new(
                "sum",
                format!("{shape:?}"),
                [Input::normal(shape)],
                |tape, v| sum(tape, 0.5, &v[0]),
                move |v| {
                    (0..n)
                        .map(|i| 0.5 * v[0].iter().skip(i).step_by(n).sum::<f64>())
                        .collect()
                },
            )
        })
        .collect()
}
