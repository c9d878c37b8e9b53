//! A convolution's LoRA on its way down to the rank, and the gradient of a factor.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::context::Context;
use super::direct::{Layout, Sizes, conv};
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::Access::{ReadTexture, Write};
use crate::gpu::{Kernel, max_trips};
use crate::ops::sum;
use crate::tensor::Tensor;
use crate::tensor::planes::planes;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GradientParams {
    cout: u32,
    cin: u32,
    size: u32,
    splits: u32,
    span: u32,
    alpha: f32,
}

const WEIGHT_GRADIENT: Kernel = Kernel::new::<GradientParams>(
    "weight_gradient",
    "conv/planes/weight_gradient.wgsl",
    "forward",
    &[ReadTexture, ReadTexture, Write],
);

fn gradient_kernel(lanes: usize, side: usize) -> &'static Kernel {
    WEIGHT_GRADIENT.variant(format!("weight_gradient.{lanes}x{side}"), |kernel| {
        kernel.constant("LANES", lanes).constant("SIDE", side)
    })
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![gradient_kernel(8, 1), gradient_kernel(8, 3)]
}

/// The 3x3 convolution of `x` with a LoRA's factor A [R, C, 3, 3]: [N, C, S, S] -> [N, R, S, S], in planes.
pub(crate) fn down(tape: &mut Tape, context: &Arc<Context>, x: &Var, a: &Var) -> Result<Var> {
    let (_, [_, cin, _]) = planes("conv2d", &x.tensor)?;
    let dims = a.tensor.shape().dims();
    let rank = dims[0];
    if dims != [rank, cin, 3, 3] {
        return Err(Error::shapes(
            "conv2d",
            "x [N, C, S, S] and A [R, C, 3, 3]",
            x.tensor.shape(),
            a.tensor.shape(),
        ));
    }
    let sizes = Sizes {
        cout: rank,
        cin,
        side: 3,
    };
    let layout = Layout {
        first: 0,
        out: cin * 9,
        input: 9,
        tap: 1,
    };
    let hidden = conv(context, &x.tensor, &a.tensor, sizes, layout, 1.0)?;
    tape.record(hidden, &[x, a], || DownRule {
        context: context.clone(),
        x: a.is_tracked().then(|| x.tensor.clone()),
        a: x.is_tracked().then(|| a.tensor.clone()),
        cin,
    })
}

struct DownRule {
    context: Arc<Context>,
    x: Option<Tensor>,
    a: Option<Tensor>,
    cin: usize,
}

impl Backward for DownRule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let rank = dy.shape()[1];
        let dx = match self.a.filter(|_| wanted[0]) {
            Some(a) => {
                let sizes = Sizes {
                    cout: self.cin,
                    cin: rank,
                    side: 3,
                };
                // Rotated and transposed.
                let turned = Layout {
                    first: 8,
                    out: 9,
                    input: self.cin * 9,
                    tap: -1,
                };
                Some(conv(&self.context, dy, &a, sizes, turned, 1.0)?.into())
            }
            None => None,
        };
        let da = match self.x.filter(|_| wanted[1]) {
            Some(x) => Some(weight_gradient(dy, &x, 3, 1.0)?.into()),
            None => None,
        };
        Ok(vec![dx, da])
    }
}

/// `alpha` times the weight gradient of a convolution with kernels of `side`: dy [N, M, S, S], x [N, C, S, S] ->
/// [M, C, side, side].
pub(super) fn weight_gradient(dy: &Tensor, x: &Tensor, side: usize, alpha: f32) -> Result<Tensor> {
    let (dy_texture, [n, cout, size]) = planes("conv2d", dy)?;
    let (x_texture, [_, cin, _]) = planes("conv2d", x)?;
    let gpu = dy.gpu();
    let lanes = gpu.info().subgroup[0] as usize;
    let pixels = size * size;
    let splits = pixels.div_ceil(lanes).div_ceil(max_trips(gpu));
    let parts = Tensor::empty(gpu, [n * splits, cout, cin, side, side])?;
    let params = GradientParams {
        cout: cout as u32,
        cin: cin as u32,
        size: size as u32,
        splits: splits as u32,
        span: pixels.div_ceil(splits) as u32,
        alpha,
    };
    let grid = [cin.div_ceil(4), cout.div_ceil(4) * side, n * splits];
    let bindings = [
        dy_texture.into(),
        x_texture.into(),
        parts.buffer("conv2d")?.into(),
    ];
    gpu.run_grid(gradient_kernel(lanes, side), &params, &bindings, grid)?;
    match n * splits {
        1 => Ok(parts.reshaped([cout, cin, side, side])),
        _ => sum::forward(&parts, 1.0),
    }
}
