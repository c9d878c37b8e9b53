//! Time stamps around what is recorded: how long each kernel takes on the device itself.

use super::device::Gpu;
use super::profile::{KernelTime, Profile};
use crate::error::{Error, Result};

impl Gpu {
    /// Stamps what is recorded from here on, where the device was opened with [`super::GpuOptions::stamps`].
    ///
    /// # Errors
    /// [`Error::Usage`] where it was not.
    pub(crate) fn start_stamps(&self) -> Result<()> {
        self.wait()?;
        self.stamps()?.start();
        Ok(())
    }

    /// What every kernel took since [`Gpu::start_stamps`], the longest first.
    ///
    /// # Errors
    /// As there; what the device reported.
    pub(crate) fn end_stamps(&self) -> Result<Vec<KernelTime>> {
        self.wait()?;
        Ok(self.stamps()?.end())
    }

    fn stamps(&self) -> Result<&Profile> {
        self.0
            .profile
            .as_ref()
            .ok_or_else(|| Error::Usage("the device was not opened for time stamps".into()))
    }
}
