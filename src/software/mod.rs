//! The kernel family for software devices (lavapipe): a frozen VGG whose activations and weights are storage
//! textures, the fastest memory there.
//!
//! Four channels are a texel and planes have a border of zeros, so that a layer's output is the next one's
//! input. A workgroup is one subgroup: its lanes are pixels (or tiles, or columns), and a weight that one lane
//! loads reaches the others by a shuffle. No barrier, no workgroup memory: see `Gpu` for what those cost there.
//!
//! What an image gives does not depend on the other images of its batch, to the bit: every sum runs over one
//! image's own channels, in one order.

mod cases;
mod direct;
mod down;
mod layer;
mod planes;
mod weights;
mod winograd;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub(crate) use cases::cases;
pub(crate) use down::down;
pub(crate) use layer::{Inner, Layer, Needs, convolve};
pub(crate) use planes::{dropout, rows, times, times_plus, to_planes, to_rows};

use crate::Result;
use crate::gpu::{Buffer, Gpu, Kernel, Texture, Warmer};

/// Channels that a convolution without bias may have.
const ZEROS: usize = 4096;

/// Textures without a border that every layer uses in turn, by label and size.
#[derive(Default)]
struct Scratch(Mutex<HashMap<Use, Arc<Texture>>>);

type Use = (&'static str, [usize; 2]);

impl Scratch {
    fn take(&self, gpu: &Gpu, label: &'static str, size: [usize; 2]) -> Result<Arc<Texture>> {
        let mut textures = self.0.lock().expect("no panic holds the scratch textures");
        if let Some(texture) = textures.get(&(label, size)) {
            return Ok(texture.clone());
        }
        let texture = Arc::new(gpu.texture(label, size)?);
        textures.insert((label, size), texture.clone());
        Ok(texture)
    }
}

/// What every layer of this family shares.
pub(crate) struct Context {
    gpu: Gpu,
    lanes: usize,
    scratch: Scratch,
    /// Held by who uses the scratch textures.
    busy: Mutex<()>,
    warmer: Arc<Warmer>,
    /// A bias of nothing.
    zeros: Buffer,
}

/// Whether a device is of the kind that this family is for.
pub(crate) fn suits(gpu: &Gpu) -> bool {
    let [least, most] = gpu.info().subgroup;
    let lanes = least == most && [4, 8, 16].contains(&least);
    let has = |feature: &str| gpu.info().features.iter().any(|f| f == feature);
    gpu.has_textures() && lanes && has("subgroup") && has("shader_int64")
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
    fn bias(&self, values: &[f32]) -> Result<Buffer> {
        let mut padded = values.to_vec();
        padded.resize(values.len().next_multiple_of(4), 0.0);
        let buffer = self.gpu.alloc(padded.len() as u64 * 4)?;
        self.gpu.write(&buffer, 0, bytemuck::cast_slice(&padded))?;
        Ok(buffer)
    }

    /// Has the driver compile kernels of a layer while the next ones load.
    fn warm(&self, kernels: &[&'static Kernel]) {
        self.warmer.send(kernels);
    }

    /// Output channels of one workgroup: the most of `wanted`, then halves of it, that waste no whole block.
    fn outs(&self, wanted: usize, channels: usize) -> usize {
        let mut outs = wanted.max(self.lanes);
        while outs > self.lanes && !channels.is_multiple_of(outs) {
            outs /= 2;
        }
        outs
    }
}

/// Every kernel at the sizes that 8 lanes and the full VGG19 take, for the tests.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [
        planes::kernels(),
        direct::kernels(),
        winograd::kernels(),
        layer::kernels(),
        down::kernels(),
    ]
    .concat()
}
