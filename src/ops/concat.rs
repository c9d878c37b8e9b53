//! `concat`: tensors one below the other along the first dimension; their gradients are the rows of its own.

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::tensor::Tensor;

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// [N1, ...], [N2, ...], ... -> [N1 + N2 + ..., ...].
///
/// # Errors
/// [`Error::Shape`] where they differ in more than the first dimension, or there is none.
pub fn concat(tape: &mut Tape, xs: &[Var]) -> Result<Var> {
    let Some(first) = xs.first() else {
        return Err(Error::shape("concat", "at least one tensor", "none"));
    };
    let tail = |var: &Var| var.tensor.shape().dims()[1..].to_vec();
    if let Some(other) = xs.iter().find(|x| tail(x) != tail(first)) {
        return Err(Error::shapes(
            "concat",
            "one shape but for the first dimension",
            first.tensor.shape(),
            other.tensor.shape(),
        ));
    }
    let counts: Vec<usize> = xs.iter().map(|x| x.tensor.shape()[0]).collect();
    let mut dims = first.tensor.shape().dims().to_vec();
    dims[0] = counts.iter().sum();
    let gpu = first.tensor.gpu();
    let y = Tensor::empty(gpu, dims)?;
    let mut offset = 0;
    for x in xs {
        let from = x.tensor.buffer("concat")?;
        gpu.copy(from, 0, y.buffer("concat")?, offset, from.bytes)?;
        offset += from.bytes;
    }
    let parents: Vec<&Var> = xs.iter().collect();
    tape.record(y, &parents, || Rule { counts })
}

struct Rule {
    counts: Vec<usize>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let mut first = 0;
        let slices = self.counts.iter().zip(wanted).map(|(&count, &wanted)| {
            let rows = first..first + count;
            first += count;
            match wanted {
                true => Ok(Some(dy.rows(rows)?.into())),
                false => Ok(None),
            }
        });
        slices.collect()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "concat",
        "[2, 7], [1, 7] and [3, 7]",
        [[2, 7], [1, 7], [3, 7]].map(Input::normal),
        concat,
        |v| v.concat(),
    )]
}
