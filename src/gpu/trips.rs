//! The limit on loops that a software driver has.

use super::device::Gpu;
use crate::error::{Error, Result};

/// The largest loop count, nested loops multiplied, that lavapipe runs: it ends loops silently after
/// 65,535 iterations of one invocation.
const MAX_TRIPS: usize = 65_535;

/// Refuses a loop that a software driver would cut short: `trips` iterations of one invocation of `op`, those of nested
/// loops multiplied.
///
/// # Errors
/// [`Error::Memory`] where they are too many.
pub fn check_trips(gpu: &Gpu, op: &'static str, trips: usize) -> Result<()> {
    if gpu.is_software() && trips > MAX_TRIPS {
        return Err(Error::Memory(format!(
            "{op}: {trips} loop iterations are more than the software driver runs ({MAX_TRIPS}): use smaller \
             tensors or a GPU"
        )));
    }
    Ok(())
}
