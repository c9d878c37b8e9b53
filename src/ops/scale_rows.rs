//! `scale_rows`: each row of a matrix times a number of its own, which is frozen.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::random::Stream;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    columns: u32,
}

static FORWARD: Kernel = Kernel::new::<Params>(
    "scale_rows.forward",
    "ops/scale_rows.wgsl",
    "forward",
    &[Read, Read, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// `factors[r] * x[r, ...]`: [R, ...] and `[R]` -> [R, ...]. The factors get no gradient.
///
/// # Errors
/// [`Error::Shape`] where there is not one factor a row.
pub fn scale_rows(tape: &mut Tape, x: &Var, factors: &Tensor) -> Result<Var> {
    let y = forward(&x.tensor, factors)?;
    tape.record(y, &[x], || Rule {
        factors: factors.clone(),
    })
}

fn params(x: &Shape, factors: &Shape) -> Result<Params> {
    if x.rank() < 2 || factors.dims() != [x[0]] {
        return Err(Error::shapes("scale_rows", "[R, ...] and [R]", x, factors));
    }
    Ok(Params {
        n: x.len() as u32,
        columns: x.row_len() as u32,
    })
}

fn forward(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    let params = params(x.shape(), factors.shape())?;
    let y = Tensor::empty(x.gpu(), x.shape().clone())?;
    let bindings = [
        x.buffer("scale_rows")?,
        factors.buffer("scale_rows")?,
        y.buffer("scale_rows")?,
    ];
    let groups = x.shape().len().div_ceil(256);
    x.gpu().run(&FORWARD, &params, &bindings, groups)?;
    Ok(y)
}

struct Rule {
    factors: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(forward(dy, &self.factors)?.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [vec![1, 1], vec![3, 100], vec![37, 5, 1, 1]]
        .into_iter()
        .map(|shape: Vec<usize>| {
            let factors = Stream::new(0, "factors").normals(shape[0], 1.0);
            let wide: Vec<f64> = factors.iter().map(|&factor| f64::from(factor)).collect();
            let columns: usize = shape[1..].iter().product();
            Case::new(
                "scale_rows",
                format!("{shape:?}"),
                [Input::normal(shape.clone())],
                move |tape, v| {
                    let gpu = v[0].tensor.gpu();
                    let factors = Tensor::from_slice(gpu, [factors.len()], &factors)?;
                    scale_rows(tape, &v[0], &factors)
                },
                move |v| {
                    let scaled = v[0].iter().enumerate();
                    scaled.map(|(i, x)| wide[i / columns] * x).collect()
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_one_factor_a_row() {
        assert!(super::params(&[3, 4].into(), &[3].into()).is_ok());
        for factors in [vec![4], vec![1], vec![3, 1]] {
            assert!(super::params(&[3, 4].into(), &factors.into()).is_err());
        }
    }
}
