//! Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016) for the forward pass.

use std::ops::Range;

use super::adapter::Factors;
use super::vgg::Vgg;
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::error::Result;
use crate::tensor::Tensor;

/// Layers `range` of `base` as one op that keeps its input alone: in its backward pass it runs them again, on a tape of
/// their own.
pub(super) fn recomputed(
    tape: &mut Tape,
    base: Vgg,
    x: &Var,
    range: Range<usize>,
    adapter: Factors,
) -> Result<Var> {
    let factors = adapter.of(base.layers[range.clone()].iter().map(|l| &*l.layer.name));
    let mut parents = vec![x];
    parents.extend(factors.iter().flat_map(|(_, lora)| [&lora.a, &lora.b]));
    let y = base.run(
        &mut Tape::new(),
        &Var::frozen(&x.tensor),
        range.clone(),
        None,
        &adapter.detached(),
    )?;
    tape.record(y.tensor, &parents, || Checkpoint {
        base: base.clone(),
        x: x.tensor.clone(),
        range: range.clone(),
        adapter: adapter.clone(),
    })
}

struct Checkpoint {
    base: Vgg,
    x: Tensor,
    range: Range<usize>,
    adapter: Factors,
}

impl Backward for Checkpoint {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Checkpoint {
            base,
            x,
            range,
            adapter,
        } = *self;
        let mut tape = Tape::new();
        let x = match wanted[0] {
            true => tape.leaf(&x),
            false => Var::frozen(&x),
        };
        let names = base.layers[range.clone()].iter().map(|l| &*l.layer.name);
        let (adapter, leaves) = adapter.tracked_again(&mut tape, names);
        let y = base.run(&mut tape, &x, range, None, &adapter)?;
        let gradients = tape.backward_from(&y, dy.clone())?;
        let all = std::iter::once(&x).chain(&leaves);
        Ok(all.map(|leaf| gradients.get(leaf).cloned()).collect())
    }
}
