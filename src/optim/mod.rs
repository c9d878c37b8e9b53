//! Optimisers: one step over the tracked parameters, what its gradients are clipped to and its learning rate follows.
//! Parameters are new tensors after a step, so a caller that keeps the old ones has a snapshot for free.

mod adam;
mod cases;
mod clip;
mod optimizer;
mod schedule;
mod sgd;
mod state;

pub use adam::Adam;
pub use clip::clip_norm;
pub use optimizer::{Optimizer, Rule, Settings};
pub use schedule::{Curve, Schedule};
pub use sgd::Sgd;

use crate::check::Case;
use crate::gpu::Kernel;

/// Every kernel of the optimisers.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [adam::kernels(), sgd::kernels(), clip::kernels()].concat()
}

/// Every optimiser's cases for the self-test.
pub(crate) fn cases() -> Vec<Case> {
    cases::cases()
}
