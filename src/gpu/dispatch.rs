//! Dispatching kernels: their pipelines, what is bound to them, and the work that is recorded.
//!
//! A kernel's `Params` are a slice of one ring buffer, selected by a dynamic offset. Workgroups are counted in one number
//! and folded into two dimensions, so no kernel meets the limit of 65,535 along one of them: a shader takes
//! `workgroup_id.x + workgroup_id.y * num_workgroups.x` and returns where that is too large.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use bytemuck::Pod;
use wgpu::{BindGroupEntry, BindingResource};

use super::batch::UNIFORM_STRIDE;
use super::device::Gpu;
use super::kernel::{Access, Kernel};
use super::pipeline::Pipeline;
use super::pool::{Buffer, Pool};
use super::texture::Texture;
use crate::error::{Error, Result};

/// What is bound: in the order of [`Kernel::bindings`]. A texture is read as an image and written as a buffer.
#[derive(Clone, Copy)]
pub(crate) enum Binding<'a> {
    Buffer(&'a Buffer),
    Texture(&'a Texture),
}

impl Binding<'_> {
    /// What stands for a buffer that the pool recycles, which alone are bound again.
    fn recycled(&self) -> Option<[u64; 2]> {
        match self {
            Binding::Buffer(buffer) => Some([buffer.id, buffer.bound]),
            Binding::Texture(_) => None,
        }
    }

    /// Whether its memory is of this pool's device.
    fn is_of(&self, pool: &Pool) -> bool {
        match self {
            Binding::Buffer(buffer) => pool.owns(buffer),
            Binding::Texture(texture) => pool.counts(&texture.counted),
        }
    }

    /// Bytes of a buffer binding.
    fn bytes(&self) -> u64 {
        match self {
            Binding::Buffer(buffer) => buffer.bound,
            Binding::Texture(texture) => texture.shared.buffer.size(),
        }
    }
}

impl<'a> From<&'a Buffer> for Binding<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        Binding::Buffer(buffer)
    }
}

impl<'a> From<&'a Texture> for Binding<'a> {
    fn from(texture: &'a Texture) -> Self {
        Binding::Texture(texture)
    }
}

/// Bind groups that a pipeline keeps.
const GROUPS: usize = 64;

impl Gpu {
    /// Records `groups` workgroups of `kernel`, folded into two dimensions; the work starts at the next
    /// submission.
    pub(crate) fn run<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        bindings: &[&Buffer],
        groups: usize,
    ) -> Result<()> {
        let limit = self.limits().max_compute_workgroups_per_dimension;
        let [x, y] = fold(groups, limit).ok_or_else(|| too_many(kernel, [groups, 1, 1], limit))?;
        let bindings: Vec<Binding> = bindings.iter().map(|&b| b.into()).collect();
        self.run_grid(kernel, params, &bindings, [x as usize, y as usize, 1])
    }

    /// Records `columns` x `rows` workgroups of a kernel that takes `workgroup_id.x + workgroup_id.z * num_workgroups.x` as
    /// its column and passes over those that are too large: columns are folded where they are more than a dimension has.
    pub(crate) fn run_wide<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        bindings: &[Binding],
        [columns, rows]: [usize; 2],
    ) -> Result<()> {
        let limit = self.limits().max_compute_workgroups_per_dimension;
        let [x, z] =
            fold(columns, limit).ok_or_else(|| too_many(kernel, [columns, rows, 1], limit))?;
        self.run_grid(kernel, params, bindings, [x as usize, rows, z as usize])
    }

    /// Records a grid of workgroups as it is, for a kernel whose dimensions are those of its tensors' sides.
    pub(crate) fn run_grid<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        bindings: &[Binding],
        grid: [usize; 3],
    ) -> Result<()> {
        assert_eq!(size_of::<P>(), kernel.params, "{}: Params", kernel.name);
        self.dispatch(kernel, bytemuck::bytes_of(params), bindings, grid)
    }

    /// Has the driver compile `kernel` now, as [`Gpu::compute`] will run it.
    ///
    /// # Errors
    /// [`Error::Kernel`] where the shader is wrong, with the line of the file; what the device reported.
    pub fn warm(&self, kernel: &Kernel) -> Result<()> {
        self.ahead(&kernel.checked())
    }

    /// Has the driver compile `kernel` now, on a thread that has nothing else to do.
    pub(super) fn ahead(&self, kernel: &Kernel) -> Result<()> {
        if !self.has_textures() {
            let start = Instant::now();
            if self.pipeline(kernel)?.1 {
                self.count(start);
            }
            return Ok(());
        }
        // Textures are buffers too where they exist.
        let textures = kernel
            .bindings
            .iter()
            .map(|_| self.texture("warm", [1, 1]))
            .collect::<Result<Vec<_>>>()?;
        let bindings: Vec<Binding> = textures.iter().map(Binding::from).collect();
        self.bind(kernel, &bindings).map(drop)
    }

    /// Dispatches nothing, which software drivers take as the moment to compile for what is bound.
    fn compile(&self, pipeline: &Pipeline, bind_group: &wgpu::BindGroup) {
        // Not the open batch, which other threads may wait for meanwhile.
        let mut encoder = self.0.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, bind_group, &[0]);
        pass.dispatch_workgroups(0, 0, 0);
        drop(pass);
        self.0.queue.submit([encoder.finish()]);
    }

    fn dispatch(
        &self,
        kernel: &Kernel,
        params: &[u8],
        bindings: &[Binding],
        grid: [usize; 3],
    ) -> Result<()> {
        let limit = self.limits().max_compute_workgroups_per_dimension;
        if grid.iter().any(|&side| side > limit as usize) {
            return Err(too_many(kernel, grid, limit));
        }
        let (pipeline, bind_group) = self.bind(kernel, bindings)?;
        let groups = grid.iter().product();
        self.record((kernel, groups), params, |pass, offset| {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &bind_group, &[offset]);
            let [x, y, z] = grid.map(|side| side as u32);
            pass.dispatch_workgroups(x, y, z);
        })
    }

    /// The pipeline of `kernel`, and what it works on.
    fn bind(
        &self,
        kernel: &Kernel,
        bindings: &[Binding],
    ) -> Result<(Arc<Pipeline>, wgpu::BindGroup)> {
        assert_eq!(
            bindings.len(),
            kernel.bindings.len(),
            "{}: bindings",
            kernel.name
        );
        // A tensor of another device would be bound as memory of this one.
        if !bindings.iter().all(|binding| binding.is_of(&self.0.pool)) {
            return Err(foreign(&kernel.name));
        }
        let start = Instant::now();
        let (pipeline, fresh) = self.pipeline(kernel)?;
        let key: Option<Vec<[u64; 2]>> = bindings.iter().map(Binding::recycled).collect();
        let mut groups = pipeline.groups.lock().expect("no panic holds the groups");
        if let Some(group) = key.as_ref().and_then(|key| groups.get(key)) {
            let group = group.clone();
            drop(groups);
            return Ok((pipeline, group));
        }
        let most = self.limits().max_storage_buffer_binding_size;
        let mut entries = vec![BindGroupEntry {
            binding: 0,
            resource: BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.0.uniforms,
                offset: 0,
                size: NonZeroU64::new(kernel.params as u64),
            }),
        }];
        for (index, binding) in bindings.iter().enumerate() {
            let resource = match binding {
                Binding::Texture(texture) if kernel.bindings[index] == Access::ReadTexture => {
                    BindingResource::TextureView(&texture.shared.view)
                }
                Binding::Buffer(Buffer {
                    image: Some(view), ..
                }) if kernel.bindings[index] == Access::ReadTexture => {
                    BindingResource::TextureView(view)
                }
                binding if binding.bytes() > most => {
                    return Err(Error::Memory(format!(
                        "{}: a tensor of {} MiB does not fit this device's bindings of {} MiB: lower the batch or image size",
                        kernel.name,
                        binding.bytes() >> 20,
                        most >> 20
                    )));
                }
                Binding::Texture(texture) => texture.shared.buffer.as_entire_binding(),
                Binding::Buffer(buffer) => BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer.raw,
                    offset: 0,
                    size: NonZeroU64::new(buffer.bound),
                }),
            };
            entries.push(BindGroupEntry {
                binding: index as u32 + 1,
                resource,
            });
        }
        let bind_group = self.0.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.name),
            layout: &pipeline.layout,
            entries: &entries,
        });
        if let Some(key) = key {
            if groups.len() == GROUPS {
                groups.clear();
            }
            groups.insert(key, bind_group.clone());
        }
        drop(groups);
        if fresh {
            if self.is_software() {
                self.compile(&pipeline, &bind_group);
            }
            self.count(start);
        }
        Ok((pipeline, bind_group))
    }

    /// Counts a kernel that was compiled since `start`.
    fn count(&self, start: Instant) {
        let mut compiled = self.0.compiled.lock().expect("no panic holds the count");
        compiled.kernels += 1;
        compiled.seconds += start.elapsed().as_secs_f64();
    }
}

fn too_many(kernel: &Kernel, [x, y, z]: [usize; 3], limit: u32) -> Error {
    Error::Memory(format!(
        "{}: a grid of {x} x {y} x {z} workgroups is more than this device dispatches ({limit} along a dimension): lower \
         the batch or image size",
        kernel.name
    ))
}

/// What `doing` met a tensor of another device.
pub(super) fn foreign(doing: &str) -> Error {
    Error::Usage(format!(
        "{doing}: its tensors are on different devices: copy one with Tensor::to_vec and Tensor::from_slice"
    ))
}

/// `groups` workgroups as two dimensions, each within `limit`, with fewer than one row left over.
fn fold(groups: usize, limit: u32) -> Option<[u32; 2]> {
    let limit = limit as usize;
    let rows = groups.div_ceil(limit).max(1);
    let columns = groups.div_ceil(rows);
    (rows <= limit).then_some([columns as u32, rows as u32])
}

const _: () = assert!(UNIFORM_STRIDE.is_multiple_of(256));

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folding_covers_every_workgroup_within_the_limit() {
        for groups in [1, 2, 65_535, 65_536, 65_537, 200_000, 4_000_000] {
            let [x, y] = fold(groups, 65_535).expect("fits");
            assert!(x <= 65_535 && y <= 65_535);
            assert!(x as usize * y as usize >= groups);
            assert!((x as usize * y as usize) < groups + y as usize);
        }
        assert_eq!(fold(65_536 * 65_535, 65_535), None);
    }
}
