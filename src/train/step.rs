//! One step: from what the frozen layers made of its images to the loss and the gradients of the factors.

use super::cache::Input;
use super::prefix::Prefix;
use crate::autograd::{Gradient, Tape, Var};
use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::nn::{Adapter, Factors, Vgg};
use crate::ops::{self, Targets};
use crate::tensor::Tensor;

/// What a step comes to.
pub(super) struct Step {
    /// Its loss, on its way, in terms to add: one for each group of images, each with the word that says whether the factors
    /// were finite, where there is one.
    pub(super) losses: Vec<Readback>,
    pub(super) gradients: Vec<Gradient>,
    /// Bytes kept of an image between the forward and the backward pass.
    pub(super) kept: u64,
}

/// Bytes of device memory that something holds.
fn used(gpu: &Gpu) -> u64 {
    let stats = gpu.pool_stats();
    stats.live_bytes - stats.idle_bytes
}

/// What a step starts from: see [`Input`].
pub(super) struct Given<'a> {
    pub(super) features: &'a Var,
    pub(super) product: Option<&'a Var>,
    pub(super) pixels: Option<&'a Var>,
}

/// What a step goes through.
pub(super) struct Network {
    pub(super) base: Vgg,
    /// The lowest adapted layer.
    pub(super) from: usize,
    /// Images that go through together.
    pub(super) most: usize,
    pub(super) checkpoint: bool,
}

impl Network {
    /// What `prefix` leads to, for images of `side`.
    pub(super) fn after(prefix: &Prefix, side: usize, checkpoint: bool) -> Self {
        Network {
            base: prefix.base().clone(),
            from: prefix.from(),
            most: prefix.base().max_batch(prefix.from(), side),
            checkpoint,
        }
    }

    /// A step's loss and the gradients of the factors. Images that do not fit the device together go in
    /// groups, whose losses and gradients add up. `lost` is [`crate::optim::Adam::lost`] of the updates before.
    pub(super) fn step(
        &self,
        input: &Input,
        labels: &[u32],
        adapter: &Adapter,
        lost: Option<&Tensor>,
        (p, seed, step): (f64, u64, u64),
    ) -> Result<Step> {
        let n = labels.len();
        let mut kept = 0;
        let mut readings = Vec::new();
        let mut sums: Vec<Gradient> = Vec::new();
        for first in (0..n).step_by(self.most.min(n)) {
            let rows = first..(first + self.most).min(n);
            let gpu = self.base.gpu();
            let before = used(gpu);
            let mut tape = Tape::new();
            let (tracked, leaves) = adapter.track(&mut tape);
            let tracked = tracked.with_dropout(p, seed, &step.to_string(), first);
            let features = Var::frozen(&input.features.rows(rows.clone())?);
            let pixels = match &input.pixels {
                Some(pixels) => Some(Var::frozen(&pixels.rows(rows.clone())?)),
                None => None,
            };
            let product = match &input.product {
                Some(product) => Some(Var::frozen(&product.rows(rows.clone())?)),
                None => None,
            };
            let x = Given {
                features: &features,
                product: product.as_ref(),
                pixels: pixels.as_ref(),
            };
            let logits = self.logits(&mut tape, x, &tracked)?;
            let targets = Targets::Classes(&labels[rows.clone()]);
            let mut loss = ops::cross_entropy(&mut tape, &logits, targets)?;
            if rows.len() < n {
                loss = ops::scale(&mut tape, rows.len() as f32 / n as f32, &loss)?;
            }
            readings.push(loss.tensor.read_with(lost)?);
            kept = kept.max(used(gpu).saturating_sub(before) / rows.len() as u64);
            let gradients = tape.backward(&loss)?.of_all(&leaves)?;
            sums = if sums.is_empty() {
                gradients
            } else {
                let both = sums.iter().zip(&gradients);
                both.map(|(sum, more)| Ok(sum.dense()?.plus(&more.dense()?)?.into()))
                    .collect::<Result<_>>()?
            };
        }
        Ok(Step {
            losses: readings,
            gradients: sums,
            kept,
        })
    }

    pub(super) fn logits(&self, tape: &mut Tape, x: Given, adapter: &Factors) -> Result<Var> {
        let logits = self.base.forward_from(
            tape,
            x.features,
            self.from,
            x.product,
            adapter,
            self.checkpoint,
        )?;
        match x.pixels {
            Some(pixels) => adapter.branch(tape, &logits, pixels),
            None => Ok(logits),
        }
    }
}
