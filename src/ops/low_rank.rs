//! `low_rank`: y + s (x A^T) B^T, the product of LoRA (Hu et al. 2021), without ever forming B A. Its kernels
//! are [`crate::ops::linear()`]'s: A is long, so that its product is split over the columns of x.

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::ops::linear;
use crate::tensor::{Shape, Tensor};

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// `y + s x A^T B^T`: y [N, M], x [N, K], A [R, K], B [M, R] -> [N, M]. A and B are laid out as PEFT's `lora_A.weight`
/// and `lora_B.weight`.
///
/// # Errors
/// [`Error::Shape`] where they do not go together.
pub fn low_rank(tape: &mut Tape, y: &Var, x: &Var, [a, b]: [&Var; 2], s: f32) -> Result<Var> {
    check([y, x, a, b].map(|v| v.tensor.shape()))?;
    let hidden = linear::forward(&x.tensor, &a.tensor, 1.0)?;
    let sum = linear::forward_onto(&y.tensor, &hidden, &b.tensor, s)?;
    tape.record(sum, &[y, x, a, b], || Rule {
        x: x.tensor.clone(),
        a: a.tensor.clone(),
        b: b.tensor.clone(),
        hidden,
        s,
    })
}

fn check(shapes: [&Shape; 4]) -> Result<()> {
    let [y, x, a, b] = shapes;
    let fits = shapes.iter().all(|shape| shape.rank() == 2)
        && x[1] == a[1]
        && a[0] == b[1]
        && y.dims() == [x[0], b[0]];
    if !fits {
        return Err(Error::shape(
            "low_rank",
            "y [N, M], x [N, K], A [R, K] and B [M, R]",
            format!("{y}, {x}, {a} and {b}"),
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
        let db = wanted[3].then(|| Gradient::Outer {
            left: dy.clone(),
            right: hidden,
            alpha: s,
        });
        let (mut dx, mut da) = (None, None);
        if wanted[1] || wanted[2] {
            let dhidden = linear::backward_x(dy, &b, s)?;
            if wanted[1] {
                dx = Some(linear::backward_x(&dhidden, &a, 1.0)?.into());
            }
            da = wanted[2].then_some(Gradient::Outer {
                left: dhidden,
                right: x,
                alpha: 1.0,
            });
        }
        Ok(vec![wanted[0].then(|| dy.clone().into()), dx, da, db])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [
        (1, 1, 1, 1, 1.0),
        (2, 131, 4, 67, 0.5),
        (5, 5000, 3, 11, -2.0),
        (3, 70, 65, 9, 0.3),
    ]
    .map(|(n, k, r, m, s)| {
        Case::new(
            "low_rank",
            format!("[{n}, {k}] rank {r} to {m} scale {s}"),
            [
                Input::normal([n, m]),
                Input::normal([n, k]),
                Input::normal([r, k]),
                Input::normal([m, r]),
            ],
            move |tape, v| low_rank(tape, &v[0], &v[1], [&v[2], &v[3]], s),
            move |v| {
                let hidden = linear::reference(&v[1], &v[2], k);
                let add = linear::reference(&hidden, &v[3], r);
                v[0].iter()
                    .zip(add)
                    .map(|(y, add)| y + f64::from(s) * add)
                    .collect()
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
        let y = [5, 7].into();
        assert!(check([&y, &x, &a, &b]).is_ok());
        assert!(check([&x, &x, &a, &b]).is_err());
        assert!(check([&y, &x, &b, &a]).is_err());
        assert!(check([&y, &x, &a, &[2, 7].into()]).is_err());
    }
}
