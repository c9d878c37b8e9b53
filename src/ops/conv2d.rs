//! `conv2d`: cross-correlation over two dimensions, as PyTorch names it, without bias, groups or dilation.

mod factors;
mod few;

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::check_trips;
use crate::gpu::{Access, Kernel, Tile};
use crate::ops::sum;
use crate::tensor::{Shape, Tensor};
pub(crate) use factors::{backward_a, backward_b, backward_down, down};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    cin: u32,
    h: u32,
    w: u32,
    cout: u32,
    oh: u32,
    ow: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
    padding: u32,
    span: u32,
    accumulate: u32,
}

const FILE: &str = "ops/conv2d.wgsl";
const BINDINGS: &[Access] = &[Read, Read, Write];
const FORWARD: Kernel = Kernel::new::<Params>("conv2d.forward", FILE, "forward", BINDINGS);
const BACKWARD_X: Kernel = Kernel::new::<Params>("conv2d.backward_x", FILE, "backward_x", BINDINGS);
const BACKWARD_W: Kernel = Kernel::new::<Params>("conv2d.backward_w", FILE, "backward_w", BINDINGS);

/// `kernel` on `tile`, for any window or for 3x3 with stride 1 and padding 1.
fn tiled(kernel: &Kernel, fixed: bool, tile: Tile) -> &'static Kernel {
    let named = if fixed { ".3x3" } else { "" };
    kernel.variant(format!("{}{named}.{tile}", kernel.name), |kernel| {
        tile.give(kernel).constant("FIXED_3X3", fixed)
    })
}

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = few::kernels();
    for tile in [Tile::MIDDLE, Tile::FLAT] {
        for kernel in [FORWARD, BACKWARD_X, BACKWARD_W] {
            kernels.extend([false, true].map(|fixed| tiled(&kernel, fixed, tile)));
        }
    }
    // The gradient of a low-rank factor is not of tiles.
    let gone = tiled(&BACKWARD_W, true, Tile::FLAT);
    kernels.retain(|kernel| kernel.name != gone.name);
    kernels
}

/// Output pixels that one workgroup of the weight gradient sums at most, and at least.
const SPANS: [usize; 2] = [4096, 256];
/// Workgroups below which a GPU is not busy, and sums are split.
const BUSY: usize = 256;
/// Workgroups of one image from which on the depth of its sums is not split.
const ENOUGH: usize = 64;
/// Least depth of a split. What the splits of a low-rank factor's product take together is then less than its input.
const LEAST_DEPTH: usize = 160;

/// How a convolution's window moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
}

/// x [N, C, H, W] and weight [M, C, KH, KW] -> [N, M, (H + 2 padding - KH) / stride + 1, ...].
///
/// # Errors
/// [`Error::Shape`] where they do not go together.
pub fn conv2d(tape: &mut Tape, x: &Var, weight: &Var, how: Conv2d) -> Result<Var> {
    let params = plan(x.tensor.shape(), weight.tensor.shape(), how)?;
    let y = forward(&x.tensor, &weight.tensor, &params)?;
    tape.record(y, &[x, weight], || Rule {
        params,
        weight_shape: weight.tensor.shape().clone(),
        x: weight.is_tracked().then(|| x.tensor.clone()),
        weight: x.is_tracked().then(|| weight.tensor.clone()),
    })
}

fn plan(x: &Shape, weight: &Shape, how: Conv2d) -> Result<Params> {
    let fits = x.rank() == 4
        && weight.rank() == 4
        && how.stride > 0
        && x[1] == weight[1]
        && x[2] + 2 * how.padding >= weight[2]
        && x[3] + 2 * how.padding >= weight[3];
    if !fits {
        let expected = format!(
            "[N, C, H, W] and [M, C, KH, KW] no larger than the input with its padding {}, stride {} at least 1",
            how.padding, how.stride
        );
        return Err(Error::shapes("conv2d", expected, x, weight));
    }
    let out =
        |size: usize, kernel: usize| ((size + 2 * how.padding - kernel) / how.stride + 1) as u32;
    Ok(Params {
        n: x[0] as u32,
        cin: x[1] as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        cout: weight[0] as u32,
        oh: out(x[2], weight[2]),
        ow: out(x[3], weight[3]),
        kernel_h: weight[2] as u32,
        kernel_w: weight[3] as u32,
        stride: how.stride as u32,
        padding: how.padding as u32,
        span: 0,
        accumulate: 0,
    })
}

impl Params {
    /// Whether the kernel for 3x3 windows, stride 1 and padding 1 serves.
    fn fixed(&self) -> bool {
        [self.kernel_h, self.kernel_w, self.stride, self.padding] == [3, 3, 1, 1]
    }

    fn taps(&self) -> usize {
        (self.kernel_h * self.kernel_w) as usize
    }
}

/// The tile for so many channels: low-rank factors have few.
fn tile(channels: u32) -> Tile {
    if channels as usize <= few::MOST {
        Tile::FLAT
    } else {
        Tile::MIDDLE
    }
}

/// What a product of `tile` is split into: the depth of a split, and how many. By one image, so that what it gives does not
/// depend on how many others there are.
fn split(tile: Tile, [channels, plane]: [usize; 2], depth: usize) -> (usize, usize) {
    let most = match tile == Tile::FLAT {
        true => ENOUGH / tile.groups(channels, plane),
        false => 1,
    };
    let span = depth.div_ceil(most.clamp(1, depth.div_ceil(LEAST_DEPTH)));
    let span = span.next_multiple_of(tile.depth);
    (span, depth.div_ceil(span))
}

/// `kernel` on the weight and `x` for a result of `shape`, a sum over `depth`; added to `onto`, where there is one.
fn product(
    kernel: &Kernel,
    [weight, x]: [&Tensor; 2],
    shape: [usize; 4],
    depth: usize,
    p: &Params,
    onto: Option<Tensor>,
) -> Result<Tensor> {
    let [n, channels, h, w] = shape;
    let tile = tile(channels as u32);
    let (span, splits) = split(tile, [channels, h * w], depth);
    check_trips(x.gpu(), "conv2d", tile.trips(span))?;
    // One sum is added in place, what splits give after they are added up.
    let (y, onto) = match (splits, onto) {
        (1, Some(onto)) => (onto, Onto::Itself),
        (1, None) => (Tensor::empty(x.gpu(), shape)?, Onto::Nothing),
        (_, onto) => {
            let parts = Tensor::empty(x.gpu(), [&[splits], &shape[..]].concat())?;
            (parts, onto.map_or(Onto::Nothing, Onto::Other))
        }
    };
    let p = &Params {
        span: span as u32,
        accumulate: u32::from(matches!(onto, Onto::Itself)),
        ..*p
    };
    let groups = tile.groups(channels, n * h * w) * splits;
    let bindings = [
        weight.buffer("conv2d")?,
        x.buffer("conv2d")?,
        y.buffer("conv2d")?,
    ];
    x.gpu()
        .run(tiled(kernel, p.fixed(), tile), p, &bindings, groups)?;
    let y = match splits {
        1 => y,
        _ => sum::forward(&y, 1.0)?,
    };
    match onto {
        Onto::Other(onto) => onto.plus(&y),
        Onto::Itself | Onto::Nothing => Ok(y),
    }
}

/// What a product is added to.
enum Onto {
    Nothing,
    /// What its own memory holds.
    Itself,
    Other(Tensor),
}

fn forward(x: &Tensor, weight: &Tensor, p: &Params) -> Result<Tensor> {
    let shape = [p.n, p.cout, p.oh, p.ow].map(|d| d as usize);
    let (channels, depth) = (shape[1], p.cin as usize * p.taps());
    let splits = split(tile(p.cout), [channels, shape[2] * shape[3]], depth).1;
    if p.fixed() && few::suits([channels, p.cin as usize], splits) {
        return few::forward(x, weight);
    }
    product(&FORWARD, [weight, x], shape, depth, p, None)
}

fn backward_x(dy: &Tensor, weight: &Tensor, p: &Params, onto: Option<Tensor>) -> Result<Tensor> {
    let shape = [p.n, p.cin, p.h, p.w].map(|d| d as usize);
    let depth = p.cout as usize * p.taps();
    product(&BACKWARD_X, [weight, dy], shape, depth, p, onto)
}

fn backward_w([dy, x]: [&Tensor; 2], shape: &Shape, alpha: f32, p: &Params) -> Result<Tensor> {
    if p.fixed() && p.cout as usize <= few::MOST {
        return few::backward_w(dy, x, few::Factor::Down, alpha);
    }
    let tile = tile(p.cout);
    let columns = p.cin as usize * p.taps();
    let pixels = (p.n * p.oh * p.ow) as usize;
    // The partial sums fit a binding.
    let part = p.cout as u64 * columns as u64 * 4;
    let most = (dy.gpu().max_binding() / part).max(1) as usize;
    let groups = tile.groups(p.cout as usize, columns);
    let busy = pixels.div_ceil(BUSY.div_ceil(groups));
    let span = busy.clamp(SPANS[1], SPANS[0]).max(pixels.div_ceil(most));
    let span = span.next_multiple_of(tile.depth);
    check_trips(dy.gpu(), "conv2d", tile.trips(span))?;
    let splits = pixels.div_ceil(span);
    let p = &Params {
        span: span as u32,
        ..*p
    };
    let partial = Tensor::empty(dy.gpu(), [splits, p.cout as usize, columns])?;
    let groups = groups * splits;
    let bindings = [
        dy.buffer("conv2d")?,
        x.buffer("conv2d")?,
        partial.buffer("conv2d")?,
    ];
    let kernel = tiled(&BACKWARD_W, p.fixed(), tile);
    dy.gpu().run(kernel, p, &bindings, groups)?;
    if splits == 1 && alpha == 1.0 {
        return Ok(partial.reshaped(shape.clone()));
    }
    Ok(sum::forward(&partial, alpha)?.reshaped(shape.clone()))
}

struct Rule {
    params: Params,
    weight_shape: Shape,
    x: Option<Tensor>,
    weight: Option<Tensor>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = self
            .weight
            .map(|weight| backward_x(dy, &weight, &self.params, None));
        let dw = self
            .x
            .map(|x| backward_w([dy, &x], &self.weight_shape, 1.0, &self.params));
        Ok(vec![
            dx.transpose()?.map(Gradient::from),
            dw.transpose()?.map(Gradient::from),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |x: [usize; 4], weight: [usize; 4], stride: usize, padding: usize| {
        let how = Conv2d { stride, padding };
        Case::new(
            "conv2d",
            format!("{x:?} by {weight:?} stride {stride} padding {padding}"),
            [Input::normal(x), Input::normal(weight)],
            move |tape, v| conv2d(tape, &v[0], &v[1], how),
            move |v| {
                let p = plan(&x.into(), &weight.into(), how).expect("the shapes of this case fit");
                reference(&v[0], &v[1], &p)
            },
        )
        // The zeros around the input are multiplied too: by a weight or a gradient that is NaN.
        .mixing()
    };
    vec![
        case([1, 1, 1, 1], [1, 1, 3, 3], 1, 1),
        case([2, 3, 17, 19], [5, 3, 3, 3], 1, 1),
        case([1, 17, 8, 9], [66, 17, 3, 3], 1, 1),
        case([2, 4, 11, 7], [3, 4, 5, 2], 2, 2),
        case([1, 7, 6, 5], [65, 7, 1, 1], 1, 0),
        case([1, 2, 70, 61], [2, 2, 3, 3], 1, 1),
        case([2, 70, 5, 7], [3, 70, 3, 3], 1, 1),
        case([2, 3, 5, 7], [300, 3, 1, 1], 1, 0),
        // Few channels out of many, by shares of them: whole quads of pixels and not, planes smaller than a workgroup.
        case([2, 321, 5, 7], [5, 321, 3, 3], 1, 1),
        case([3, 330, 2, 3], [9, 330, 3, 3], 1, 1),
        case([1, 340, 8, 4], [16, 340, 3, 3], 1, 1),
        // A gradient in splits.
        case([1, 2, 50, 43], [3, 2, 3, 3], 1, 1),
    ]
}

/// The definition for 3x3 with stride 1 and padding 1, for the cases of the frozen layers.
pub(crate) fn reference_3x3(x: &[f64], weight: &[f64], shape: [usize; 4], cout: usize) -> Vec<f64> {
    let how = Conv2d {
        stride: 1,
        padding: 1,
    };
    let p = plan(&shape.into(), &[cout, shape[1], 3, 3].into(), how);
    reference(x, weight, &p.expect("the shapes of this case fit"))
}

/// The definition, in f64.
fn reference(x: &[f64], weight: &[f64], p: &Params) -> Vec<f64> {
    let [n, cin, h, w] = [p.n, p.cin, p.h, p.w].map(|d| d as usize);
    let [cout, oh, ow] = [p.cout, p.oh, p.ow].map(|d| d as usize);
    let [kernel_h, kernel_w] = [p.kernel_h, p.kernel_w].map(|d| d as usize);
    let [stride, padding] = [p.stride, p.padding].map(|d| d as usize);
    let mut y = vec![0.0; n * cout * oh * ow];
    for (plane, y) in y.chunks_mut(oh * ow).enumerate() {
        let (image, m) = (plane / cout, plane % cout);
        for j in 0..cin * kernel_h * kernel_w {
            let (c, r, s) = (
                j / (kernel_h * kernel_w),
                (j / kernel_w) % kernel_h,
                j % kernel_w,
            );
            let weight = weight[m * cin * kernel_h * kernel_w + j];
            let x = &x[(image * cin + c) * h * w..][..h * w];
            for (oy, y) in y.chunks_mut(ow).enumerate() {
                let Some(row) = (oy * stride + r).checked_sub(padding).filter(|&iy| iy < h) else {
                    continue;
                };
                for (ox, y) in y.iter_mut().enumerate() {
                    let ix = (ox * stride + s).wrapping_sub(padding);
                    if ix < w {
                        *y += weight * x[row * w + ix];
                    }
                }
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::{Conv2d, plan};

    #[test]
    fn channels_must_agree_and_windows_must_fit() {
        let how = Conv2d {
            stride: 1,
            padding: 1,
        };
        let x = [1, 3, 5, 5].into();
        assert!(plan(&x, &[4, 3, 3, 3].into(), how).is_ok());
        assert!(plan(&x, &[4, 2, 3, 3].into(), how).is_err());
        assert!(plan(&x, &[4, 3, 8, 3].into(), how).is_err());
        assert!(plan(&x, &[4, 3, 3].into(), how).is_err());
        assert!(
            plan(
                &x,
                &[4, 3, 3, 3].into(),
                Conv2d {
                    stride: 0,
                    padding: 1
                }
            )
            .is_err()
        );
    }
}
