//! What a run is given and what comes of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::plan::{Plan, Split};
use super::snapshot::{Best, Snapshot};
use crate::data::ImageStore;
use crate::error::Result;
use crate::nn::Adapter;

/// What [`train`](super::train) trains on, how and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The images.
    pub images: &'a Arc<ImageStore>,
    /// The category of each.
    pub labels: &'a [u32],
    /// Which of them are trained on, and which are to show how good the adapter is.
    pub split: &'a Split,
    /// The settings.
    pub plan: Plan,
    /// Ends the run after the current step.
    pub stop: &'a AtomicBool,
}

impl Task<'_> {
    /// The images of every step of `epoch` from the `index`-th on; of those that are augmented, the variant of this epoch.
    pub(super) fn steps(&self, epoch: usize, index: usize) -> Vec<Vec<usize>> {
        let order = self.plan.order(epoch, &self.split.train).into_iter();
        let mut order: Vec<Vec<usize>> = order.skip(index).collect();
        for image in order.iter_mut().flatten() {
            *image = self.images.position(*image, epoch);
        }
        order
    }

    /// What each of so many classes counts in the loss, where they differ.
    pub(super) fn class_weights(&self, classes: usize) -> Option<Vec<f32>> {
        let labels = self.split.train.iter().map(|&image| self.labels[image]);
        let labels: Vec<u32> = labels.collect();
        self.plan.recipe.class_weights.of(&labels, classes)
    }
}

/// How training ended. The adapter is the last one known to be good, whatever happened.
#[derive(Debug)]
pub struct Trained {
    /// The adapter.
    pub adapter: Adapter,
    /// That of the best epoch, of a run that is validated.
    pub best: Option<Best>,
    /// Where the run stands, to go on from there; none where it has diverged.
    pub snapshot: Option<Snapshot>,
    /// Steps done in all, also before the run was taken up here.
    pub steps: u64,
    /// Epochs done in all.
    pub epochs: usize,
    /// The loss of every step that was done here.
    pub losses: Vec<f32>,
    /// The most bytes that a step kept of an image for its gradient.
    pub kept: u64,
    /// Whether it ended because no epoch was better any more.
    pub early: bool,
    /// Why it did not run to its end: [`Error::NonFinite`](crate::Error::NonFinite),
    /// [`Error::Interrupted`](crate::Error::Interrupted), what its [`Watch`](super::Watch) returned, or what the device or an image file
    /// reported.
    pub end: Result<()>,
}
