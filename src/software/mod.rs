//! The kernel family for software devices (lavapipe): a frozen VGG whose activations and weights are storage
//! textures, the fastest memory there.
//!
//! Four channels are a texel and planes have a border of zeros, so that a layer's output is the next one's
//! input. A workgroup is one subgroup: its lanes are pixels (or tiles, or columns), and a weight that one lane
//! loads reaches the others by a shuffle. No barrier, no workgroup memory: see `Gpu` for what those cost there.
//!
//! What an image gives does not depend on the other images of its batch, to the bit: every sum runs over one
//! image's own channels, in one order.

mod conv3x3;
mod linear;
mod winograd;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use conv3x3::Conv3x3;
use linear::{Flatten, Linear};
use winograd::Winograd;

use crate::gpu::{Buffer, Gpu, Kernel, Texture};
use crate::nn::vgg::{Arch, POOLED};
use crate::nn::weights::Source;
use crate::{Error, Result};

/// Lowest f32: an epilogue's lower bound where there is no ReLU.
const NO_FLOOR: f32 = f32::MIN;

/// Planes of a batch in one texture: texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
/// holds four channels; the border is zero.
#[derive(Clone)]
struct Planes {
    texture: Arc<Texture>,
    images: usize,
    size: usize,
    channels: usize,
}

/// Textures that are used again in the next layer or call, by label, size and side of a padded plane (0 for what
/// has no border): planes of one side have their borders in the same places, which nothing writes.
#[derive(Default)]
struct Scratch(Mutex<HashMap<Use, Arc<Texture>>>);

type Use = (&'static str, [usize; 2], usize);

impl Scratch {
    fn take(&self, gpu: &Gpu, label: &'static str, size: [usize; 2]) -> Result<Arc<Texture>> {
        self.bordered(gpu, label, size, 0)
    }

    fn planes(
        &self,
        gpu: &Gpu,
        label: &'static str,
        [images, channels, size]: [usize; 3],
    ) -> Result<Planes> {
        let padded = size + 2;
        let texels = [images * padded, channels.div_ceil(4) * padded];
        Ok(Planes {
            texture: self.bordered(gpu, label, texels, padded)?,
            images,
            size,
            channels,
        })
    }

    fn bordered(
        &self,
        gpu: &Gpu,
        label: &'static str,
        size: [usize; 2],
        padded: usize,
    ) -> Result<Arc<Texture>> {
        let mut textures = self.0.lock().expect("no panic holds the scratch textures");
        if let Some(texture) = textures.get(&(label, size, padded)) {
            return Ok(texture.clone());
        }
        let texture = Arc::new(gpu.texture(label, size)?);
        textures.insert((label, size, padded), texture.clone());
        Ok(texture)
    }
}

/// What every layer of this family shares.
struct Context {
    gpu: Gpu,
    lanes: usize,
    scratch: Scratch,
    warmed: Mutex<HashSet<String>>,
}

impl Context {
    /// One number a channel, four a vec4, zeros past the last.
    fn bias(&self, values: &[f32]) -> Result<Buffer> {
        let mut padded = values.to_vec();
        padded.resize(values.len().next_multiple_of(4), 0.0);
        let buffer = self.gpu.alloc(padded.len() as u64 * 4)?;
        self.gpu.write(&buffer, 0, bytemuck::cast_slice(&padded))?;
        Ok(buffer)
    }

    /// Has the driver compile kernels of a layer while the next ones load. `warmed` ones cost nothing again.
    fn warm(&self, kernels: &[&'static Kernel]) -> Result<()> {
        for kernel in kernels {
            let mut warmed = self.warmed.lock().expect("no panic holds the kernels");
            if warmed.insert(kernel.name.to_string()) {
                self.gpu.warm(kernel)?;
            }
        }
        Ok(())
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

/// A convolution with its bias, ReLU and maybe pool.
trait Conv: Send + Sync {
    /// Channels of the result.
    fn channels(&self) -> usize;

    /// Side of the result for planes of `size`.
    fn size_out(&self, size: usize) -> usize;

    fn forward(&self, context: &Context, x: &Planes, y: &Planes) -> Result<()>;
}

/// A frozen VGG in textures.
pub struct Net {
    context: Context,
    convs: Vec<Box<dyn Conv>>,
    flatten: Flatten,
    linears: Vec<Linear>,
    classes: usize,
    /// One call at a time: all use the same textures.
    busy: Mutex<()>,
}

impl Net {
    /// Whether a device is of the kind that this family is for.
    pub fn suits(gpu: &Gpu) -> bool {
        let [least, most] = gpu.info().subgroup;
        let lanes = least == most && [4, 8, 16].contains(&least);
        gpu.has_textures() && lanes && gpu.info().features.iter().any(|f| f == "subgroup")
    }

    /// Transforms and uploads the weights. `progress` hears of each parameter with its bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where a texture does not fit the device.
    pub fn new(
        gpu: &Gpu,
        arch: Arch,
        weights: &Source,
        mut progress: impl FnMut(u64),
    ) -> Result<Self> {
        let context = Context {
            gpu: gpu.clone(),
            lanes: gpu.info().subgroup[0] as usize,
            scratch: Scratch::default(),
            warmed: Mutex::default(),
        };
        let mut convs: Vec<Box<dyn Conv>> = Vec::new();
        let mut linears = Vec::new();
        let layers = arch.layers();
        let mut pools = 0;
        for (index, layer) in layers.iter().enumerate() {
            let bias = weights.read(&format!("{}.bias", layer.name), &layer.weight[..1]);
            let last = index + 1 == layers.len();
            let weight = format!("{}.weight", layer.name);
            let elements: usize = layer.weight.iter().product();
            if layer.is_conv() {
                let values = weights.read(&weight, &layer.weight);
                let shape = [layer.weight[0], layer.weight[1]];
                convs.push(if shape[1] <= 4 && !layer.pool {
                    Box::new(Conv3x3::new(&context, shape, &values, &bias)?)
                } else {
                    Box::new(Winograd::new(
                        &context, shape, &values, &bias, layer.pool, pools,
                    )?)
                });
                pools += usize::from(layer.pool);
            } else {
                let rows = |first: usize, out: &mut [f32]| {
                    weights.fill(&weight, &layer.weight, first, out)
                };
                let shape = [layer.weight[0], layer.weight[1]];
                linears.push(Linear::new(&context, shape, rows, &bias, !last)?);
            }
            progress((elements + bias.len()) as u64 * 4);
        }
        Ok(Net {
            flatten: Flatten::new(&context)?,
            context,
            convs,
            linears,
            classes: arch.classes,
            busy: Mutex::default(),
        })
    }

    /// The logits of normalised images [N, 3, side, side], on the host: [N, classes].
    ///
    /// # Errors
    /// [`Error::Shape`] for other input, [`Error::Memory`] where the images do not fit a texture.
    pub fn logits(&self, pixels: &[f32], side: usize) -> Result<Vec<f32>> {
        let image = 3 * side * side;
        if side < 32 || pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            let expected = "whole images of at least 32 x 32 pixels";
            return Err(Error::shape(
                "vgg",
                expected,
                format!("{} numbers, side {side}", pixels.len()),
            ));
        }
        let _one = self.busy.lock().expect("no panic holds the network");
        let Context { gpu, scratch, .. } = &self.context;
        let n = pixels.len() / image;
        let last = self.convs.last().map_or(3, |conv| conv.channels());
        let features = [(last * POOLED * POOLED).div_ceil(4), n];
        let mut rows = scratch.take(gpu, "features", features)?;
        // The convolutions take an image at a time, which needs the least memory; the linear layers take all, so that
        // their weights are read once.
        for (image, pixels) in pixels.chunks(image).enumerate() {
            let mut x = scratch.planes(gpu, "image", [1, 3, side])?;
            gpu.refill(&x.texture, |memory, pitch| {
                lay_out(pixels, 1, side, memory, pitch)
            })?;
            for (index, conv) in self.convs.iter().enumerate() {
                // Neighbouring layers of one size alternate between two textures.
                let label = ["even planes", "odd planes"][index % 2];
                let y = scratch.planes(gpu, label, [1, conv.channels(), conv.size_out(x.size)])?;
                conv.forward(&self.context, &x, &y)?;
                x = y;
            }
            self.flatten
                .forward(&self.context, &x, POOLED, &rows, image)?;
        }
        for (index, linear) in self.linears.iter().enumerate() {
            rows = linear.forward(
                &self.context,
                &rows,
                n,
                ["even rows", "odd rows"][index % 2],
            )?;
        }
        let padded = gpu.read_rows(&rows, n)?;
        let width = padded.len() / n;
        Ok(padded
            .chunks(width)
            .flat_map(|row| &row[..self.classes])
            .copied()
            .collect())
    }

    /// Images of `side` whose planes fit the device's textures side by side, and one binding to be written.
    pub fn max_batch(&self, side: usize) -> usize {
        let limits = self.context.gpu.limits();
        let padded = side + 2;
        let widest = self
            .convs
            .iter()
            .map(|conv| conv.channels())
            .next()
            .unwrap_or(3);
        let plane = padded * padded * widest.div_ceil(4) * 16;
        let bound = limits.max_storage_buffer_binding_size as usize / plane;
        (limits.max_texture_dimension_2d as usize / padded)
            .min(bound)
            .max(1)
    }
}

/// Planar images as texels inside a border, with a fourth channel of zeros; rows `pitch` floats apart.
fn lay_out(pixels: &[f32], n: usize, side: usize, texels: &mut [f32], pitch: usize) {
    let padded = side + 2;
    for image in 0..n {
        let planes: [&[f32]; 3] =
            std::array::from_fn(|c| &pixels[(image * 3 + c) * side * side..][..side * side]);
        for y in 0..side {
            let first = (y + 1) * pitch + (image * padded + 1) * 4;
            for (x, texel) in texels[first..][..side * 4].chunks_mut(4).enumerate() {
                for (value, plane) in texel.iter_mut().zip(planes) {
                    *value = plane[y * side + x];
                }
            }
        }
    }
}

/// Every kernel at the sizes that 8 lanes and the full VGG19 take, for the tests.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [conv3x3::kernels(), winograd::kernels(), linear::kernels()].concat()
}
