//! What a run's folder is told and tells: what the adapter belongs to, how the run ended, when its epochs were done, what was
//! written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::error::{Error, Result};
use crate::nn::{Arch, Identity};

/// What a run's adapter belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The base's network.
    pub arch: Arch,
    /// The base.
    pub base: &'a Identity,
    /// What the logits mean.
    pub classes: &'a Classes,
}

/// How a run ended, as `run.toml` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It has not, or nobody was there to write it down.
    NotYet,
    /// All epochs were run.
    Complete,
    /// No epoch was better any more.
    EarlyStop,
    /// It was stopped from outside.
    Interrupted,
    /// Its numbers became infinite or none.
    Diverged,
    /// Something else went wrong.
    Failed,
}

impl Ended {
    /// Of a run that has ended so, `early` or not.
    pub fn of(end: &Result<()>, early: bool) -> Self {
        match end {
            Ok(()) if early => Ended::EarlyStop,
            Ok(()) => Ended::Complete,
            Err(Error::Interrupted { .. }) => Ended::Interrupted,
            Err(Error::NonFinite { .. }) => Ended::Diverged,
            Err(_) => Ended::Failed,
        }
    }
}

/// A line of `timing.jsonl`: when an epoch was done. It stands apart from the metrics, which two runs have alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Counted from 1.
    pub epoch: usize,
    /// Steps done.
    pub step: u64,
    /// Seconds since 1970.
    pub unix: f64,
    /// Seconds since the process took the run up.
    pub seconds: f64,
}

/// What [`Run::finish`](super::Run::finish) wrote.
#[derive(Debug)]
pub struct Saved {
    /// The run's folder: another one beside it where the run that was to be replaced is whole, and this one is not.
    pub folder: PathBuf,
    /// The adapter's numbers.
    pub adapter: PathBuf,
    /// Bytes of those.
    pub bytes: u64,
    /// Whether the rest of the run, metrics and what it could go on from, found room too.
    pub beside: Result<()>,
}
