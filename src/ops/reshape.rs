//! `reshape`: the same elements under another shape; nothing is computed or copied.

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::tensor::{Shape, Tensor};

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// `x` with dimensions `shape`, of as many elements.
///
/// # Errors
/// [`Error::Shape`] where their number differs.
pub fn reshape(tape: &mut Tape, x: &Var, shape: impl Into<Shape>) -> Result<Var> {
    let (from, to) = (x.tensor.shape().clone(), shape.into());
    if from.len() != to.len() {
        return Err(Error::shapes("reshape", "as many elements", &from, &to));
    }
    x.tensor.buffer("reshape")?;
    let y = x.tensor.reshaped(to);
    tape.record(y, &[x], || Rule { from })
}

struct Rule {
    from: Shape,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(dy.reshaped(self.from).into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "reshape",
        "[2, 3, 5] to [6, 5]",
        [Input::normal([2, 3, 5])],
        |tape, v| reshape(tape, &v[0], [6, 5]),
        |v| v[0].clone(),
    )]
}
