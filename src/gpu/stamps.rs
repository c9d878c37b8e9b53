//! Time stamps around what is recorded: how long each kernel takes on the device itself.

use super::device::Gpu;
use super::profile::{KernelTime, Profile};
use crate::error::{Error, Result};

impl Gpu {
    /// Whether there are any: a device that is not software has them where its driver does.
    pub(crate) fn has_stamps(&self) -> bool {
        self.0.profile.is_some()
    }

    /// Stamps what is recorded from here on.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are none: see [`Gpu::has_stamps`].
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
