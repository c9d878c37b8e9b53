//! Convolutions as an implicit matrix product: the first layer, three channels deep, and the factors of a LoRA, whose
//! few channels on one side leave Winograd nothing to save.

use bytemuck::{Pod, Zeroable};

use super::context::{Context, ZEROS};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Buffer, Kernel, Recycled, Texture};
use crate::ops::relu::Floor;
use crate::tensor::Tensor;
use crate::tensor::planes::{for_lanes, planes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    pixels: u32,
    in_quads: u32,
    out_quads: u32,
    size: u32,
    zero: u32,
    floor: Floor,
    pitch: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackParams {
    outs: u32,
    taps: u32,
    cout: u32,
    cin: u32,
    columns: u32,
    pitch: u32,
    first: u32,
    stride_out: u32,
    stride_in: u32,
    stride_tap: i32,
    scale: f32,
}

const KERNEL: Kernel = Kernel::new::<Params>(
    "conv_planes",
    "conv/planes/conv_planes.wgsl",
    "forward",
    &[ReadTexture, ReadTexture, Write, Read],
);
const PACK: Kernel =
    Kernel::new::<PackParams>("pack", "conv/planes/pack.wgsl", "forward", &[Read, Write]);

/// Pixels of a workgroup, in lanes.
const GROUPS: usize = 8;
/// Output channels of a workgroup, at most.
const OUTS: usize = 16;

fn kernel(lanes: usize, outs: usize, channels: usize, side: usize) -> &'static Kernel {
    KERNEL.variant(
        format!("conv_planes.{lanes}x{outs}x{channels}x{side}"),
        |kernel| {
            kernel
                .constant("LANES", lanes)
                .constant("OUTS", outs)
                .constant("GROUPS", GROUPS)
                .constant("CHANNELS", channels)
                .constant("SIDE", side)
        },
    )
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![
        kernel(8, OUTS, 3, 3),
        kernel(8, 8, 4, 3),
        kernel(8, 8, 4, 1),
        for_lanes(&PACK, 8),
    ]
}

/// The sizes of a convolution: channels out and in, and the side of its kernel, 3 or 1.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) cout: usize,
    pub(super) cin: usize,
    pub(super) side: usize,
}

impl Sizes {
    fn taps(self) -> usize {
        self.side * self.side
    }

    fn outs(self, context: &Context) -> usize {
        let padded = self.cout.next_multiple_of(context.lanes);
        context.outs(OUTS.min(padded), self.cout)
    }

    /// Texels of the weights.
    fn texels(self, context: &Context) -> [usize; 2] {
        let outs = self.outs(context);
        [
            self.cin.div_ceil(4) * self.taps() * outs,
            self.cout.div_ceil(outs),
        ]
    }

    fn kernel(self, context: &Context) -> &'static Kernel {
        kernel(
            context.lanes,
            self.outs(context),
            self.cin.min(4),
            self.side,
        )
    }

    /// Records the convolution of `x` with laid out `weights`.
    fn run(
        self,
        context: &Context,
        x: &Tensor,
        weights: &Texture,
        bias: &Buffer,
        floor: Floor,
    ) -> Result<Tensor> {
        let (x_texture, [n, _, size]) = planes("conv_planes", x)?;
        let y = Tensor::planes(x.gpu(), [n, self.cout, size])?;
        let (y_texture, _) = planes("conv_planes", &y)?;
        let pixels = n * size * size;
        let params = Params {
            pixels: pixels as u32,
            in_quads: self.cin.div_ceil(4) as u32,
            out_quads: self.cout.div_ceil(4) as u32,
            size: size as u32,
            zero: 0,
            floor,
            pitch: y_texture.pitch() as u32,
        };
        let bindings = [
            x_texture.into(),
            weights.into(),
            y_texture.into(),
            bias.into(),
        ];
        let grid = [
            pixels.div_ceil(GROUPS * context.lanes),
            self.cout.div_ceil(self.outs(context)),
        ];
        context
            .gpu
            .run_wide(self.kernel(context), &params, &bindings, grid)?;
        Ok(y)
    }
}

/// A frozen 3x3 convolution with bias and ReLU.
pub(super) struct Direct {
    sizes: Sizes,
    weights: Texture,
    bias: Buffer,
}

impl Direct {
    pub(super) fn new(
        context: &Context,
        [cout, cin]: [usize; 2],
        weight: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let sizes = Sizes { cout, cin, side: 3 };
        context.warm(&[sizes.kernel(context)]);
        let outs = sizes.outs(context);
        let lay_out = |texels: &mut [f32], pitch: usize| {
            texels.fill(0.0);
            for (index, &value) in weight.iter().enumerate() {
                let (out, channel, tap) = (index / (cin * 9), index / 9 % cin, index % 9);
                let x = (channel / 4 * 9 + tap) * outs + out % outs;
                texels[(out / outs) * pitch + x * 4 + channel % 4] = value;
            }
        };
        let texels = sizes.texels(context);
        Ok(Direct {
            sizes,
            weights: context.gpu.texture_from("conv weights", texels, lay_out)?,
            bias: context.bias(bias)?,
        })
    }

    pub(super) fn forward(&self, context: &Context, x: &Tensor) -> Result<Tensor> {
        self.sizes
            .run(context, x, &self.weights, &self.bias, Floor::RELU)
    }
}

/// Where the elements of a factor's tensor lie: element (out, in, tap) at
/// `first + out * out_step + in * in_step + tap * tap_step`.
pub(super) struct Layout {
    pub(super) first: usize,
    pub(super) out: usize,
    pub(super) input: usize,
    pub(super) tap: isize,
}

/// `scale` times the convolution of `x` with a factor, without bias or ReLU.
pub(super) fn conv(
    context: &Context,
    x: &Tensor,
    factor: &Tensor,
    sizes: Sizes,
    layout: Layout,
    scale: f32,
) -> Result<Tensor> {
    if sizes.cout > ZEROS {
        let expected = format!("at most {ZEROS} channels out of a convolution without bias");
        return Err(Error::shape("conv2d", expected, sizes.cout.to_string()));
    }
    let size = sizes.texels(context);
    let weights: Recycled = context.gpu.planes(size, 0)?;
    let params = PackParams {
        outs: sizes.outs(context) as u32,
        taps: sizes.taps() as u32,
        cout: sizes.cout as u32,
        cin: sizes.cin as u32,
        columns: size[0] as u32,
        pitch: weights.pitch() as u32,
        first: layout.first as u32,
        stride_out: layout.out as u32,
        stride_in: layout.input as u32,
        stride_tap: layout.tap as i32,
        scale,
    };
    let bindings = [factor.buffer("conv2d")?.into(), (&*weights).into()];
    let grid = [size[0].div_ceil(context.lanes), size[1], 1];
    let pack = for_lanes(&PACK, context.lanes);
    context.gpu.run_grid(pack, &params, &bindings, grid)?;
    sizes.run(context, x, &weights, &context.zeros, Floor::NONE)
}
