//! One step: from what the frozen layers made of its images to the loss and the gradients of the factors.

use super::cache::Input;
use super::prefix::Prefix;
use crate::autograd::{Gradient, Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Readback};
use crate::nn::{Adapter, Factors, Vgg};
use crate::ops::{self, Criterion, Targets};
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

/// What is asked of the network for a step's images, or for a part of them.
pub(super) struct Asked<'a> {
    /// The class of each image.
    pub(super) labels: &'a [u32],
    /// What the loss makes of them, with the divisor of all of the step's images.
    pub(super) criterion: Criterion<'a>,
    /// Images of the step before these.
    pub(super) first: usize,
    /// The share of dropout, its seed and the step's number.
    pub(super) dropout: (f64, u64, u64),
    /// The word of the updates before that says whether all they wrote was finite.
    pub(super) lost: Option<&'a Tensor>,
}

impl Step {
    /// Adds what another part of the same step's images came to.
    pub(super) fn add(&mut self, more: Step) -> Result<()> {
        let both = self.gradients.iter().zip(&more.gradients);
        self.gradients = both
            .map(|(sum, more)| Ok(sum.dense()?.plus(&more.dense()?)?.into()))
            .collect::<Result<_>>()?;
        self.losses.extend(more.losses);
        self.kept = self.kept.max(more.kept);
        Ok(())
    }
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

    /// The loss of some of a step's images and the gradients of the factors. Images that do not fit the device together go in
    /// groups, whose losses and gradients add up.
    pub(super) fn step(&self, input: &Input, adapter: &Adapter, asked: &Asked) -> Result<Step> {
        let n = asked.labels.len();
        let (p, seed, number) = asked.dropout;
        let mut sum: Option<Step> = None;
        for first in (0..n).step_by(self.most.min(n).max(1)) {
            let rows = first..(first + self.most).min(n);
            let gpu = self.base.gpu();
            let before = used(gpu);
            let mut tape = Tape::new();
            let (tracked, leaves) = adapter.track(&mut tape);
            let tracked = tracked.with_dropout(p, seed, &number.to_string(), asked.first + first);
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
            let targets = Targets::Classes(&asked.labels[rows.clone()]);
            let loss = ops::cross_entropy_by(&mut tape, &logits, targets, &asked.criterion)?;
            let reading = loss.tensor.read_with(asked.lost)?;
            let kept = used(gpu).saturating_sub(before) / rows.len() as u64;
            let group = Step {
                losses: vec![reading],
                gradients: tape.backward(&loss)?.of_all(&leaves)?,
                kept,
            };
            match &mut sum {
                Some(sum) => sum.add(group)?,
                None => sum = Some(group),
            }
        }
        sum.ok_or_else(|| Error::Usage("a step has no image".into()))
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
