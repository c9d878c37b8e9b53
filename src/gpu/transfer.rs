//! Host to device and back: uploads in chunks, readbacks that wait only when asked.

use std::num::NonZeroU64;
use std::sync::mpsc;

use rayon::prelude::*;
use wgpu::WriteOnly;

use super::counts::{more, one};
use super::device::Gpu;
use super::pool::{Buffer, GUARD, GUARD_BYTES};
use crate::error::{Error, Result};

/// Bytes staged by one upload before the queue is told to take them.
pub(crate) const CHUNK: usize = 32 << 20;

/// Bytes that one core copies at a time.
const PIECE: usize = 512 << 10;

/// A copy of device data that is on its way to the host.
#[derive(Debug)]
pub struct Readback {
    gpu: Gpu,
    staging: wgpu::Buffer,
    bytes: usize,
    /// The work that copies the data: what comes after it need not be waited for.
    submission: Option<wgpu::SubmissionIndex>,
    mapped: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// A moment in the work that a device was handed.
#[derive(Debug)]
pub(crate) struct Mark {
    gpu: Gpu,
    submission: wgpu::SubmissionIndex,
}

impl Mark {
    /// Waits until the device has done what it had been handed then; not for what came after.
    pub(crate) fn wait(self) -> Result<()> {
        self.gpu.poll(wgpu::PollType::Wait {
            submission_index: Some(self.submission),
            timeout: None,
        })
    }
}

impl Gpu {
    /// Hands everything over that was recorded or written so far, and marks its end.
    pub(crate) fn mark(&self) -> Result<Mark> {
        let flushed = self.flush(&mut self.0.batch.lock().expect("no panic holds the batch"));
        let submission = flushed.unwrap_or_else(|| {
            one(&self.0.counters.submits);
            self.0.queue.submit([])
        });
        self.failure()?;
        Ok(Mark {
            gpu: self.clone(),
            submission,
        })
    }

    /// Writes `data` at byte `offset`, after everything recorded so far.
    pub(crate) fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<()> {
        more(&self.0.counters.sent, data.len() as u64);
        if self.record_upload(&buffer.raw, offset, data) {
            return self.failure();
        }
        // `write_buffer` runs before dispatches that are recorded and not submitted, and the
        // buffer may be a recycled one that they still read.
        self.submit()?;
        for (index, chunk) in data.chunks(CHUNK).enumerate() {
            self.stage(buffer, offset + (index * CHUNK) as u64, chunk);
            if chunk.len() == CHUNK {
                self.0.queue.submit([]);
                one(&self.0.counters.submits);
                self.poll(wgpu::PollType::wait_indefinitely())?;
            }
        }
        self.failure()
    }

    /// Has the queue take `data`. One core fills memory that a GPU sees at some 5 GB/s: all of them share the work.
    fn stage(&self, buffer: &Buffer, offset: u64, data: &[u8]) {
        let queue = &self.0.queue;
        let view = NonZeroU64::new(data.len() as u64)
            .filter(|bytes| bytes.get() >= 2 * PIECE as u64)
            .and_then(|bytes| queue.write_buffer_with(&buffer.raw, offset, bytes));
        let Some(mut view) = view else {
            return queue.write_buffer(&buffer.raw, offset, data);
        };
        let (pieces, mut rest) = view.slice(..).into_chunks::<PIECE>();
        let (whole, tail) = data.as_chunks::<PIECE>();
        let pieces: Vec<_> = pieces.into_iter().zip(whole).collect();
        pieces.into_par_iter().for_each(|(to, from)| {
            WriteOnly::<[u8]>::from(to).copy_from_slice(from);
        });
        rest.copy_from_slice(tail);
    }

    /// Starts copying a buffer to the host; nothing waits until [`Readback::wait`].
    pub(crate) fn read(&self, buffer: &Buffer) -> Result<Readback> {
        self.read_together(&[buffer])
    }

    /// The same of several, one after the other, in one submission.
    pub(crate) fn read_together(&self, buffers: &[&Buffer]) -> Result<Readback> {
        let whole = buffers.iter().map(|b| (&b.raw, 0, b.bytes));
        self.read_ranges(&whole.collect::<Vec<_>>())
    }

    /// Ranges of buffers: offset and bytes.
    fn read_ranges(&self, ranges: &[(&wgpu::Buffer, u64, u64)]) -> Result<Readback> {
        let bytes = ranges.iter().map(|(_, _, bytes)| bytes).sum();
        more(&self.0.counters.read, bytes);
        let staging = self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        self.record_copy(|encoder| {
            let mut to = 0;
            for &(buffer, offset, bytes) in ranges {
                encoder.copy_buffer_to_buffer(buffer, offset, &staging, to, bytes);
                to += bytes;
            }
        });
        let submission = self.flush(&mut self.0.batch.lock().expect("no panic holds the batch"));
        self.failure()?;
        let (sender, mapped) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only when nobody wants the data any more.
            let _ = sender.send(result);
        });
        Ok(Readback {
            gpu: self.clone(),
            staging,
            bytes: bytes as usize,
            submission,
            mapped,
        })
    }

    /// Checks the guard words behind every buffer made since the last call (see `GpuOptions::guard`).
    ///
    /// # Errors
    /// [`Error::Kernel`] naming `kernel` where one was overwritten.
    pub fn check_guards(&self, kernel: &str) -> Result<()> {
        for (buffer, offset) in self.0.pool.drain_guarded() {
            let words = self
                .read_ranges(&[(&buffer, offset, GUARD_BYTES)])?
                .wait_u32()?;
            if words.iter().any(|&word| word != GUARD) {
                return Err(Error::Kernel {
                    kernel: kernel.into(),
                    message: format!("wrote past the end of a buffer of {offset} bytes"),
                });
            }
        }
        Ok(())
    }
}

impl Readback {
    /// The data as `f32`, waiting for the device where it is not there yet.
    ///
    /// # Errors
    /// What the device reported.
    pub fn wait(self) -> Result<Vec<f32>> {
        self.wait_bytes(bytemuck::pod_collect_to_vec)
    }

    pub(crate) fn wait_u32(self) -> Result<Vec<u32>> {
        self.wait_bytes(bytemuck::pod_collect_to_vec)
    }

    fn wait_bytes<T>(self, take: impl FnOnce(&[u8]) -> Vec<T>) -> Result<Vec<T>> {
        if self.mapped.try_recv().is_err() {
            self.gpu.poll(wgpu::PollType::Wait {
                submission_index: self.submission.clone(),
                timeout: None,
            })?;
        }
        self.gpu.failure()?;
        let name = &self.gpu.0.info.name;
        let view = self.staging.get_mapped_range(..).map_err(|e| {
            Error::device(format!(
                "{name}: reading {} bytes back failed: {e}",
                self.bytes
            ))
        })?;
        Ok(take(&view))
    }
}

#[cfg(test)]
mod tests {
    use super::Gpu;
    use crate::error::Result;
    use crate::gpu::select::devices;

    /// wgpu panics where it finds the loss while it waits.
    #[test]
    fn no_call_to_a_lost_device_panics_or_succeeds() {
        if devices().is_empty() {
            // A unit test has no other way to say that it was skipped.
            return eprintln!("skipped: this machine has no device");
        }
        let gpu = Gpu::new().expect("a device opens");
        let buffer = gpu.alloc(16).expect("a buffer");
        gpu.write(&buffer, 0, &[1; 16]).expect("written");
        let reading = gpu.read(&buffer).expect("a readback");
        gpu.0.device.destroy();
        gpu.0.failures.lose("pulled out");
        let lost = |result: Result<()>| {
            let error = result.expect_err("there is no device");
            assert!(error.to_string().contains("lost (pulled out)"), "{error}");
        };
        lost(gpu.wait());
        lost(gpu.submit());
        lost(reading.wait().map(drop));
        lost(gpu.read(&buffer).and_then(|r| r.wait()).map(drop));
        lost(gpu.write(&buffer, 0, &[1; 16]));
        lost(gpu.alloc(1 << 22).map(drop));
    }
}
