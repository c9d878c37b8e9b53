//! A kernel compiled for a device, with what was bound to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A kernel on its device.
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    /// What was bound before, by the pool's buffers and their bytes: a training step binds the same again.
    pub(super) groups: Mutex<HashMap<Vec<[u64; 2]>, wgpu::BindGroup>>,
}

impl Pipeline {
    /// Lets go of the buffers that were bound.
    pub(super) fn forget(&self) {
        self.groups
            .lock()
            .expect("no panic holds the groups")
            .clear();
    }
}

/// Kernels that a device compiled, or found in its driver's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Compiled {
    /// How many.
    pub kernels: usize,
    /// Seconds that took, summed over the threads that waited for it.
    pub seconds: f64,
}

/// A kernel's place among a device's pipelines, held while it is compiled.
pub(super) type Slot = Arc<Mutex<Option<Arc<Pipeline>>>>;
