//! `bias`: adds one number a channel; `bias_relu`: and then ReLU, in the same dispatch.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::ops::relu::{self, Floor};
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    c: u32,
    inner: u32,
    floor: Floor,
}

const FILE: &str = "ops/bias.wgsl";
static FORWARD: Kernel =
    Kernel::new::<Params>("bias.forward", FILE, "forward", &[Read, Write, Read]);
static BACKWARD: Kernel = Kernel::new::<Params>("bias.backward", FILE, "backward", &[Read, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// `x[n, c, ...] + b[c]`: [N, C, ...] and `[C]` -> [N, C, ...].
///
/// # Errors
/// [`Error::Shape`] where `b` has not one element a channel.
pub fn bias(tape: &mut Tape, x: &Var, b: &Var) -> Result<Var> {
    finished(tape, x, b, Floor::NONE)
}

/// `relu(x[n, c, ...] + b[c])`: [`bias`] and [`relu()`](super::relu()) in one dispatch.
///
/// # Errors
/// As [`bias`].
pub fn bias_relu(tape: &mut Tape, x: &Var, b: &Var) -> Result<Var> {
    finished(tape, x, b, Floor::RELU)
}

fn finished(tape: &mut Tape, x: &Var, b: &Var, floor: Floor) -> Result<Var> {
    let params = Params {
        floor,
        ..params(x.tensor.shape(), b.tensor.shape())?
    };
    let y = Tensor::empty(x.tensor.gpu(), x.tensor.shape().clone())?;
    let bindings = [
        x.tensor.buffer("bias")?,
        y.buffer("bias")?,
        b.tensor.buffer("bias")?,
    ];
    let groups = y.shape().len().div_ceil(256);
    x.tensor.gpu().run(&FORWARD, &params, &bindings, groups)?;
    tape.record(y.clone(), &[x, b], || Rule {
        params,
        y: (floor == Floor::RELU).then_some(y),
    })
}

fn params(x: &Shape, b: &Shape) -> Result<Params> {
    if x.rank() < 2 || b.dims() != [x[1]] {
        return Err(Error::shapes("bias", "[N, C, ...] and [C]", x, b));
    }
    Ok(Params {
        n: x[0] as u32,
        c: x[1] as u32,
        inner: x.dims()[2..].iter().product::<usize>() as u32,
        floor: Floor::NONE,
    })
}

struct Rule {
    params: Params,
    /// What ReLU let through.
    y: Option<Tensor>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Params { n, c, inner, .. } = self.params;
        let dy = &match &self.y {
            Some(y) => relu::backward(y, dy)?,
            None => dy.clone(),
        };
        let mut db = None;
        if wanted[1] {
            check_trips(dy.gpu(), "bias", (n * inner) as usize / 256 + 10)?;
            let sum = Tensor::empty(dy.gpu(), [c as usize])?;
            let bindings = [dy.buffer("bias")?, sum.buffer("bias")?];
            dy.gpu()
                .run(&BACKWARD, &self.params, &bindings, c as usize)?;
            db = Some(sum);
        }
        Ok(vec![
            wanted[0].then(|| dy.clone().into()),
            db.map(Gradient::from),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [vec![1, 1], vec![3, 10], vec![2, 5, 17, 19]];
    let plain = shapes.clone().map(|shape| (shape, false));
    let more = shapes.map(|shape| (shape, true));
    plain
        .into_iter()
        .chain(more)
        .map(|(shape, floored): (Vec<usize>, bool)| {
            let c = shape[1];
            let inner: usize = shape[2..].iter().product();
            Case::new(
                "bias",
                format!("{shape:?}{}", if floored { ", ReLU" } else { "" }),
                [Input::normal(shape), Input::normal([c])],
                move |tape, v| match floored {
                    true => bias_relu(tape, &v[0], &v[1]),
                    false => bias(tape, &v[0], &v[1]),
                },
                move |v| {
                    let sums = (0..v[0].len()).map(|i| v[0][i] + v[1][(i / inner) % c]);
                    match floored {
                        true => sums.map(relu::reference).collect(),
                        false => sums.collect(),
                    }
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bias_needs_one_element_a_channel() {
        assert!(super::params(&[2, 3, 4].into(), &[3].into()).is_ok());
        for b in [vec![4], vec![1], vec![3, 1]] {
            assert!(super::params(&[2, 3, 4].into(), &b.into()).is_err());
        }
        assert!(super::params(&[3].into(), &[3].into()).is_err());
    }
}
