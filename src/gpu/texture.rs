//! Storage textures for software devices: read as an image, written as a buffer, filled in place by the host, and not
//! bound by the limit on buffer bindings where kernels only read them.

use super::{Gpu, shared};
use crate::{Error, Result};

/// An `rgba32float` image whose memory is also a buffer of `vec4f`, rows [`Texture::pitch`] apart.
pub(crate) struct Texture {
    pub(super) shared: shared::Shared,
    width: usize,
    height: usize,
}

impl Gpu {
    /// Whether textures can be made here at all.
    pub(crate) fn has_textures(&self) -> bool {
        self.0.shares_memory
    }

    /// A texture of `width` x `height` texels of four f32, all zero.
    ///
    /// # Errors
    /// [`Error::Memory`] where a side is longer than the device's limit, or there is no room.
    pub(crate) fn texture(&self, label: &str, size: [usize; 2]) -> Result<Texture> {
        self.make(label, size, true)
    }

    /// The same with what `fill` puts there: it is given the memory and the floats from one row to the next.
    ///
    /// # Errors
    /// As [`Gpu::texture`].
    pub(crate) fn texture_from(
        &self,
        label: &str,
        size: [usize; 2],
        fill: impl FnOnce(&mut [f32], usize),
    ) -> Result<Texture> {
        let texture = self.make(label, size, false)?;
        fill(texture.memory(), texture.pitch() * 4);
        Ok(texture)
    }

    fn make(&self, label: &str, [width, height]: [usize; 2], zero: bool) -> Result<Texture> {
        let (wide, high) = (shared::odd_side(width), shared::odd_side(height));
        let most = self.limits().max_texture_dimension_2d as usize;
        if wide.max(high) > most || width.min(height) == 0 {
            return Err(Error::Memory(format!(
                "{label}: a texture of {width} x {height} is not possible on this device (1 to {most} a side): \
                 lower the batch or image size"
            )));
        }
        let shared = shared::create(&self.0.device, label, [wide, high], zero)?;
        self.failure()?;
        Ok(Texture {
            shared,
            width,
            height: high,
        })
    }

    /// Has `fill` change the memory of a texture once the device has finished everything; as in
    /// [`Gpu::texture_from`].
    pub(crate) fn refill(
        &self,
        texture: &Texture,
        fill: impl FnOnce(&mut [f32], usize),
    ) -> Result<()> {
        self.wait()?;
        fill(texture.memory(), texture.pitch() * 4);
        Ok(())
    }

    /// The first `rows` rows of a texture, waiting for the device.
    pub(crate) fn read_rows(&self, texture: &Texture, rows: usize) -> Result<Vec<f32>> {
        self.wait()?;
        let all = texture.memory();
        let rows = all.chunks(texture.pitch() * 4).take(rows);
        Ok(rows
            .flat_map(|row| &row[..texture.width * 4])
            .copied()
            .collect())
    }
}

impl Texture {
    /// Texels from one row to the next, in the buffer.
    pub(crate) fn pitch(&self) -> usize {
        self.shared.pitch
    }

    /// The memory, `pitch` texels a row.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    fn memory(&self) -> &mut [f32] {
        let floats = self.shared.pitch * self.height * 4;
        assert!(floats * 4 <= self.shared.bytes);
        // SAFETY: the memory has `bytes`, is aligned as a driver's mapping is, and lives as long as `self`. Only the
        // three methods above call this, for the time of one closure or copy: the first on a texture that nobody
        // else has yet, the others after the device has finished everything; the software family, which owns all
        // textures, lets one thread at a time use them.
        unsafe { std::slice::from_raw_parts_mut(self.shared.host.as_ptr().cast(), floats) }
    }
}
