//! How often a device was called: what each call costs is the same whatever it computes.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use super::device::Gpu;

/// Calls of a device since it was opened, or between two moments: the later [`Gpu::counts`] less the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels launched.
    pub dispatches: u64,
    /// Times that work was handed over. What a driver compiles is handed over beside it and not counted.
    pub submits: u64,
    /// Times that the device was waited for. What is read back and lies there already is not waited for, so that on a GPU
    /// two runs may have other counts.
    pub waits: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        Counts {
            dispatches: self.dispatches - earlier.dispatches,
            submits: self.submits - earlier.submits,
            waits: self.waits - earlier.waits,
        }
    }
}

/// What is counted while the device works.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) dispatches: AtomicU64,
    pub(super) submits: AtomicU64,
    pub(super) waits: AtomicU64,
}

/// One more.
pub(super) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Gpu {
    /// How often the device was called since it was opened, by all of its handles.
    pub fn counts(&self) -> Counts {
        let counters = &self.0.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            dispatches: of(&counters.dispatches),
            submits: of(&counters.submits),
            waits: of(&counters.waits),
        }
    }
}
