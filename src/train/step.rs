//! One step: from what the frozen layers made of its images to the loss and the gradients of the factors.

use super::cache::Input;
use super::plan::Plan;
use super::prefix::Prefix;
use super::task::Task;
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
    pub(super) losses: Vec<Term>,
    pub(super) gradients: Vec<Gradient>,
    /// Bytes kept of an image between the forward and the backward pass.
    pub(super) kept: u64,
}

/// Numbers that are here, or on their way to the host.
pub(super) enum Term {
    Coming(Readback),
    Here(Vec<f32>),
}

impl Term {
    pub(super) fn wait(self) -> Result<Vec<f32>> {
        match self {
            Term::Coming(reading) => reading.wait(),
            Term::Here(numbers) => Ok(numbers),
        }
    }
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

/// A step's images, cut into the parts that go through the network one after the other.
pub(super) struct Cut<'a> {
    plan: Plan,
    number: u64,
    /// The class of each.
    labels: Vec<u32>,
    criterion: Criterion<'a>,
    /// What they count together.
    pub(super) count: f64,
}

impl<'a> Cut<'a> {
    /// The images at `step` of the data of `task`, in the step of this `number`; each class counts by `weights`.
    pub(super) fn new(
        task: Task,
        weights: Option<&'a [f32]>,
        step: &[usize],
        number: u64,
    ) -> Result<Self> {
        let labels = step.iter().map(|&at| task.labels[task.images.image(at)]);
        let labels: Vec<u32> = labels.collect();
        let criterion = task.plan.recipe.criterion(weights);
        let count = criterion.divisor(Targets::Classes(&labels), labels.len())?;
        Ok(Cut {
            plan: task.plan,
            number,
            labels,
            criterion: Criterion {
                divisor: Some(count),
                ..criterion
            },
            count,
        })
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> usize {
        self.plan.parts(&self.labels).len()
    }

    /// What is asked of one; `lost` is the word of the updates before.
    pub(super) fn asked<'s>(&'s self, part: usize, lost: Option<&'s Tensor>) -> Asked<'s> {
        let mut parts = self.plan.parts(&self.labels);
        let first = parts.by_ref().take(part).map(<[u32]>::len).sum();
        Asked {
            labels: parts.next().unwrap_or_default(),
            criterion: self.criterion,
            first,
            dropout: (self.plan.dropout, self.plan.seed, self.number),
            lost,
        }
    }
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
                losses: vec![Term::Coming(reading)],
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
