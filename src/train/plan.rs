//! The settings of a run, and the order of its images that follows from them.

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use crate::data::Score;
use crate::error::{Error, Result};
use crate::random::Stream;

/// What the loop needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Passes over the data.
    pub epochs: usize,
    /// Images that go through the network at once, and so many batches a step as the recipe gathers; an epoch's last step
    /// takes the rest.
    pub batch_size: usize,
    /// Images of a part of a step: parts go through the network one after the other, or on several ranks, and their gradients
    /// are added in the order of the images; a batch where nothing is said.
    pub micro_batch: Option<usize>,
    /// Learning rate, which the recipe's schedule starts from.
    pub lr: f64,
    /// How the steps are taken.
    pub recipe: Recipe,
    /// Seed of the order of the images and of dropout.
    pub seed: u64,
    /// Share of what goes into each A that is dropped in training.
    pub dropout: f64,
    /// Keeps less for the gradient and computes it once more instead.
    pub checkpoint: bool,
    /// What makes one epoch better than another, of a run that is validated.
    pub metric: Metric,
    /// Ends a run after so many epochs in a row that were no better.
    pub patience: Option<usize>,
}

/// What makes one validation better than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// A lower mean cross-entropy.
    #[default]
    Loss,
    /// A larger share of images that are taken for what they are.
    Top1,
    /// A larger share of images whose class is among the first five.
    Top5,
}

impl Metric {
    /// Whether `score` is better than `than`; an equal one is not.
    pub fn better(self, score: &Score, than: &Score) -> bool {
        match self {
            Metric::Loss => score.loss < than.loss,
            Metric::Top1 => score.top1 > than.top1,
            Metric::Top5 => score.top5 > than.top5,
        }
    }
}

/// Which images a run learns from and which show how good it is, by their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Those that are trained on.
    pub train: Vec<usize>,
    /// Those that are not.
    pub validation: Vec<usize>,
}

impl Split {
    /// All of so many images to train on.
    pub fn all(images: usize) -> Self {
        Split {
            train: (0..images).collect(),
            validation: Vec::new(),
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Plan::TUTORIAL
    }
}

impl Plan {
    /// The tutorial's.
    pub const TUTORIAL: Plan = Plan {
        epochs: 20,
        batch_size: 5,
        micro_batch: None,
        lr: 1e-3,
        recipe: Recipe::ADAM,
        seed: 0,
        dropout: 0.0,
        checkpoint: false,
        metric: Metric::Loss,
        patience: None,
    };

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let patience = self.patience.unwrap_or(1);
        for (name, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("micro_batch", self.micro_batch.unwrap_or(1)),
            ("early_stop", patience),
        ] {
            if value == 0 {
                return Err(Error::setting(name, "must be at least 1"));
            }
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return Err(Error::setting(
                "lr",
                format!("must be a positive number, found {}", self.lr),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::setting(
                "dropout",
                format!("must be at least 0 and below 1, found {}", self.dropout),
            ));
        }
        self.recipe.check()
    }

    /// The images of every step of `epoch`, counted from 0, out of `images`: cut from [`Stream::permutation`] of the stream
    /// `shuffle <epoch>`; a step's images are sorted, since their order means nothing and steps of the same ones can share
    /// their data.
    pub fn order(&self, epoch: usize, images: &[usize]) -> Vec<Vec<usize>> {
        let order = Stream::new(self.seed, &format!("shuffle {epoch}")).permutation(images.len());
        let before = (epoch as u64).saturating_mul(self.steps_per_epoch(images.len()) as u64);
        let left = self.steps(images.len()).saturating_sub(before);
        let steps = order.chunks(self.images_a_step()).take(left as usize);
        let steps = steps.map(|step| {
            let mut step: Vec<usize> = step.iter().map(|&at| images[at]).collect();
            step.sort_unstable();
            step
        });
        steps.collect()
    }

    /// Images of a step that is no epoch's last.
    fn images_a_step(&self) -> usize {
        self.batch_size.saturating_mul(self.recipe.grad_accum)
    }

    /// A step's images, or what belongs to them, as they go through the network.
    pub(super) fn parts<'s, T>(&self, step: &'s [T]) -> std::slice::Chunks<'s, T> {
        step.chunks(self.micro_batch.unwrap_or(self.batch_size))
    }

    /// Whether steps on so many images have parts that ranks can share.
    pub fn shares_steps(&self, images: usize) -> bool {
        self.most_parts(images) > 1
    }

    /// The most parts that a step on so many images has.
    pub(super) fn most_parts(&self, images: usize) -> usize {
        let images = images.min(self.images_a_step());
        images.div_ceil(self.micro_batch.unwrap_or(self.batch_size))
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.images_a_step())
    }

    /// Steps of a run that goes to its end.
    pub fn steps(&self, images: usize) -> u64 {
        let all = (self.epochs as u64).saturating_mul(self.steps_per_epoch(images) as u64);
        self.recipe.max_steps.map_or(all, |most| most.min(all))
    }

    /// Epochs of a run that goes to its end, the last of them in part where the steps are over before it is.
    pub(super) fn last_epoch(&self, images: usize) -> usize {
        let steps = self.steps(images);
        steps.div_ceil(self.steps_per_epoch(images).max(1) as u64) as usize
    }

    /// Learning rate of a step, counted from 0, of a run on so many images.
    pub fn rate(&self, step: u64, images: usize) -> f64 {
        self.lr * self.recipe.schedule.factor(step, self.steps(images))
    }

    /// Whether a run ends that has had so many epochs in a row that were no better.
    pub(super) fn waited_enough(&self, epochs: usize) -> bool {
        self.patience.is_some_and(|patience| epochs >= patience)
    }
}
