//! Memory of a device: buffers from its pool, and textures.

use std::sync::Arc;

use super::device::Gpu;
use super::pool::{Buffer, Fresh, GUARD, GUARD_BYTES};
use super::shared;
use super::texture::{Recycled, Texture};
use crate::error::{Error, Result};

impl Gpu {
    /// A buffer, its contents undefined, with guard words behind it where they are asked for.
    pub(crate) fn alloc(&self, bytes: u64) -> Result<Buffer> {
        self.alloc_fresh(bytes).map(Buffer::from)
    }

    /// The same, before any kernel can be given it.
    pub(crate) fn alloc_fresh(&self, bytes: u64) -> Result<Fresh> {
        let fresh = self.0.pool.take(&self.0.device, bytes)?;
        if self.0.pool.guard {
            let words = [GUARD; GUARD_BYTES as usize / 4];
            self.submit()?;
            self.0
                .queue
                .write_buffer(fresh.raw(), bytes, bytemuck::cast_slice(&words));
        }
        self.failure()?;
        Ok(fresh)
    }

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
        let mut texture = self.make(label, size, false)?;
        let pitch = texture.pitch() * 4;
        fill(texture.memory(), pitch);
        Ok(texture)
    }

    /// A texture for planes of `padded` texels a side, their borders included: a used one where there is one, whose
    /// planes hold what they held, else a new one of zeros.
    ///
    /// # Errors
    /// As [`Gpu::texture`].
    pub(crate) fn planes(&self, size: [usize; 2], padded: usize) -> Result<Recycled> {
        let key = (size, padded);
        let mut free = self.0.planes.0.lock().expect("no panic holds the textures");
        let used = free.get_mut(&key).and_then(Vec::pop);
        drop(free);
        let texture = match used {
            Some(texture) => texture,
            None => self.texture("planes", size)?,
        };
        Ok(Recycled {
            texture: Some(texture),
            key,
            free: Arc::downgrade(&self.0.planes),
        })
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
            counted: self.0.pool.count(shared.bytes as u64),
            shared,
            width,
            height: high,
        })
    }
}
