//! Compiling kernels for a device. Several threads compile at once, each another kernel.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use wgpu::{BindGroupLayoutEntry, BindingType, ShaderStages};

use super::device::Gpu;
use super::kernel::{Access, Kernel};
use super::pipeline::Pipeline;
use crate::error::{Error, Result};

impl Gpu {
    /// Has a GPU's driver compile `kernels` on all cores, which takes longer than anything that it does with them. What
    /// does not compile is an error where it runs.
    pub(crate) fn prepare(&self, kernels: &[&'static Kernel]) {
        if self.is_software() {
            return;
        }
        let mut kernels = kernels.to_vec();
        kernels.sort_by_key(|kernel| &kernel.name);
        kernels.dedup_by_key(|kernel| &kernel.name);
        kernels.par_iter().for_each(|kernel| {
            if let Err(error) = self.ahead(kernel) {
                tracing::debug!("{}: {error}", kernel.name);
            }
        });
    }

    /// The pipeline of `kernel`, and whether it was made just now.
    pub(super) fn pipeline(&self, kernel: &Kernel) -> Result<(Arc<Pipeline>, bool)> {
        let mut pipelines = self
            .0
            .pipelines
            .lock()
            .expect("no panic holds the pipelines");
        let key = kernel.key();
        let slot = match pipelines.get(&*key) {
            Some(slot) => slot.clone(),
            None => pipelines.entry(key.into_owned()).or_default().clone(),
        };
        drop(pipelines);
        let mut place = slot.lock().expect("no panic holds a pipeline");
        if let Some(found) = &*place {
            return Ok((found.clone(), false));
        }
        let made = Arc::new(self.build(kernel)?);
        *place = Some(made.clone());
        Ok((made, true))
    }

    fn build(&self, kernel: &Kernel) -> Result<Pipeline> {
        let device = &self.0.device;
        let wgsl = kernel.wgsl()?;
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let mut entries = vec![BindGroupLayoutEntry {
            binding: 0,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: true,
                min_binding_size: NonZeroU64::new(kernel.params as u64),
            },
            count: None,
        }];
        for (index, access) in kernel.bindings.iter().enumerate() {
            entries.push(BindGroupLayoutEntry {
                binding: index as u32 + 1,
                visibility: ShaderStages::COMPUTE,
                ty: match access {
                    Access::Read | Access::Write => BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage {
                            read_only: *access == Access::Read,
                        },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    Access::ReadTexture => BindingType::StorageTexture {
                        access: wgpu::StorageTextureAccess::ReadOnly,
                        format: wgpu::TextureFormat::Rgba32Float,
                        view_dimension: wgpu::TextureViewDimension::D2,
                    },
                },
                count: None,
            });
        }
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&kernel.name),
            entries: &entries,
        });
        let source = wgpu::ShaderModuleDescriptor {
            label: Some(&kernel.name),
            source: wgpu::ShaderSource::Wgsl(wgsl.text().into()),
        };
        let module = if self.0.checked || kernel.checked {
            device.create_shader_module(source)
        } else {
            // SAFETY: the shaders are this crate's own. Every op checks its shapes before it dispatches,
            // every loop ends, and the tests run each kernel with checks on and guard words behind every
            // buffer. Without the checks the convolutions are 1.5 times as fast on lavapipe.
            #[allow(unsafe_code)]
            unsafe {
                device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
            }
        };
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&kernel.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                // Every kernel of this crate writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: kernel.checked,
            },
            cache: None,
        });
        let errors = [internal.pop(), validation.pop()].map(pollster::block_on);
        match errors.into_iter().flatten().next() {
            None => Ok(Pipeline {
                pipeline,
                layout,
                groups: Mutex::default(),
            }),
            Some(error) => Err(Error::Kernel {
                kernel: kernel.name.to_string(),
                message: wgsl.explain(&error.to_string()),
            }),
        }
    }
}
