//! `low_rank`: s (x A^T) B^T, the product of LoRA (Hu et al. 2021), without ever forming B A. Its kernels
//! are [`crate::ops::linear`]'s: A is long, so that its product is split over the columns of x.

use crate::gpu::Kernel;
use crate::ops::linear;
use crate::selftest::{Case, Input};
use crate::{Backward, Error, Gradient, Result, Shape, Tape, Tensor, Var};

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// `s x A^T B^T`: x [N, K], A [R, K], B [M, R] -> [N, M]. A and B are laid out as PEFT's `lora_A.weight`
/// and `lora_B.weight`.
///
/// # Errors
/// [`Error::Shape`] where they do not go together.
pub fn low_rank(tape: &mut Tape, x: &Var, a: &Var, b: &Var, s: f32) -> Result<Var> {
    check(x.tensor.shape(), a.tensor.shape(), b.tensor.shape())?;
    let hidden = linear::forward(&x.tensor, &a.tensor, 1.0)?;
    let y = linear::forward(&hidden, &b.tensor, s)?;
    Ok(tape.record(y, &[x, a, b], || Rule {
        x: x.tensor.clone(),
        a: a.tensor.clone(),
        b: b.tensor.clone(),
        hidden,
        s,
    }))
}

fn check(x: &Shape, a: &Shape, b: &Shape) -> Result<()> {
    let matrices = x.rank() == 2 && a.rank() == 2 && b.rank() == 2;
    if !matrices || x[1] != a[1] || a[0] != b[1] {
        return Err(Error::shape(
            "low_rank",
            "x [N, K], A [R, K] and B [M, R]",
            format!("{x}, {a} and {b}"),
        ));
    }
    Ok(())
}

struct Rule {
    x: Tensor,
    a: Tensor,
    b: Tensor,
    /// x A^T, [N, R].
    hidden: Tensor,
    s: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Rule { x, a, b, hidden, s } = *self;
        let db = wanted[2].then(|| Gradient::Outer {
            left: dy.clone(),
            right: hidden,
            alpha: s,
        });
        let (mut dx, mut da) = (None, None);
        if wanted[0] || wanted[1] {
            let dhidden = linear::backward_x(dy, &b, s)?;
            if wanted[0] {
                dx = Some(linear::backward_x(&dhidden, &a, 1.0)?.into());
            }
            da = wanted[1].then_some(Gradient::Outer {
                left: dhidden,
                right: x,
                alpha: 1.0,
            });
        }
        Ok(vec![dx, da, db])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [
        (1, 1, 1, 1, 1.0),
        (2, 131, 4, 67, 0.5),
        (5, 5000, 3, 11, -2.0),
    ]
    .map(|(n, k, r, m, s)| {
        Case::new(
            "low_rank",
            format!("[{n}, {k}] rank {r} to {m} scale {s}"),
            [
                Input::normal([n, k]),
                Input::normal([r, k]),
                Input::normal([m, r]),
            ],
            move |tape, v| low_rank(tape, &v[0], &v[1], &v[2], s),
            move |v| {
                let hidden = linear::reference(&v[0], &v[1], k);
                let y = linear::reference(&hidden, &v[2], r);
                y.into_iter().map(|y| f64::from(s) * y).collect()
            },
        )
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn factors_must_chain() {
        let (x, a, b) = ([5, 12].into(), [2, 12].into(), [7, 2].into());
        assert!(check(&x, &a, &b).is_ok());
        assert!(check(&x, &b, &a).is_err());
        assert!(check(&x, &a, &[2, 7].into()).is_err());
    }
}
