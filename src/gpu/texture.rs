//! Storage textures for software devices: read as an image, written as a buffer, filled in place by the host, and not
//! bound by the limit on buffer bindings where kernels only read them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

use super::pool::Counted;
use super::{Gpu, shared};
use crate::{Error, Result};

/// An `rgba32float` image whose memory is also a buffer of `vec4f`, rows [`Texture::pitch`] apart.
pub(crate) struct Texture {
    pub(super) shared: shared::Shared,
    width: usize,
    height: usize,
    pub(super) counted: Counted,
}

/// Width, height, and the side of the planes with their borders.
type Key = ([usize; 2], usize);

/// Textures of planes that nobody uses, by their size and the side of a plane with its border: the borders lie in the
/// same places then, are zero, and nothing writes them.
#[derive(Default)]
pub(super) struct Free(Mutex<HashMap<Key, Vec<Texture>>>);

impl Free {
    pub(super) fn trim(&self) {
        self.0.lock().expect("no panic holds the textures").clear();
    }

    /// Bytes of the textures that wait.
    pub(super) fn bytes(&self) -> u64 {
        let free = self.0.lock().expect("no panic holds the textures");
        free.values()
            .flatten()
            .map(|texture| texture.shared.bytes as u64)
            .sum()
    }
}

/// A texture that is used again once its last owner drops it. The queue runs dispatches in order, so that nothing waits.
pub(crate) struct Recycled {
    texture: Option<Texture>,
    key: Key,
    free: Weak<Free>,
}

impl Deref for Recycled {
    type Target = Texture;

    fn deref(&self) -> &Texture {
        self.texture.as_ref().expect("it is there until the drop")
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        if let (Some(free), Some(texture)) = (self.free.upgrade(), self.texture.take())
            && let Ok(mut free) = free.0.lock()
        {
            free.entry(self.key).or_default().push(texture);
        }
    }
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

impl Texture {
    /// Texels from one row to the next, in the buffer.
    pub(crate) fn pitch(&self) -> usize {
        self.shared.pitch
    }

    /// Texels of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The rows, of which the last may be one more than was asked for.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// The memory, `pitch` texels a row.
    #[allow(unsafe_code)]
    fn memory(&mut self) -> &mut [f32] {
        let floats = self.shared.pitch * self.height * 4;
        assert!(floats * 4 <= self.shared.bytes);
        // SAFETY: the memory has `bytes`, is aligned as a driver's mapping is, and lives as long as `self`. Only
        // `texture_from` calls this, for the time of one closure, on a texture that nobody else has yet.
        unsafe { std::slice::from_raw_parts_mut(self.shared.host.0.as_ptr().cast(), floats) }
    }
}
