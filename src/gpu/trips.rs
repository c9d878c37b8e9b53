//! The limit on loops that a software driver has.

use super::device::Gpu;
use crate::error::{Error, Result};

/// The largest loop count, nested loops multiplied, that lavapipe runs: it ends loops silently after
/// 65,535 iterations of one invocation.
const MAX_TRIPS: usize = 65_535;

/// The most iterations of a loop that the device's driver runs.
pub(crate) fn max_trips(gpu: &Gpu) -> usize {
    match gpu.is_software() {
        true => MAX_TRIPS,
        false => usize::MAX,
    }
}

/// Refuses a loop that a software driver would cut short: `trips` iterations of one invocation of `op`, those of nested
/// loops multiplied.
///
/// # Errors
/// [`Error::Memory`] where they are too many.
pub fn check_trips(gpu: &Gpu, op: &'static str, trips: usize) -> Result<()> {
    if trips > max_trips(gpu) {
        return Err(Error::Memory(format!(
            "{op}: {trips} loop iterations are more than the software driver runs ({MAX_TRIPS}): use smaller \
             tensors or a GPU"
        )));
    }
    Ok(())
}
