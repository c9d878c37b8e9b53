//! The classifier: planes flattened to rows, rows times weights that stream through once.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::{Context, NO_FLOOR, Planes};
use crate::Result;
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Buffer, Kernel, Texture};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FlattenParams {
    size: u32,
    cells: u32,
    length: u32,
    pitch: u32,
    row: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    quads: u32,
    rows: u32,
    floor: f32,
    pitch: u32,
}

const FLATTEN: Kernel = Kernel::new::<FlattenParams>(
    "flatten",
    include_str!("../../shaders/flatten.wgsl"),
    "forward",
    &[ReadTexture, Write],
);
const LINEAR: Kernel = Kernel::new::<Params>(
    "linear_texture",
    include_str!("../../shaders/linear_texture.wgsl"),
    "forward",
    &[ReadTexture, ReadTexture, Write, Read],
);

/// Rows of the weight that one workgroup takes: `OUTS` of the shader.
const OUTS: usize = 4;
/// Rows of x that one workgroup takes at most.
const MOST_ROWS: usize = 8;

fn flatten_kernel(lanes: usize) -> &'static Kernel {
    FLATTEN.sized(
        format!("flatten.{lanes}"),
        &format!("const LANES: u32 = {lanes}u;\n"),
    )
}

fn linear_kernel(lanes: usize, rows: usize) -> &'static Kernel {
    let header = format!("const LANES: u32 = {lanes}u;\nconst ROWS: u32 = {rows}u;\n");
    LINEAR.sized(format!("linear_texture.{lanes}x{rows}"), &header)
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![flatten_kernel(8), linear_kernel(8, 1), linear_kernel(8, 8)]
}

/// Planes [N, C, size, size] to rows [N, C * cells * cells], averaged where the sizes differ.
pub(super) struct Flatten(&'static Kernel);

impl Flatten {
    pub(super) fn new(context: &Context) -> Result<Self> {
        let kernel = flatten_kernel(context.lanes);
        context.warm(&[kernel])?;
        Ok(Flatten(kernel))
    }

    /// Writes the planes of `x` to rows `row..` of `y`.
    pub(super) fn forward(
        &self,
        context: &Context,
        x: &Planes,
        cells: usize,
        y: &Texture,
        row: usize,
    ) -> Result<()> {
        let length = x.channels * cells * cells;
        let params = FlattenParams {
            size: x.size as u32,
            cells: cells as u32,
            length: length as u32,
            pitch: y.pitch() as u32,
            row: row as u32,
        };
        let grid = [
            length.div_ceil(4).div_ceil(context.lanes) as u32,
            x.images as u32,
            1,
        ];
        let bindings = [(&*x.texture).into(), y.into()];
        context.gpu.run_grid(self.0, &params, &bindings, grid)
    }
}

/// A linear layer with bias and maybe ReLU.
pub(super) struct Linear {
    weights: Texture,
    bias: Buffer,
    outputs: usize,
    inputs: usize,
    relu: bool,
}

impl Linear {
    /// `fill(first, out)` gives elements `first..` of the weight [outputs, inputs].
    pub(super) fn new(
        context: &Context,
        [outputs, inputs]: [usize; 2],
        fill: impl Fn(usize, &mut [f32]),
        bias: &[f32],
        relu: bool,
    ) -> Result<Self> {
        context.warm(&[linear_kernel(context.lanes, MOST_ROWS)])?;
        let quads = inputs.div_ceil(4);
        let lay_out = |texels: &mut [f32], pitch: usize| {
            // Padding reads as zero: the columns past the last one count for nothing.
            if pitch == inputs {
                fill(0, &mut texels[..outputs * inputs]);
            } else {
                for (out, row) in texels.chunks_mut(pitch).take(outputs).enumerate() {
                    fill(out * inputs, &mut row[..inputs]);
                    row[inputs..].fill(0.0);
                }
            }
            texels[outputs * pitch..].fill(0.0);
        };
        let size = [quads, outputs.next_multiple_of(OUTS)];
        let weights = context.gpu.texture_from("linear weights", size, lay_out)?;
        Ok(Linear {
            weights,
            bias: context.bias(bias)?,
            outputs,
            inputs,
            relu,
        })
    }

    /// Rows [n, inputs] to rows [n, outputs].
    pub(super) fn forward(
        &self,
        context: &Context,
        x: &Arc<Texture>,
        n: usize,
        label: &'static str,
    ) -> Result<Arc<Texture>> {
        let quads = self.outputs.div_ceil(4);
        let y = context.scratch.take(&context.gpu, label, [quads, n])?;
        let rows = n.next_power_of_two().min(MOST_ROWS);
        let params = Params {
            quads: self.inputs.div_ceil(4) as u32,
            rows: n as u32,
            floor: if self.relu { 0.0 } else { NO_FLOOR },
            pitch: y.pitch() as u32,
        };
        let bindings = [
            (&**x).into(),
            (&self.weights).into(),
            (&*y).into(),
            (&self.bias).into(),
        ];
        let grid = [
            self.outputs.div_ceil(OUTS) as u32,
            n.div_ceil(rows) as u32,
            1,
        ];
        let kernel = linear_kernel(context.lanes, rows);
        context.gpu.run_grid(kernel, &params, &bindings, grid)?;
        Ok(y)
    }
}
