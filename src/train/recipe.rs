//! How each step of a run moves the factors: what the loss makes of the labels, how gradients are gathered and clipped, the
//! rate of each step and the rule.

use crate::autograd::Gradient;
use crate::error::{Error, Result};
use crate::ops::{Criterion, balanced};
use crate::optim::{Optimizer, Schedule, Settings, clip_norm};
use crate::tensor::Tensor;

/// What each class counts in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassWeights {
    /// Every image the same.
    #[default]
    Even,
    /// Every class the same, however many images it has: [`balanced`].
    Balanced,
}

impl ClassWeights {
    /// A weight for each of `classes`; `None` where every image counts the same.
    pub fn of(self, labels: &[u32], classes: usize) -> Option<Vec<f32>> {
        match self {
            ClassWeights::Even => None,
            ClassWeights::Balanced => Some(balanced(labels, classes)),
        }
    }
}

/// How a run's steps are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The rule and its numbers.
    pub optimizer: Settings,
    /// What the learning rate follows.
    pub schedule: Schedule,
    /// The largest norm of all gradients together; they are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Batches whose gradients are gathered for one step.
    pub grad_accum: usize,
    /// Steps after which a run ends, however many epochs it has.
    pub max_steps: Option<u64>,
    /// Share of each target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// What each class counts.
    pub class_weights: ClassWeights,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe::ADAM
    }
}

impl Recipe {
    /// Adam at one rate, nothing else.
    pub const ADAM: Recipe = Recipe {
        optimizer: Settings::ADAM,
        schedule: Schedule::CONSTANT,
        clip_norm: None,
        grad_accum: 1,
        max_steps: None,
        label_smoothing: 0.0,
        class_weights: ClassWeights::Even,
    };

    /// Refuses what cannot train.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        self.schedule.check()?;
        if let Some(norm) = self.clip_norm.filter(|n| !n.is_finite() || *n <= 0.0) {
            let problem = format!("must be a positive number, found {norm}");
            return Err(Error::setting("clip_norm", problem));
        }
        if self.grad_accum == 0 {
            return Err(Error::setting("grad_accum", "must be at least 1"));
        }
        if self.max_steps == Some(0) {
            return Err(Error::setting("max_steps", "must be at least 1"));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let found = self.label_smoothing;
            let problem = format!("must be at least 0 and below 1, found {found}");
            return Err(Error::setting("label_smoothing", problem));
        }
        Ok(())
    }

    /// What the loss is measured by, with the weights of [`ClassWeights::of`].
    pub fn criterion<'a>(&self, weights: Option<&'a [f32]>) -> Criterion<'a> {
        Criterion {
            label_smoothing: self.label_smoothing,
            weights,
            divisor: None,
        }
    }

    /// Moves the factors: clips their gradients where that is asked for, and steps.
    pub(super) fn update(
        &self,
        optimizer: &mut Optimizer,
        factors: &mut [Tensor],
        gradients: &[Gradient],
    ) -> Result<()> {
        match self.clip_norm {
            Some(most) => optimizer.step(factors, &clip_norm(gradients, most)?),
            None => optimizer.step(factors, gradients),
        }
    }
}
