//! What a run tells of itself while it goes on, to whoever shows it and keeps it.

use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use crate::data::Score;
use crate::error::Result;

/// A step, as a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the step's images before its update.
    pub loss: f32,
    /// Learning rate.
    pub lr: f64,
}

/// An epoch, as a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Steps done.
    pub step: u64,
    /// Mean over its images of their losses in the steps that took them; where classes have weights, each counts its class's,
    /// as in the loss of a step.
    pub train_loss: f64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// How good the adapter is after it, of a run that is validated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Score>,
    /// Whether no epoch before was as good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<bool>,
}

/// Who hears of a run. A closure over steps is one.
pub trait Watch {
    /// A step is done.
    ///
    /// # Errors
    /// The run ends with what this returns, and its adapter is kept.
    fn step(&mut self, record: StepRecord) -> Result<()>;

    /// An epoch is done.
    ///
    /// # Errors
    /// As [`Watch::step`].
    fn epoch(&mut self, _record: EpochRecord) -> Result<()> {
        Ok(())
    }

    /// Some of the pictures of a validation have been looked at.
    fn validated(&mut self, _done: usize, _of: usize) {}

    /// It is known who takes the steps that are cut into parts: rank 0 alone or all ranks, whichever took less, of which these
    /// are the seconds of a step.
    fn tried(&mut self, _seconds: [f64; 2]) {}

    /// Whether the run should be put down here so that it can be taken up again: after an epoch, of which so many are done,
    /// or between two steps.
    fn due(&mut self, _epochs: Option<usize>) -> bool {
        false
    }

    /// Puts it down.
    ///
    /// # Errors
    /// As [`Watch::step`].
    fn save(&mut self, _snapshot: &Snapshot) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(StepRecord) -> Result<()>> Watch for F {
    fn step(&mut self, record: StepRecord) -> Result<()> {
        self(record)
    }
}
