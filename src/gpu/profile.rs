//! How long each kernel takes on the device itself: a time stamp before and after each dispatch, read with its batch.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::{BATCH, Stamped};
use crate::error::{Error, Result};

/// What a kernel took with one number of workgroups.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct KernelTime {
    /// Its name.
    pub kernel: String,
    /// Workgroups of a run.
    pub groups: usize,
    /// How often it ran.
    pub runs: f64,
    /// Seconds of all runs together.
    pub seconds: f64,
}

/// The stamps of a device that was opened for them.
pub(super) struct Profile {
    on: AtomicBool,
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read: wgpu::Buffer,
    /// Runs and seconds by kernel and workgroups.
    times: Mutex<BTreeMap<Stamped, (usize, f64)>>,
}

/// Bytes of the stamps of a batch.
const BYTES: u64 = BATCH as u64 * 16;

impl Profile {
    /// What a device must have.
    pub(super) const NEEDS: wgpu::Features =
        wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);

    pub(super) fn new(device: &wgpu::Device) -> Self {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("stamps"),
                size: BYTES,
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        Profile {
            on: AtomicBool::new(false),
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("stamps"),
                ty: wgpu::QueryType::Timestamp,
                count: BATCH as u32 * 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            read: buffer(wgpu::BufferUsages::MAP_READ),
            times: Mutex::default(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Stamps the `index`th moment of a batch.
    pub(super) fn stamp(&self, pass: &mut wgpu::ComputePass, index: usize) {
        pass.write_timestamp(&self.set, index as u32);
    }

    /// Has a batch end with the copy of its stamps.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder, dispatches: usize) {
        let stamps = dispatches as u32 * 2;
        encoder.resolve_query_set(&self.set, 0..stamps, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, u64::from(stamps) * 8);
    }

    /// Waits for a batch that was submitted, and adds its times up; a stamp counts by `period` seconds.
    pub(super) fn collect(
        &self,
        device: &wgpu::Device,
        period: f64,
        stamped: Vec<Stamped>,
    ) -> Result<()> {
        let failed =
            |e: &dyn std::error::Error| Error::device(format!("reading time stamps failed: {e}"));
        self.read.map_async(wgpu::MapMode::Read, .., |_| {});
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| failed(&e))?;
        let view = self.read.get_mapped_range(..).map_err(|e| failed(&e))?;
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.read.unmap();
        let mut times = self.times.lock().expect("no panic holds the times");
        for (dispatch, moments) in stamped.into_iter().zip(stamps.chunks_exact(2)) {
            let (runs, seconds) = times.entry(dispatch).or_default();
            *runs += 1;
            *seconds += moments[1].saturating_sub(moments[0]) as f64 * period;
        }
        Ok(())
    }

    pub(super) fn start(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// What every kernel took since [`Profile::start`], the longest first.
    pub(super) fn end(&self) -> Vec<KernelTime> {
        self.on.store(false, Ordering::Relaxed);
        let times = std::mem::take(&mut *self.times.lock().expect("no panic holds the times"));
        let times = times.into_iter();
        let mut times: Vec<KernelTime> = times
            .map(|((kernel, groups), (runs, seconds))| KernelTime {
                kernel,
                groups,
                runs: runs as f64,
                seconds,
            })
            .collect();
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        times
    }
}
