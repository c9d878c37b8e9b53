//! Optimisers: one step over the tracked parameters. Parameters are new tensors after a step, so a
//! caller that keeps the old ones has a snapshot for free.

mod adam;
mod sgd;
mod state;

pub use adam::Adam;
pub use sgd::Sgd;

use crate::check::Case;
use crate::gpu::Kernel;

/// Every kernel of the optimisers.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    adam::kernels()
}

/// Every optimiser's cases for the self-test.
pub(crate) fn cases() -> Vec<Case> {
    [adam::cases(), sgd::cases()]
        .into_iter()
        .flatten()
        .collect()
}
