//! The self-test: every op, forward and backward, on the user's own device. It collects what each op brings to be held
//! against ([`crate::check`]); `goldfish selftest` prints it and `tests/ops.rs` runs it.

use crate::check::{Case, Outcome};
use crate::conv::{planes, rows};
use crate::error::Result;
use crate::gpu::{Gpu, GpuOptions, Kernel};
use crate::train::normalize;
use crate::{bench, ops, optim, tensor};

/// Every case of every op and optimiser, cheapest ops first.
pub fn cases() -> Vec<Case> {
    let mut cases = ops::cases();
    cases.extend(optim::cases());
    cases.extend(rows::cases());
    cases.extend(planes::cases());
    cases.extend(normalize::cases());
    cases
}

/// Every kernel of every op, optimiser and family.
pub fn kernels() -> Vec<&'static Kernel> {
    [
        tensor::arithmetic::kernels(),
        tensor::planes::kernels(),
        ops::kernels(),
        optim::kernels(),
        rows::kernels(),
        planes::kernels(),
        normalize::kernels(),
        bench::kernels(),
    ]
    .concat()
}

/// Runs every case on the named device, telling `progress` each outcome.
///
/// # Errors
/// [`crate::Error::Device`] where the device cannot be opened; a failing case is an outcome, not an error, and so is one
/// that the device does not suit.
pub fn run(
    device: Option<String>,
    mut progress: impl FnMut(usize, &Outcome),
) -> Result<Vec<Outcome>> {
    let gpu = Gpu::open(&GpuOptions {
        device,
        guard: true,
        half: true,
        ..GpuOptions::default()
    })?;
    let mut outcomes = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        let outcome = case.run(&gpu);
        progress(index, &outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
