//! Device buffers that return to a free list when their last owner drops them.
//!
//! Reuse needs no waiting: the queue runs dispatches in order, so a buffer handed out again is
//! written only after everything recorded earlier has read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::shared;
use crate::error::{Error, Result};

/// Texels of a row of the image that a buffer's memory also is, where it is one (see [`shared`]).
pub(crate) const IMAGE_WIDTH: usize = 1024;
/// Bytes from which a buffer is worth being an image.
pub(crate) const IMAGE_LEAST: u64 = 16 << 10;

/// Bytes behind every buffer that hold [`GUARD`] words when guarding is on.
pub(super) const GUARD_BYTES: u64 = 256;
/// The pattern whose change betrays a write out of bounds, and a NaN that betrays a read of what nobody wrote.
pub(super) const GUARD: u32 = 0x7fb5_a5a5;

/// Counts of a device's buffers, in bytes and pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Buffers in use.
    pub live: usize,
    /// Bytes in use, textures included.
    pub live_bytes: u64,
    /// Of these, bytes of textures that wait to be used again.
    pub idle_bytes: u64,
    /// The most bytes ever in use together.
    pub peak_bytes: u64,
    /// Bytes kept for reuse.
    pub free_bytes: u64,
}

#[derive(Default)]
struct Lists {
    free: HashMap<u64, Vec<Raw>>,
    guarded: Vec<(wgpu::Buffer, u64)>,
    /// Given back, and free once their guards are checked.
    unchecked: Vec<(u64, Raw)>,
    stats: PoolStats,
    /// Buffers ever made.
    made: u64,
}

pub(super) struct Pool {
    lists: Arc<Mutex<Lists>>,
    pub(super) guard: bool,
    /// Whether large buffers are images too.
    shares_memory: bool,
}

/// Device memory without its place in the pool.
#[derive(Clone)]
struct Raw {
    /// Counted up: no other buffer of the pool ever has it.
    id: u64,
    buffer: wgpu::Buffer,
    image: Option<wgpu::TextureView>,
    /// Its memory, where the host sees it.
    host: Option<shared::Host>,
}

/// A storage buffer of a whole number of 4-byte words.
pub(crate) struct Buffer {
    /// The memory's.
    pub(super) id: u64,
    pub(super) raw: wgpu::Buffer,
    /// The same memory as an image of [`IMAGE_WIDTH`] texels a row, on devices that read those faster.
    pub(super) image: Option<wgpu::TextureView>,
    host: Option<shared::Host>,
    /// Bytes that hold data.
    pub(crate) bytes: u64,
    /// Bytes that a kernel sees: `bytes`, and the guard where there is one.
    pub(super) bound: u64,
    /// Bytes that it takes.
    class: u64,
    /// With a guard behind its data.
    guarded: bool,
    /// Fit to be used again.
    sound: bool,
    pool: Weak<Mutex<Lists>>,
}

/// A buffer that was just taken: no kernel can be given it yet.
pub(crate) struct Fresh {
    buffer: Buffer,
    /// Nobody had its memory before.
    new: bool,
}

/// Memory beside the pool's buffers that its counts include as long as this lives.
pub(super) struct Counted {
    bytes: u64,
    pool: Weak<Mutex<Lists>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(lists) = self.pool.upgrade()
            && let Ok(mut lists) = lists.lock()
        {
            lists.stats.live_bytes -= self.bytes;
        }
    }
}

impl Pool {
    pub(super) fn new(guard: bool, shares_memory: bool) -> Self {
        Pool {
            lists: Arc::default(),
            guard,
            shares_memory,
        }
    }

    /// A buffer of `bytes`, recycled where one of its size class is free; contents are undefined.
    pub(super) fn take(&self, device: &wgpu::Device, bytes: u64) -> Result<Fresh> {
        let bound = bytes + if self.guard { GUARD_BYTES } else { 0 };
        let limit = device.limits().max_buffer_size;
        if bound > limit {
            return Err(Error::Memory(format!(
                "a buffer of {} MiB was asked for and this device allows {} MiB: lower the batch or image size",
                bound >> 20,
                limit >> 20
            )));
        }
        let row = (IMAGE_WIDTH * 16) as u64;
        let mut class = size_class(bound).min(limit);
        let image = self.shares_memory && class >= IMAGE_LEAST;
        if image {
            class = shared::odd_side(class.div_ceil(row) as usize) as u64 * row;
        }
        let mut lists = self.lists.lock().expect("no panic holds the pool");
        let recycled = lists.free.get_mut(&class).and_then(Vec::pop);
        if recycled.is_some() {
            lists.stats.free_bytes -= class;
        }
        let new = recycled.is_none();
        lists.made += u64::from(new);
        let id = lists.made;
        let raw = match recycled {
            Some(raw) => raw,
            None if image => {
                let size = [IMAGE_WIDTH, (class / row) as usize];
                let shared = shared::create(device, "tensor", size, false)?;
                Raw {
                    id,
                    buffer: shared.buffer,
                    image: (shared.pitch == IMAGE_WIDTH).then_some(shared.view),
                    host: Some(shared.host),
                }
            }
            None => Raw {
                id,
                buffer: device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("tensor"),
                    size: class,
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_SRC
                        | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                }),
                image: None,
                host: None,
            },
        };
        if self.guard {
            lists.guarded.push((raw.buffer.clone(), bytes));
        }
        lists.stats.live += 1;
        lists.stats.live_bytes += class;
        lists.stats.peak_bytes = lists.stats.peak_bytes.max(lists.stats.live_bytes);
        let buffer = Buffer {
            id: raw.id,
            raw: raw.buffer,
            image: raw.image,
            host: raw.host,
            class,
            bytes,
            bound,
            guarded: self.guard,
            sound: true,
            pool: Arc::downgrade(&self.lists),
        };
        Ok(Fresh {
            buffer,
            // A guarded one is filled with its guard's pattern before anything else.
            new: new && !self.guard,
        })
    }

    /// Whether `buffer` is of this pool.
    pub(super) fn owns(&self, buffer: &Buffer) -> bool {
        std::ptr::eq(buffer.pool.as_ptr(), Arc::as_ptr(&self.lists))
    }

    /// Whether what was counted is.
    pub(super) fn counts(&self, counted: &Counted) -> bool {
        std::ptr::eq(counted.pool.as_ptr(), Arc::as_ptr(&self.lists))
    }

    /// Counts `bytes` as in use.
    pub(super) fn count(&self, bytes: u64) -> Counted {
        let mut lists = self.lists.lock().expect("no panic holds the pool");
        lists.stats.live_bytes += bytes;
        lists.stats.peak_bytes = lists.stats.peak_bytes.max(lists.stats.live_bytes);
        Counted {
            bytes,
            pool: Arc::downgrade(&self.lists),
        }
    }

    /// Lets go of the buffers kept for reuse.
    pub(super) fn trim(&self) {
        let mut lists = self.lists.lock().expect("no panic holds the pool");
        lists.free.clear();
        lists.unchecked.clear();
        lists.stats.free_bytes = 0;
    }

    pub(super) fn stats(&self) -> PoolStats {
        self.lists.lock().expect("no panic holds the pool").stats
    }

    /// Every buffer handed out since the last call with the offset of its guard. Those that were given back meanwhile are
    /// free from here on.
    pub(super) fn drain_guarded(&self) -> Vec<(wgpu::Buffer, u64)> {
        let mut lists = self.lists.lock().expect("no panic holds the pool");
        let lists = &mut *lists;
        for (class, raw) in lists.unchecked.drain(..) {
            lists.free.entry(class).or_default().push(raw);
        }
        std::mem::take(&mut lists.guarded)
    }
}

impl Fresh {
    /// Bytes that a kernel will see.
    pub(super) fn bound(&self) -> u64 {
        self.buffer.bound
    }

    /// Lets go of memory that turned out not to be there, so that nobody is given it later.
    pub(super) fn forget(mut self) {
        self.buffer.sound = false;
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.buffer.raw
    }

    /// The memory of a buffer that nobody had before, where the host sees it.
    #[allow(unsafe_code)]
    pub(crate) fn memory(&mut self) -> Option<&mut [f32]> {
        let host = self.buffer.host.filter(|_| self.new)?;
        // SAFETY: the memory has at least `bytes`, is aligned as a driver's mapping is, and lives as long as the buffer.
        // No work that the device was given knows it: it is new, and nothing but this can be done with it yet.
        Some(unsafe {
            std::slice::from_raw_parts_mut(host.0.as_ptr().cast(), self.buffer.bytes as usize / 4)
        })
    }
}

impl From<Fresh> for Buffer {
    fn from(fresh: Fresh) -> Self {
        fresh.buffer
    }
}

impl Buffer {
    /// Whether kernels can bind it for [`super::Access::ReadTexture`].
    pub(crate) fn is_image(&self) -> bool {
        self.image.is_some()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(lists) = self.pool.upgrade() else {
            return;
        };
        let Ok(mut lists) = lists.lock() else { return };
        let class = self.class;
        lists.stats.live -= 1;
        lists.stats.live_bytes -= class;
        if !self.sound {
            return;
        }
        lists.stats.free_bytes += class;
        let raw = Raw {
            id: self.id,
            buffer: self.raw.clone(),
            image: self.image.clone(),
            host: self.host,
        };
        match self.guarded {
            true => lists.unchecked.push((class, raw)),
            false => lists.free.entry(class).or_default().push(raw),
        }
    }
}

/// Rounds up so that few sizes exist, eight from one power of two to the next: at most an eighth is wasted.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.next_power_of_two() / 16).max(256);
    bytes.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_hold_what_they_round_and_waste_at_most_an_eighth() {
        for bytes in [
            1,
            4,
            255,
            256,
            257,
            4096,
            4097,
            1_000_003,
            1_048_577,
            411_041_792,
        ] {
            let class = size_class(bytes);
            assert!(
                class >= bytes && class.is_multiple_of(4),
                "{bytes} -> {class}"
            );
            assert!(class <= bytes + (bytes / 8).max(256), "{bytes} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }
}
