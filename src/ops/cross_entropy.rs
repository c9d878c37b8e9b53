//! `cross_entropy`: softmax and negative log-likelihood in one, the mean over the batch (PyTorch's
//! `nn.CrossEntropyLoss`), for class indices or probabilities.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::ops::max_pool2d::larger;
use crate::ops::sum;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    c: u32,
    indices: u32,
}

const FILE: &str = "ops/cross_entropy.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "cross_entropy.forward",
    FILE,
    "forward",
    &[Read, Read, Write, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// What the logits should say.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class index a row.
    Classes(&'a [u32]),
    /// One number a logit, row after row; a row usually sums to 1. No gradient flows to them.
    Probabilities(&'a [f32]),
}

/// The mean over N rows of `sum_c t[c] * (log sum exp z - z[c])`: [N, C] -> `[1]`.
///
/// # Errors
/// [`Error::Shape`] where the targets do not fit the logits, [`Error::Usage`] for a class index past
/// the last.
pub fn cross_entropy(tape: &mut Tape, logits: &Var, targets: Targets) -> Result<Var> {
    let op = "cross_entropy";
    let z = &logits.tensor;
    let (params, words) = plan(z.shape(), targets)?;
    check_trips(z.gpu(), op, params.c as usize)?;
    let targets = z.gpu().alloc(size_of_val(words) as u64)?;
    z.gpu().write(&targets, 0, bytemuck::cast_slice(words))?;
    let rows = Tensor::empty(z.gpu(), [params.n as usize])?;
    let dz = Tensor::empty(z.gpu(), z.shape().clone())?;
    let bindings = [z.buffer(op)?, &targets, rows.buffer(op)?, dz.buffer(op)?];
    z.gpu()
        .run(&FORWARD, &params, &bindings, params.n as usize)?;
    let loss = sum::forward(&rows, 1.0 / params.n as f32)?;
    tape.record(loss, &[logits], || Rule { dz })
}

fn plan<'a>(z: &Shape, targets: Targets<'a>) -> Result<(Params, &'a [u32])> {
    let (words, wanted): (&[u32], usize) = match targets {
        Targets::Classes(classes) => (classes, z[0]),
        Targets::Probabilities(t) => (bytemuck::cast_slice(t), z.len()),
    };
    if z.rank() != 2 || words.len() != wanted {
        let expected = "logits [N, C] and targets of N classes or N x C probabilities";
        let found = format!("{z} and {} targets", words.len());
        return Err(Error::shape("cross_entropy", expected, found));
    }
    let indices = matches!(targets, Targets::Classes(_));
    if let (true, Some(class)) = (indices, words.iter().find(|&&class| class as usize >= z[1])) {
        return Err(Error::Usage(format!(
            "cross_entropy: class {class} is past the last of {} classes",
            z[1]
        )));
    }
    let params = Params {
        n: z[0] as u32,
        c: z[1] as u32,
        indices: u32::from(indices),
    };
    Ok((params, words))
}

struct Rule {
    /// The gradient of the loss itself, which came with it.
    dz: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let (shape, n) = (self.dz.shape().clone(), self.dz.shape().len());
        let scaled = Gradient::Outer {
            left: dy.reshaped([1, 1]),
            right: self.dz.reshaped([1, n]),
            alpha: 1.0,
        };
        Ok(vec![Some(scaled.dense()?.reshaped(shape).into())])
    }

    fn backward_of_one(self: Box<Self>, _: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(self.dz.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let reference = |z: &[f64], t: &[f64], c: usize, classes: bool| {
        let rows = z.chunks(c).zip(t.chunks(c)).map(|(z, t)| {
            // From the largest, as PyTorch does: where that is not finite, nothing of the row is.
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, larger);
            let log_sum = z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
            let value = |(t, z): (&f64, &f64)| t * (log_sum - (z - largest));
            match classes {
                true => t.iter().zip(z).filter(|(t, _)| **t != 0.0).map(value).sum(),
                false => t.iter().zip(z).map(value).sum::<f64>(),
            }
        });
        vec![rows.sum::<f64>() / (z.len() / c) as f64]
    };
    let indices = |n: usize, c: usize| {
        let classes: Vec<u32> = (0..n).map(|i| ((i * 37 + 5) % c) as u32).collect();
        let one_hot: Vec<f64> = (0..n * c)
            .map(|i| f64::from(u8::from(classes[i / c] as usize == i % c)))
            .collect();
        Case::new(
            "cross_entropy",
            format!("[{n}, {c}] classes"),
            [Input::normal([n, c]).times(3.0)],
            move |tape, v| cross_entropy(tape, &v[0], Targets::Classes(&classes)),
            move |v| reference(&v[0], &one_hot, c, true),
        )
    };
    let (n, c) = (3, 131);
    let t: Vec<f32> = (0..n * c).map(|i| (i % 7) as f32 / 400.0).collect();
    let t64: Vec<f64> = t.iter().map(|&t| f64::from(t)).collect();
    let probabilities = Case::new(
        "cross_entropy",
        format!("[{n}, {c}] probabilities"),
        [Input::normal([n, c]).times(3.0)],
        move |tape, v| cross_entropy(tape, &v[0], Targets::Probabilities(&t)),
        move |v| reference(&v[0], &t64, c, false),
    );
    vec![
        indices(1, 1),
        indices(5, 1000),
        indices(2, 63),
        probabilities,
    ]
}

#[cfg(test)]
mod tests {
    use super::{Targets, plan};

    #[test]
    fn targets_must_fit_the_logits() {
        let z = [2, 3].into();
        assert!(plan(&z, Targets::Classes(&[0, 2])).is_ok());
        assert!(plan(&z, Targets::Classes(&[0, 3])).is_err());
        assert!(plan(&z, Targets::Classes(&[0])).is_err());
        assert!(plan(&z, Targets::Probabilities(&[0.5; 6])).is_ok());
        assert!(plan(&z, Targets::Probabilities(&[0.5; 2])).is_err());
        assert!(plan(&[2, 3, 1].into(), Targets::Classes(&[0, 2])).is_err());
    }
}
