//! What every layer of this family shares: the device, scratch memory, and who compiles ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::gpu::{Buffer, Gpu, Kernel, Texture, Warmer};

/// Channels that a convolution without bias may have.
pub(super) const ZEROS: usize = 4096;

/// Textures without a border that every layer uses in turn, by label and size.
#[derive(Default)]
pub(super) struct Scratch(Mutex<HashMap<Use, Arc<Texture>>>);

type Use = (&'static str, [usize; 2]);

impl Scratch {
    /// One of `size`.
    pub(super) fn take(
        &self,
        gpu: &Gpu,
        label: &'static str,
        size: [usize; 2],
    ) -> Result<Arc<Texture>> {
        let mut textures = self.0.lock().expect("no panic holds the scratch textures");
        if let Some(texture) = textures.get(&(label, size)) {
            return Ok(texture.clone());
        }
        let texture = Arc::new(gpu.texture(label, size)?);
        textures.insert((label, size), texture.clone());
        Ok(texture)
    }

    /// One that is `size` at least, for what does not mind how far apart rows are.
    pub(super) fn take_roomy(
        &self,
        gpu: &Gpu,
        label: &'static str,
        size: [usize; 2],
    ) -> Result<Arc<Texture>> {
        let textures = self.0.lock().expect("no panic holds the scratch textures");
        let roomy = textures.iter().find(|((of, has), _)| {
            let large = has.iter().zip(size).all(|(has, wanted)| *has >= wanted);
            *of == label && large
        });
        if let Some((_, texture)) = roomy {
            return Ok(texture.clone());
        }
        drop(textures);
        self.take(gpu, label, size)
    }
}

/// What every layer of this family shares.
pub(crate) struct Context {
    pub(super) gpu: Gpu,
    pub(super) lanes: usize,
    pub(super) scratch: Scratch,
    /// Held by who uses the scratch textures.
    pub(super) busy: Mutex<()>,
    warmer: Arc<Warmer>,
    /// A bias of nothing.
    pub(super) zeros: Buffer,
}

impl Context {
    pub(crate) fn new(gpu: &Gpu, warmer: &Arc<Warmer>) -> Result<Arc<Self>> {
        let zeros = gpu.alloc(ZEROS as u64 * 4)?;
        gpu.write(&zeros, 0, bytemuck::cast_slice(&[0f32; ZEROS]))?;
        Ok(Arc::new(Context {
            gpu: gpu.clone(),
            lanes: gpu.info().subgroup[0] as usize,
            scratch: Scratch::default(),
            busy: Mutex::default(),
            warmer: warmer.clone(),
            zeros,
        }))
    }

    /// One number a channel, four a vec4, zeros past the last.
    pub(super) fn bias(&self, values: &[f32]) -> Result<Buffer> {
        let mut padded = values.to_vec();
        padded.resize(values.len().next_multiple_of(4), 0.0);
        let buffer = self.gpu.alloc(padded.len() as u64 * 4)?;
        self.gpu.write(&buffer, 0, bytemuck::cast_slice(&padded))?;
        Ok(buffer)
    }

    /// Has the driver compile kernels of a layer while the next ones load.
    pub(super) fn warm(&self, kernels: &[&'static Kernel]) {
        self.warmer.send(kernels);
    }

    /// Output channels of one workgroup: the most of `wanted`, then halves of it, that waste no whole block. Eight at least,
    /// two texels.
    pub(super) fn outs(&self, wanted: usize, channels: usize) -> usize {
        let least = self.lanes.max(8);
        let mut outs = wanted.max(least);
        while outs > least && !channels.is_multiple_of(outs) {
            outs /= 2;
        }
        outs
    }
}
