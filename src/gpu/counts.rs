//! How often a device was called: what each call costs is the same whatever it computes.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls of a device since it was opened, or between two moments: the later count less the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels launched.
    pub dispatches: u64,
    /// Times that work was handed over. What a driver compiles is handed over beside it and not counted.
    pub submits: u64,
    /// Times that the device was waited for. What is read back and lies there already is not waited for, so that on a GPU
    /// two runs may have other counts.
    pub waits: u64,
    /// Bytes that the host sent into memory that was there before. What is made by the host where it lies, on a device
    /// whose memory the host shares, is not counted.
    pub sent: u64,
    /// Bytes that were copied for the host to read.
    pub read: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        Counts {
            dispatches: self.dispatches - earlier.dispatches,
            submits: self.submits - earlier.submits,
            waits: self.waits - earlier.waits,
            sent: self.sent - earlier.sent,
            read: self.read - earlier.read,
        }
    }
}

/// What is counted while the device works.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) dispatches: AtomicU64,
    pub(super) submits: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) read: AtomicU64,
}

/// One more.
pub(super) fn one(counter: &AtomicU64) {
    more(counter, 1);
}

/// So many more.
pub(super) fn more(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    /// What was counted so far.
    pub(super) fn now(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            dispatches: of(&self.dispatches),
            submits: of(&self.submits),
            waits: of(&self.waits),
            sent: of(&self.sent),
            read: of(&self.read),
        }
    }
}
