//! Memory of a device: buffers from its pool, and textures.

use std::sync::Arc;

use super::device::Gpu;
use super::pool::{Buffer, Fresh, GUARD};
use super::shared;
use super::texture::{Recycled, Texture};
use crate::error::{Error, Result};

impl Gpu {
    /// A buffer, its contents undefined. Where guards are asked for, their words are behind it, and in it too.
    pub(crate) fn alloc(&self, bytes: u64) -> Result<Buffer> {
        self.alloc_fresh(bytes).map(Buffer::from)
    }

    /// The same, before any kernel can be given it.
    pub(crate) fn alloc_fresh(&self, bytes: u64) -> Result<Fresh> {
        match self.take(bytes) {
            Err(Error::Memory(_)) => {
                // What is kept for later may be what is missing.
                self.trim();
                self.wait()?;
                self.take(bytes)
            }
            taken => taken,
        }
    }

    fn take(&self, bytes: u64) -> Result<Fresh> {
        // What others did is not this buffer's fault.
        self.failure()?;
        let fresh = self.0.pool.take(&self.0.device, bytes)?;
        if let Err(error) = self.failure() {
            fresh.forget();
            return Err(error);
        }
        if self.0.pool.guard {
            let words = vec![GUARD; fresh.bound() as usize / 4];
            self.submit()?;
            self.0
                .queue
                .write_buffer(fresh.raw(), 0, bytemuck::cast_slice(&words));
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

    /// A texture for planes of `padded` texels a side, their borders included (0: without borders): a used one where there is one, whose
    /// planes hold what they held, else a new one of zeros.
    ///
    /// # Errors
    /// As [`Gpu::texture`].
    pub(crate) fn planes(&self, size: [usize; 2], padded: usize) -> Result<Recycled> {
        let key = (size, padded);
        let mut free = self.0.planes.0.lock().expect("no panic holds the textures");
        let used = free.get_mut(&key).and_then(Vec::pop);
        drop(free);
        let mut texture = match used {
            Some(texture) => texture,
            None => self.texture("planes", size)?,
        };
        if self.0.pool.guard {
            // What is recorded may still read it.
            self.wait()?;
            texture.soil(padded);
        }
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

#[cfg(test)]
mod tests {
    use super::{GUARD, Gpu};
    use crate::gpu::{GpuOptions, IMAGE_WIDTH, devices};

    #[test]
    fn guarded_memory_starts_dirty_and_is_used_again_once_it_is_checked() {
        if devices().is_empty() {
            return eprintln!("skipped: this machine has no device");
        }
        let options = GpuOptions {
            guard: true,
            ..GpuOptions::default()
        };
        let gpu = Gpu::open(&options).expect("a device opens");
        let take = || {
            let buffer = gpu.alloc(1000).expect("a buffer");
            let words = gpu.read(&buffer).and_then(|read| read.wait_u32());
            assert_eq!(words.expect("its words"), [GUARD; 250]);
            gpu.write(&buffer, 0, &[0; 1000]).expect("written");
            buffer.id
        };
        let (first, second) = (take(), take());
        assert_ne!(first, second);
        gpu.check_guards("none").expect("nobody wrote past the end");
        let again = take();
        assert!([first, second].contains(&again), "{again}");
    }

    #[test]
    fn memory_that_is_higher_than_an_image_can_be_is_refused() {
        if devices().is_empty() {
            return eprintln!("skipped: this machine has no device");
        }
        let gpu = Gpu::open(&GpuOptions::default()).expect("a device opens");
        let highest = u64::from(gpu.limits().max_texture_dimension_2d) * IMAGE_WIDTH as u64 * 16;
        if !gpu.has_textures() || highest >= gpu.limits().max_buffer_size {
            return eprintln!(
                "skipped: this device's buffers are no images, or all are small enough"
            );
        }
        let refused = gpu.alloc(highest + 1).map(drop);
        let text = refused.expect_err("one row too many").to_string();
        assert!(text.contains("a side: lower the batch"), "{text}");
        // And nothing is left over that spoils the next call.
        gpu.alloc(1 << 20).expect("a buffer");
        gpu.wait().expect("the device goes on");
    }
}
