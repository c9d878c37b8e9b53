//! Training: a frozen base, a tracked adapter, one loop.

mod cache;
mod embed;
pub mod estimate;
mod folder;
mod frozen;
mod kept;
mod ledger;
mod lines;
mod listing;
mod lock;
pub(crate) mod normalize;
mod plan;
mod predict;
mod run;
mod snapshot;
mod step;
mod task;
mod trainer;
mod watch;

pub use embed::embed;
pub use folder::FILES;
pub use frozen::Prefix;
pub use kept::{Room, Takes};
pub use listing::{Listed, Listing};
pub use plan::{Metric, Plan, Split};
pub use predict::{answers, predict};
pub use run::{BEST, Ended, Run, SETTINGS, Saved, Subject, Timing};
pub use snapshot::{Best, Snapshot};
pub use task::{Task, Trained};
pub use watch::{EpochRecord, StepRecord, Watch};

use crate::error::Result;
use trainer::Trainer;

/// Trains on the labelled images with Adam on cross-entropy, from a fresh adapter or from where a run was put down.
/// `watch` hears of every step and every epoch in order.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for settings that cannot train and [`Error::Usage`](crate::Error::Usage) where
/// the adapter has numbers that are not finite. What goes wrong later, a stop too, does not take the adapter away: see
/// [`Trained::end`].
pub fn train(
    prefix: &mut Prefix,
    task: Task,
    start: impl Into<Snapshot>,
    watch: &mut impl Watch,
) -> Result<Trained> {
    Trainer::new(prefix, task, start.into(), watch)?.run()
}
