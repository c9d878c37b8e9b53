//! A second device of a software driver: each compiles in a queue of its own, and what one has compiled all find in the driver's
//! cache.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::device::{Gpu, GpuOptions};
use crate::error::{Error, Result};

/// Turn Mesa's cache off, by its present and its former name.
const OFF: [&str; 2] = ["MESA_SHADER_CACHE_DISABLE", "MESA_GLSL_CACHE_DISABLE"];

impl Gpu {
    /// Whether the driver finds on one device what it has compiled on another: Mesa's does, unless its cache is off.
    pub(super) fn keeps_kernels(&self) -> bool {
        let off = |name: &&str| {
            let value = std::env::var(name).unwrap_or_default();
            ["1", "true", "yes"].contains(&&*value.to_ascii_lowercase())
        };
        self.0.shares_memory && !OFF.iter().any(off)
    }

    /// Another device of the same adapter, which compiles kernels as this one does.
    ///
    /// # Errors
    /// As [`Gpu::open`], and [`Error::Device`] where the adapter is not there any more.
    pub(super) fn twin(&self) -> Result<Gpu> {
        let info = self.info();
        let twin = Gpu::open(&GpuOptions {
            device: Some(info.index.to_string()),
            checked: self.0.checked,
            ..GpuOptions::default()
        })?;
        let same = [&twin.info().name, &twin.info().driver] == [&info.name, &info.driver];
        same.then_some(twin)
            .ok_or_else(|| Error::device(format!("{}: there is no second one", info.name)))
    }

    /// Waits until the device has done what it was handed, compiling too; what is only recorded stays so. This is for those
    /// who have nothing of it: what went wrong is left for who has.
    pub(super) fn catch_up(&self) {
        let submission = self.0.queue.submit([]);
        let wait = wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        };
        // wgpu panics where the device turns out to be lost while it waits.
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.device.poll(wait)));
        if polled.is_err() {
            self.0.failures.lose("while it was waited for");
        }
    }
}
