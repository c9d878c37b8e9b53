//! Storage textures for software devices: read as an image, written as a buffer, filled in place by the host, and not
//! bound by the limit on buffer bindings where kernels only read them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Mutex, Weak};

use super::pool::{Counted, GUARD};
use super::shared;

/// An `rgba32float` image whose memory is also a buffer of `vec4f`, rows [`Texture::pitch`] apart.
pub(crate) struct Texture {
    pub(super) shared: shared::Shared,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) counted: Counted,
}

/// Width, height, and the side of the planes with their borders.
pub(super) type Key = ([usize; 2], usize);

/// Textures of planes that nobody uses, by their size and the side of a plane with its border: the borders lie in the
/// same places then, are zero, and nothing writes them.
#[derive(Default)]
pub(super) struct Free(pub(super) Mutex<HashMap<Key, Vec<Texture>>>);

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
    pub(super) texture: Option<Texture>,
    pub(super) key: Key,
    pub(super) free: Weak<Free>,
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

    /// Fills planes of `padded` texels a side (0: without borders), but not their borders, with NaN: whoever reads what nobody wrote shows.
    pub(super) fn soil(&mut self, padded: usize) {
        let inside = |at: usize| padded == 0 || (1..padded - 1).contains(&(at % padded));
        let (pitch, width) = (self.shared.pitch, self.width);
        let rows = self.memory().chunks_mut(pitch * 4).enumerate();
        for (_, row) in rows.filter(|(y, _)| inside(*y)) {
            let texels = row.chunks_mut(4).take(width).enumerate();
            for (_, texel) in texels.filter(|(x, _)| inside(*x)) {
                texel.fill(f32::from_bits(GUARD));
            }
        }
    }

    /// The memory, `pitch` texels a row.
    #[allow(unsafe_code)]
    pub(super) fn memory(&mut self) -> &mut [f32] {
        let floats = self.shared.pitch * self.height * 4;
        assert!(floats * 4 <= self.shared.bytes);
        // SAFETY: the memory has `bytes`, is aligned as a driver's mapping is, and lives as long as `self`. Only
        // `texture_from` and `soil` come here, for the time of one closure, with a texture that nobody else has yet and no
        // work is left that knows it.
        unsafe { std::slice::from_raw_parts_mut(self.shared.host.0.as_ptr().cast(), floats) }
    }
}
