//! `mse_loss`: the mean of squared differences (PyTorch's `nn.MSELoss`).

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::ops::sum;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    scale: f32,
}

const FILE: &str = "ops/mse_loss.wgsl";
static FORWARD: Kernel =
    Kernel::new::<Params>("mse_loss.forward", FILE, "forward", &[Read, Read, Write]);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "mse_loss.backward",
    FILE,
    "backward",
    &[Read, Read, Write, Read],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// `mean (x - y)^2` over all elements: two tensors of one shape -> `[1]`.
///
/// # Errors
/// [`Error::Shape`] where the shapes differ.
pub fn mse_loss(tape: &mut Tape, x: &Var, y: &Var) -> Result<Var> {
    let (a, b) = (&x.tensor, &y.tensor);
    if a.shape() != b.shape() {
        return Err(Error::shapes(
            "mse_loss",
            "one shape twice",
            a.shape(),
            b.shape(),
        ));
    }
    let n = a.shape().len();
    let groups = n.div_ceil(4096);
    let sums = Tensor::empty(a.gpu(), [groups])?;
    let params = Params {
        n: n as u32,
        scale: 0.0,
    };
    let bindings = [
        a.buffer("mse_loss")?,
        b.buffer("mse_loss")?,
        sums.buffer("mse_loss")?,
    ];
    a.gpu().run(&FORWARD, &params, &bindings, groups)?;
    let loss = sum::forward(&sums, 1.0 / n as f32)?;
    tape.record(loss, &[x, y], || Rule {
        x: a.clone(),
        y: b.clone(),
    })
}

struct Rule {
    x: Tensor,
    y: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let op = "mse_loss";
        let n = self.x.shape().len();
        let gradient = |sign: f32| {
            let out = Tensor::empty(dy.gpu(), self.x.shape().clone())?;
            let params = Params {
                n: n as u32,
                scale: sign * 2.0 / n as f32,
            };
            let bindings = [
                self.x.buffer(op)?,
                self.y.buffer(op)?,
                out.buffer(op)?,
                dy.buffer(op)?,
            ];
            dy.gpu()
                .run(&BACKWARD, &params, &bindings, n.div_ceil(256))?;
            Ok(Gradient::from(out))
        };
        Ok(vec![
            wanted[0].then(|| gradient(1.0)).transpose()?,
            wanted[1].then(|| gradient(-1.0)).transpose()?,
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [vec![1], vec![3, 1501], vec![257]]
        .into_iter()
        .map(|shape: Vec<usize>| {
            Case::new(
                "mse_loss",
                format!("{shape:?}"),
                [Input::normal(shape.clone()), Input::normal(shape)],
                |tape, v| mse_loss(tape, &v[0], &v[1]),
                |v| {
                    let total: f64 = v[0].iter().zip(&v[1]).map(|(x, y)| (x - y).powi(2)).sum();
                    vec![total / v[0].len() as f64]
                },
            )
        })
        .collect()
}
