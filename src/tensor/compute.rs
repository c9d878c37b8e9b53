//! Kernels from outside this crate: what an op of your own dispatches. The crate's kernels go through `Gpu::run`, which
//! trusts them; nothing here is trusted, so that a wrong kernel gives wrong numbers or an error and touches no memory
//! but that of its tensors.

use std::sync::Arc;

use bytemuck::Pod;

use super::Tensor;
use crate::error::{Error, Result};
use crate::gpu::{Access, Gpu, Kernel};

/// The most bytes of a kernel's `Params`.
const MOST_PARAMS: usize = 256;

impl Gpu {
    /// Records `groups` workgroups of `kernel` on `tensors`, one for each of [`Kernel::bindings`] in their order; they run
    /// after everything recorded before, at the latest when something is read back.
    ///
    /// `params` is the uniform at binding 0, laid out as WGSL lays out the struct (`#[repr(C)]`, 4-byte fields); a tensor
    /// is an `array<f32>`, row-major. The workgroups are folded into two dimensions, since a device has a limit along each:
    /// a shader numbers them by `workgroup_id.x + workgroup_id.y * num_workgroups.x` and returns where that is past the
    /// last. Its indices and loops are checked, whatever the device was opened for: reads past the end of a tensor give
    /// some number, writes past it are lost.
    ///
    /// A tensor never changes once it was written: write those alone that [`Tensor::empty`] has just made. A driver in
    /// software may cut long loops short: see [`check_trips`](crate::gpu::check_trips).
    ///
    /// # Errors
    /// [`Error::Usage`] where `params` or `tensors` are not what the kernel declares, are of another device, or one that
    /// is written is there twice; [`Error::Memory`] for a tensor larger than one binding and for too many workgroups;
    /// [`Error::Kernel`] where the shader does not compile or declares something else than `kernel` does. What the
    /// device reports later is the error of a later call.
    pub fn compute<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        tensors: &[&Tensor],
        groups: usize,
    ) -> Result<()> {
        let wrong = |problem: String| Err(Error::Usage(format!("{}: {problem}", kernel.name)));
        let (bytes, count) = (size_of::<P>(), kernel.bindings.len());
        if bytes != kernel.params || !(1..=MOST_PARAMS).contains(&bytes) {
            return wrong(format!(
                "params of {bytes} bytes, where the kernel declares {} and a device takes 1 to {MOST_PARAMS}",
                kernel.params
            ));
        }
        if tensors.len() != count {
            return wrong(format!("{} tensors for {count} bindings", tensors.len()));
        }
        let mut buffers = Vec::new();
        for (index, (tensor, access)) in tensors.iter().zip(kernel.bindings).enumerate() {
            let binding = index + 1;
            if !self.is(tensor.gpu()) {
                return wrong(format!(
                    "the tensor at binding {binding} is on another device"
                ));
            }
            let shared = tensors
                .iter()
                .enumerate()
                .find(|(other, with)| *other != index && Arc::ptr_eq(&with.parts, &tensor.parts));
            match (access, shared) {
                (Access::Write, Some((other, _))) => {
                    return wrong(format!(
                        "the tensor at binding {binding} is written, and bound at {} too",
                        other + 1
                    ));
                }
                (Access::ReadTexture, _) => {
                    return wrong(format!(
                        "binding {binding} is a texture, and tensors are none"
                    ));
                }
                _ => {}
            }
            buffers.push(tensor.buffer("compute")?);
        }
        self.run(&kernel.checked(), params, &buffers, groups)
    }
}
