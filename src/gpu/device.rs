//! A device that was opened: its limits, its memory, its kernels, and what went wrong on it.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use super::counts::{Counters, Counts, one};
use super::failure::{Failures, unopened};
use super::pipeline::{Compiled, Slot};
use super::pool::PoolStats;
use super::profile::Profile;
use super::select::DeviceInfo;
use super::tile::Tile;
use super::{batch, pool, select, shared, texture};
use crate::error::{Error, Remedy, Result};

/// The most bytes that one binding may have on any device.
const MAX_BINDING: u64 = 1 << 31;

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// An index or part of a name; `None` takes the preferred one.
    pub device: Option<String>,
    /// A smaller limit on one binding's bytes than the adapter's own, to test sharding.
    pub max_binding: Option<u64>,
    /// A smaller limit on a grid's workgroups along a dimension than the adapter's own, to test folding.
    pub max_groups: Option<u32>,
    /// Puts guard words behind every buffer; see [`Gpu::check_guards`].
    pub guard: bool,
    /// Has shaders check every index, which production kernels leave to the tests.
    pub checked: bool,
    /// Asks for half precision and cooperative matrices, where the adapter has them.
    pub half: bool,
    /// Insists on time stamps, which say how long each kernel takes. A GPU is opened with those that it has in any case.
    pub stamps: bool,
    /// Has the host go on while the device works where shaders run on the CPU too, as it does beside a GPU: for tests, since
    /// both want the same cores.
    pub overlap: bool,
}

/// A handle to an open device; clones share it.
#[derive(Clone)]
pub struct Gpu(pub(super) Arc<Inner>);

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.0.info.name).finish()
    }
}

pub(super) struct Inner {
    pub(super) info: DeviceInfo,
    pub(super) limits: wgpu::Limits,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) checked: bool,
    /// Whether the host goes on while the device works.
    overlap: bool,
    /// Side of the cooperative matrices, where they are asked for and there.
    pub(super) matrix: Option<usize>,
    /// Whether memory can be an image and a buffer at once.
    pub(super) shares_memory: bool,
    pub(super) pool: pool::Pool,
    pub(super) planes: Arc<texture::Free>,
    pub(super) uniforms: wgpu::Buffer,
    pub(super) staging: wgpu::Buffer,
    pub(super) pipelines: Mutex<HashMap<String, Slot>>,
    pub(super) compiled: Mutex<Compiled>,
    pub(super) batch: Mutex<batch::Batch>,
    pub(super) failures: Arc<Failures>,
    pub(super) profile: Option<Profile>,
    pub(super) counters: Counters,
}

impl Gpu {
    /// Opens the preferred device, or the one that `GOLDFISH_DEVICE` names.
    ///
    /// # Errors
    /// [`Error::Device`] where there is none, it is unknown, or it refuses to open.
    pub fn new() -> Result<Self> {
        Self::open(&GpuOptions {
            device: std::env::var("GOLDFISH_DEVICE").ok(),
            ..GpuOptions::default()
        })
    }

    /// Opens a device with the adapter's own limits and the features that the engine uses.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn open(options: &GpuOptions) -> Result<Self> {
        let (index, adapter) = select::select(options.device.as_deref())?;
        let info = select::describe(index, &adapter);
        let mut limits = adapter.limits();
        // Shaders index in i32.
        limits.max_storage_buffer_binding_size =
            limits.max_storage_buffer_binding_size.min(MAX_BINDING);
        if let Some(bytes) = options.max_binding {
            let most = limits.max_storage_buffer_binding_size;
            let least = 2 * pool::GUARD_BYTES;
            if !(least..=most).contains(&bytes) {
                return Err(Error::Usage(format!(
                    "{}: a binding can have from {least} to {most} bytes, and {bytes} were asked for",
                    info.name
                )));
            }
            limits.max_storage_buffer_binding_size = bytes;
        }
        if let Some(groups) = options.max_groups {
            let most = limits.max_compute_workgroups_per_dimension;
            if !(1..=most).contains(&groups) {
                return Err(Error::Usage(format!(
                    "{}: a grid can have from 1 to {most} workgroups along a dimension, and {groups} were asked for",
                    info.name
                )));
            }
            limits.max_compute_workgroups_per_dimension = groups;
        }
        if options.stamps && !adapter.features().contains(Profile::NEEDS) {
            let unable = Error::device(format!("{}: it has no time stamps", info.name));
            return Err(unable.with(Remedy::OtherDevice));
        }
        // Where shaders run on the CPU the clock says as much.
        let stamps = adapter.features().contains(Profile::NEEDS);
        let stamps = options.stamps || stamps && info.kind != "software";
        let request = |experimental: bool| {
            let mut features = adapter.features() & select::WANTED;
            if stamps {
                features |= Profile::NEEDS;
            }
            let mut accepted = wgpu::ExperimentalFeatures::disabled();
            if experimental {
                features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
                // SAFETY: asks to accept that wgpu's support may have bugs. It is used for half precision alone, in one
                // kernel, whose results are held against f32 before it is.
                #[allow(unsafe_code)]
                unsafe {
                    accepted = wgpu::ExperimentalFeatures::enabled();
                }
            }
            pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
                label: Some("goldfish"),
                required_features: features,
                required_limits: limits.clone(),
                experimental_features: accepted,
                ..Default::default()
            }))
        };
        let mut matrix = select::matrix(&adapter).filter(|_| options.half);
        let mut opened = request(matrix.is_some());
        if let (Some(_), Err(error)) = (matrix, &opened) {
            tracing::warn!("cooperative matrices are not used: {error}");
            matrix = None;
            opened = request(false);
        }
        let (device, queue) = opened.map_err(|e| unopened(&info.name, &e.to_string()))?;
        let failures = Failures::of(&device, &info.name);
        let shares_memory = shared::suits(&adapter.get_info());
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (batch::BATCH * batch::UNIFORM_STRIDE) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: batch::STAGED as u64,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Gpu(Arc::new(Inner {
            limits,
            profile: stamps.then(|| Profile::new(&device)),
            device,
            queue,
            checked: options.checked,
            overlap: options.overlap || info.kind != "software",
            info,
            matrix,
            shares_memory,
            pool: pool::Pool::new(options.guard, shares_memory),
            planes: Arc::default(),
            uniforms,
            staging,
            pipelines: Mutex::default(),
            compiled: Mutex::default(),
            batch: Mutex::default(),
            failures,
            counters: Counters::default(),
        })))
    }

    /// The adapter behind this device.
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// Whether shaders run on the CPU (lavapipe, SwiftShader, WARP).
    pub fn is_software(&self) -> bool {
        self.0.info.kind == "software"
    }

    /// Pieces of work, steps or batches, that the host may be ahead of what it has read back: a device that is handed the next
    /// one in time does not stand still. None where shaders run on the CPU, which has nothing to do beside them.
    pub(crate) fn most_pending(&self) -> usize {
        match self.0.overlap {
            true => 2,
            false => 0,
        }
    }

    /// Bytes that one tensor part may have.
    pub fn max_binding(&self) -> u64 {
        let guard = if self.0.pool.guard {
            pool::GUARD_BYTES
        } else {
            0
        };
        self.0.limits.max_storage_buffer_binding_size - guard
    }

    /// The tiles on this device's cooperative matrices, where [`GpuOptions::half`] asked for them and there are some.
    pub(crate) fn matrix_tiles(&self) -> Vec<Tile> {
        let side = self.0.matrix.into_iter();
        side.flat_map(|side| Tile::matrices(side, self.0.info.subgroup[0] as usize))
            .filter(|tile| tile.fits(&self.0.limits))
            .collect()
    }

    /// The tile of 64 x 64 where nothing was measured: a sum is formed alike on every device.
    pub(crate) fn middle_tile(&self) -> Tile {
        match self.is_software() {
            true => Tile::MIDDLE,
            false => Tile::BUSY,
        }
    }

    /// Whether both are handles to one open device.
    pub(crate) fn is(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Counts of the buffers of this device.
    pub fn pool_stats(&self) -> PoolStats {
        PoolStats {
            idle_bytes: self.0.planes.bytes(),
            ..self.0.pool.stats()
        }
    }

    /// How often the device was called since it was opened, by all of its handles.
    pub fn counts(&self) -> Counts {
        self.0.counters.now()
    }

    /// The kernels that were compiled so far.
    pub fn compiled(&self) -> Compiled {
        *self.0.compiled.lock().expect("no panic holds the count")
    }

    /// Gives buffers that are kept for reuse back to the driver.
    pub fn trim(&self) {
        self.0.pool.trim();
        self.0.planes.trim();
        let pipelines = self
            .0
            .pipelines
            .lock()
            .expect("no panic holds the pipelines");
        for slot in pipelines.values() {
            // One that is being compiled has nothing bound yet.
            if let Ok(Some(pipeline)) = slot.try_lock().as_deref() {
                pipeline.forget();
            }
        }
    }

    pub(crate) fn limits(&self) -> &wgpu::Limits {
        &self.0.limits
    }

    /// Waits until the device has finished everything.
    ///
    /// # Errors
    /// What the device reported since the last call.
    pub fn wait(&self) -> Result<()> {
        self.submit()?;
        self.poll(wgpu::PollType::wait_indefinitely())
    }

    pub(super) fn poll(&self, how: wgpu::PollType) -> Result<()> {
        self.failure()?;
        one(&self.0.counters.waits);
        // wgpu panics where the device turns out to be lost while it waits.
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.device.poll(how)));
        if polled.is_err() {
            self.0.failures.lose("while it was waited for");
        }
        self.failure()?;
        match polled {
            Ok(Err(e)) => Err(Error::device(format!(
                "{}: the device stopped answering: {e}",
                self.0.info.name
            ))),
            _ => Ok(()),
        }
    }

    /// Makes `error` the error of the next call, unless one waits there already: for threads that nobody listens to.
    pub(crate) fn report(&self, error: Error) {
        self.0.failures.report(error);
    }

    /// The first thing that went wrong on the device, once; that it is lost, always.
    pub(super) fn failure(&self) -> Result<()> {
        self.0.failures.check()
    }
}
