//! Training: a frozen base, a tracked adapter, one loop.

mod arriving;
mod batch;
mod cache;
mod crew;
mod embed;
pub mod estimate;
mod folder;
mod frozen;
pub mod history;
pub mod judged;
mod kept;
mod led;
mod ledger;
mod lines;
mod listing;
mod lock;
mod look;
pub(crate) mod normalize;
mod outcome;
mod plan;
mod predict;
mod prefix;
mod reading;
mod recipe;
mod run;
mod sharing;
mod snapshot;
mod standing;
mod states;
mod step;
pub mod store;
mod task;
mod trainer;
mod watch;

pub use batch::largest_batch;
pub use embed::embed;
pub use folder::{BEST, FILES, SETTINGS, TIMES, is_own, step_of};
pub use frozen::Frozen;
pub use kept::{Room, Takes};
pub use led::serve;
pub use listing::{Listed, Listing};
pub use lock::Lock;
pub use look::{SIDE, look};
pub use outcome::{Ended, Saved, Subject, Timing};
pub use plan::{Metric, Plan, Split};
pub use predict::{answers, predict};
pub use prefix::Prefix;
pub use recipe::{ClassWeights, Recipe};
pub use run::{Beginning, Run};
pub use snapshot::{Best, Snapshot};
pub use states::{MadeOn, TakenUp};
pub use task::{Task, Trained};
pub use watch::{EpochRecord, StepRecord, Watch};

use crate::error::Result;
use trainer::Trainer;

/// Trains on the labelled images by cross-entropy, from a fresh adapter or from where a run was put down.
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
