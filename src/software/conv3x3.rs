//! The first convolution: an implicit matrix product, three channels deep.

use bytemuck::{Pod, Zeroable};

use super::{Context, Conv, Planes};
use crate::Result;
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Buffer, Kernel, Texture};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    pixels: u32,
    in_quads: u32,
    out_quads: u32,
    size: u32,
    zero: u32,
    floor: f32,
    pitch: u32,
}

const KERNEL: Kernel = Kernel::new::<Params>(
    "conv3x3",
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/conv3x3.wgsl")
    ),
    "forward",
    &[ReadTexture, ReadTexture, Write, Read],
);

/// Pixels of a workgroup, in lanes.
const GROUPS: usize = 8;
/// Output channels of a workgroup.
const OUTS: usize = 16;

/// A 3x3 convolution with bias and ReLU.
pub(super) struct Conv3x3 {
    kernel: &'static Kernel,
    weights: Texture,
    bias: Buffer,
    channels: usize,
    in_quads: usize,
    outs: usize,
}

fn kernel(lanes: usize, outs: usize, channels: usize) -> &'static Kernel {
    KERNEL.sized(
        format!("conv3x3.{lanes}x{outs}x{channels}"),
        &format!(
            "const LANES: u32 = {lanes}u;\nconst OUTS: u32 = {outs}u;\nconst GROUPS: u32 = {GROUPS}u;\nconst CHANNELS: u32 = {channels}u;\n"
        ),
    )
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![kernel(8, OUTS, 3)]
}

impl Conv3x3 {
    pub(super) fn new(
        context: &Context,
        [cout, cin]: [usize; 2],
        weight: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let outs = context.outs(OUTS, cout);
        let kernel = kernel(context.lanes, outs, cin.min(4));
        context.warm(&[kernel])?;
        let (blocks, in_quads) = (cout.div_ceil(outs), cin.div_ceil(4));
        let width = in_quads * 9 * outs;
        let lay_out = |texels: &mut [f32], pitch: usize| {
            texels.fill(0.0);
            for (index, &value) in weight.iter().enumerate() {
                let (out, channel, tap) = (index / (cin * 9), index / 9 % cin, index % 9);
                let x = (channel / 4 * 9 + tap) * outs + out % outs;
                texels[(out / outs) * pitch + x * 4 + channel % 4] = value;
            }
        };
        let weights = context
            .gpu
            .texture_from("conv3x3 weights", [width, blocks], lay_out)?;
        Ok(Conv3x3 {
            kernel,
            weights,
            bias: context.bias(bias)?,
            channels: cout,
            in_quads,
            outs,
        })
    }
}

impl Conv for Conv3x3 {
    fn channels(&self) -> usize {
        self.channels
    }

    fn size_out(&self, size: usize) -> usize {
        size
    }

    fn forward(&self, context: &Context, x: &Planes, y: &Planes) -> Result<()> {
        let pixels = x.images * x.size * x.size;
        let params = Params {
            pixels: pixels as u32,
            in_quads: self.in_quads as u32,
            out_quads: self.channels.div_ceil(4) as u32,
            size: x.size as u32,
            zero: 0,
            floor: 0.0,
            pitch: y.texture.pitch() as u32,
        };
        let bindings = [
            (&*x.texture).into(),
            (&self.weights).into(),
            (&*y.texture).into(),
            (&self.bias).into(),
        ];
        let groups = pixels.div_ceil(GROUPS * context.lanes);
        let grid = [groups as u32, self.channels.div_ceil(self.outs) as u32, 1];
        context.gpu.run_grid(self.kernel, &params, &bindings, grid)
    }
}
