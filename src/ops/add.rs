//! `add` and `axpy`: alpha * x + y (the kernel is `tensor/arithmetic.rs`'s, which the tape adds gradients with).

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::Kernel;
use crate::ops::scale;
use crate::tensor::Tensor;

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// `x + y` for tensors of one shape.
///
/// # Errors
/// [`crate::Error::Shape`] where the shapes differ.
pub fn add(tape: &mut Tape, x: &Var, y: &Var) -> Result<Var> {
    axpy(tape, 1.0, x, y)
}

/// `alpha * x + y` for tensors of one shape.
///
/// # Errors
/// [`crate::Error::Shape`] where the shapes differ.
pub fn axpy(tape: &mut Tape, alpha: f32, x: &Var, y: &Var) -> Result<Var> {
    let z = x.tensor.times_plus(alpha, &y.tensor)?;
    Ok(tape.record(z, &[x, y], || Rule { alpha }))
}

struct Rule {
    alpha: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = match (wanted[0], self.alpha) {
            (false, _) => None,
            (true, 1.0) => Some(dy.clone()),
            (true, alpha) => Some(scale::forward(dy, alpha)?),
        };
        Ok(vec![
            dx.map(Gradient::from),
            wanted[1].then(|| dy.clone().into()),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [(1, 1.0), (257, 1.0), (1000, -0.75)]
        .map(|(n, alpha)| {
            Case::new(
                "add",
                format!("[{n}] alpha {alpha}"),
                [Input::normal([n]), Input::normal([n])],
                move |tape, v| axpy(tape, alpha, &v[0], &v[1]),
                move |v| {
                    v[0].iter()
                        .zip(&v[1])
                        .map(|(x, y)| f64::from(alpha) * x + y)
                        .collect()
                },
            )
        })
        .into()
}
