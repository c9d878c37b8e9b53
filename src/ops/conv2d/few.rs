//! `conv2d` for few channels on one side, as a low-rank factor has: its product and its gradient in one dispatch each, where
//! tiles would be split to keep a GPU busy and added up by a second.

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Access, Kernel, check_trips};
use crate::ops::sum;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    few: u32,
    many: u32,
    h: u32,
    w: u32,
    span: u32,
    few_step: u32,
    many_step: u32,
    alpha: f32,
}

const FILE: &str = "ops/conv2d_few.wgsl";
const BINDINGS: &[Access] = &[Read, Read, Write];
const FORWARD: Kernel = Kernel::new::<Params>("conv2d_few.forward", FILE, "forward", BINDINGS);
const BACKWARD_W: Kernel =
    Kernel::new::<Params>("conv2d_few.backward_w", FILE, "backward_w", BINDINGS);

/// Channels up to which there are few.
pub(super) const MOST: usize = 16;
/// Of the few channels, those that a workgroup takes: with windows of 3 x 3, and of a pixel.
const TAKEN: [usize; 2] = [4, 8];
/// Pixels of a split of the gradient: 32 of a thread.
const SPAN: usize = 2048;
/// A workgroup's quads of pixels in `forward`, and its shares of the channels.
const QUADS: usize = 4;
const SHARES: usize = 32;

/// Whether `forward` is better than a tile for a product of [few, many] channels, which that would have in so many splits: up
/// to half of a tile's rows would be empty, or a second dispatch would add up.
pub(super) fn suits([few, many]: [usize; 2], splits: usize) -> bool {
    many >= SHARES && (few <= MOST / 2 || few <= MOST && splits > 1)
}

/// `kernel` for windows of so many taps, 9 or 1.
fn with(kernel: &Kernel, taps: usize) -> &'static Kernel {
    kernel.variant(format!("{}.{taps}", kernel.name), |kernel| {
        kernel.constant("TAPS", taps).constant("FEW", taken(taps))
    })
}

fn taken(taps: usize) -> usize {
    TAKEN[usize::from(taps == 1)]
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![
        with(&FORWARD, 9),
        with(&BACKWARD_W, 9),
        with(&BACKWARD_W, 1),
    ]
}

/// Windows of 3 x 3 with padding 1: x [N, many, H, W] and weight [few, many, 3, 3] -> [N, few, H, W].
pub(super) fn forward(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let op = "conv2d";
    let [n, many, h, w] = [0, 1, 2, 3].map(|i| x.shape()[i]);
    let few = weight.shape()[0];
    check_trips(x.gpu(), op, many.div_ceil(SHARES))?;
    let y = Tensor::empty(x.gpu(), [n, few, h, w])?;
    let params = Params {
        n: n as u32,
        few: few as u32,
        many: many as u32,
        h: h as u32,
        w: w as u32,
        span: 0,
        few_step: 0,
        many_step: 0,
        alpha: 1.0,
    };
    let groups = (n * h * w.div_ceil(4)).div_ceil(QUADS) * few.div_ceil(taken(9));
    let bindings = [weight.buffer(op)?, x.buffer(op)?, y.buffer(op)?];
    x.gpu().run(with(&FORWARD, 9), &params, &bindings, groups)?;
    Ok(y)
}

/// How the gradient of a factor is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    /// A [few, many, 3, 3], which took what has many channels.
    Down,
    /// B [many, few, 1, 1], which took what has few.
    Up,
}

/// `alpha` times a factor's gradient: of what has few channels [N, few, H, W] and what has many [N, many, H, W], one of them
/// what the factor took, the other the gradient of what it gave.
pub(super) fn backward_w(
    few: &Tensor,
    many: &Tensor,
    factor: Factor,
    alpha: f32,
) -> Result<Tensor> {
    let op = "conv2d";
    let gpu = few.gpu();
    let [n, r, h, w] = [0, 1, 2, 3].map(|i| few.shape()[i]);
    let m = many.shape()[1];
    let (taps, shape, steps) = match factor {
        Factor::Down => (9, [r, m, 3, 3], [m * 9, 9]),
        Factor::Up => (1, [m, r, 1, 1], [1, r]),
    };
    // The partial sums fit a binding.
    let most = (gpu.max_binding() / (r * m * taps * 4) as u64).max(1) as usize;
    let span = SPAN.max((n * h * w).div_ceil(most));
    let splits = (n * h * w).div_ceil(span);
    check_trips(gpu, op, span.div_ceil(64))?;
    let params = Params {
        n: n as u32,
        few: r as u32,
        many: m as u32,
        h: h as u32,
        w: w as u32,
        span: span as u32,
        few_step: steps[0] as u32,
        many_step: steps[1] as u32,
        alpha: if splits == 1 { alpha } else { 1.0 },
    };
    let parts: &[usize] = if splits == 1 { &[] } else { &[splits] };
    let dw = Tensor::empty(gpu, [parts, &shape].concat())?;
    let groups = m * r.div_ceil(taken(taps)) * splits;
    let bindings = [few.buffer(op)?, many.buffer(op)?, dw.buffer(op)?];
    gpu.run(with(&BACKWARD_W, taps), &params, &bindings, groups)?;
    match splits {
        1 => Ok(dw),
        _ => sum::forward(&dw, alpha),
    }
}
