//! `low_rank_relu`: relu(y + s B h), maybe with a 2 x 2 max-pool: what is left of an adapted convolution after the frozen
//! product y and the LoRA's inner one h, in one go over the planes. `low_rank` is the same of a linear layer.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Kernel, check_trips};
use crate::ops::conv2d;
use crate::ops::max_pool2d::larger;
use crate::ops::relu::{self, Floor};
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    cout: u32,
    h: u32,
    w: u32,
    rank: u32,
    scale: f32,
    floor: Floor,
}

const FILE: &str = "ops/low_rank_relu.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "low_rank_relu.forward",
    FILE,
    "forward",
    &[Read, Read, Write, Read],
);
static FORWARD_POOLED: Kernel = Kernel::new::<Params>(
    "low_rank_relu.forward_pooled",
    FILE,
    "forward_pooled",
    &[Read, Read, Write, Read, Write],
);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "low_rank_relu.backward",
    FILE,
    "backward",
    &[Read, Read, Write, Read, Write],
);
static BACKWARD_POOLED: Kernel = Kernel::new::<Params>(
    "low_rank_relu.backward_pooled",
    FILE,
    "backward_pooled",
    &[Read, Read, Write, Read, Write],
);
static BACKWARD_POOL: Kernel = Kernel::new::<Params>(
    "low_rank_relu.backward_pool",
    FILE,
    "backward_pool",
    &[Read, Read, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![
        &FORWARD,
        &FORWARD_POOLED,
        &BACKWARD,
        &BACKWARD_POOLED,
        &BACKWARD_POOL,
    ]
}

/// Pixels of a workgroup forward, and windows.
const LANES: usize = 64;
/// Ranks and pixels of a workgroup of the gradient, and the shares that its threads have of the channels.
const RANKS: usize = 8;
const PIXELS: usize = 16;
const SHARES: usize = 16;

/// A LoRA's share of a convolution.
pub(crate) struct Share<'a, T> {
    /// A x, [N, R, H, W].
    pub(crate) hidden: &'a T,
    /// [M, R, 1, 1].
    pub(crate) b: &'a T,
    pub(crate) scale: f32,
}

/// `relu(y + scale B h)`: y [N, M, H, W] -> the same, or where it is `pooled` the largest of each 2 x 2: [N, M, H/2, W/2],
/// rounded down.
///
/// # Errors
/// [`Error::Shape`] where they do not go together.
pub(crate) fn low_rank_relu(
    tape: &mut Tape,
    y: &Var,
    share: &Share<Var>,
    pooled: bool,
) -> Result<Var> {
    let Share { hidden, b, scale } = share;
    let share = Share {
        hidden: &hidden.tensor,
        b: &b.tensor,
        scale: *scale,
    };
    let (out, kept) = forward(&y.tensor, &share, pooled)?;
    tape.record(out, &[y, hidden, b], || Rule {
        kept,
        hidden: hidden.tensor.clone(),
        b: b.tensor.clone(),
        scale: *scale,
    })
}

/// What the gradient of ReLU, and of a pool after it, needs.
pub(crate) enum Kept {
    /// The result, whose zeros hand no gradient down: [N, M, H, W].
    Result(Tensor),
    /// Which of its pixels each number of the pooled result came from, and the sides before the pool.
    Winners(Tensor, [usize; 2]),
}

/// [`low_rank_relu`] off the tape, with what its gradient needs.
pub(crate) fn forward(y: &Tensor, share: &Share<Tensor>, pooled: bool) -> Result<(Tensor, Kept)> {
    let Share { hidden, b, scale } = share;
    let op = "low_rank_relu";
    let params = params([y, hidden, b].map(Tensor::shape), pooled, *scale)?;
    let gpu = y.gpu();
    check_trips(gpu, op, params.rank as usize)?;
    let [n, cout, h, w] = [params.n, params.cout, params.h, params.w].map(|d| d as usize);
    let shape = match pooled {
        true => [n, cout, h / 2, w / 2],
        false => [n, cout, h, w],
    };
    let out = Tensor::empty(gpu, shape)?;
    let mut bindings = vec![
        y.buffer(op)?,
        hidden.buffer(op)?,
        out.buffer(op)?,
        b.buffer(op)?,
    ];
    let groups = (n * shape[2] * shape[3] * cout.div_ceil(4)).div_ceil(LANES);
    if !pooled {
        gpu.run(&FORWARD, &params, &bindings, groups)?;
        return Ok((out.clone(), Kept::Result(out)));
    }
    let winners = Tensor::empty(gpu, shape)?;
    bindings.push(winners.buffer(op)?);
    gpu.run(&FORWARD_POOLED, &params, &bindings, groups)?;
    Ok((out, Kept::Winners(winners, [h, w])))
}

/// Whether what a LoRA adds goes together with a product y.
///
/// # Errors
/// [`Error::Shape`] where it does not.
fn params(shapes: [&Shape; 3], pooled: bool, scale: f32) -> Result<Params> {
    let [y, hidden, b] = shapes;
    let fits = shapes.iter().all(|shape| shape.rank() == 4)
        && b.dims() == [y[1], hidden[1], 1, 1]
        && [hidden[0], hidden[2], hidden[3]] == [y[0], y[2], y[3]]
        && (!pooled || (y[2] >= 2 && y[3] >= 2));
    if !fits {
        let sides = if pooled { " from 2" } else { "" };
        return Err(Error::shape(
            "low_rank_relu",
            format!("y [N, M, H, W] and h [N, R, H, W] with H and W{sides}, B [M, R, 1, 1]"),
            format!("{y}, {hidden} and {b}"),
        ));
    }
    Ok(Params {
        n: y[0] as u32,
        cout: y[1] as u32,
        h: y[2] as u32,
        w: y[3] as u32,
        rank: hidden[1] as u32,
        scale,
        floor: Floor::RELU,
    })
}

/// From `dy`, the gradient of what was `kept` of, those of y [N, M, H, W] and of h [N, R, H, W], B being [M, R, 1, 1].
pub(crate) fn backward(
    dy: &Tensor,
    kept: &Kept,
    b: &Tensor,
    scale: f32,
) -> Result<(Tensor, Tensor)> {
    let op = "low_rank_relu";
    let gpu = dy.gpu();
    let (kernel, saved, [h, w]) = match kept {
        Kept::Result(y) => (&BACKWARD, y, [y.shape()[2], y.shape()[3]]),
        Kept::Winners(winners, sides) => (&BACKWARD_POOLED, winners, *sides),
    };
    let [n, cout, rank] = [dy.shape()[0], dy.shape()[1], b.shape()[1]];
    check_trips(gpu, op, cout.div_ceil(SHARES))?;
    let dz = Tensor::empty(gpu, [n, cout, h, w])?;
    let dhidden = Tensor::empty(gpu, [n, rank, h, w])?;
    let params = params([dz.shape(), dhidden.shape(), b.shape()], false, scale)?;
    let bindings = [
        dy.buffer(op)?,
        saved.buffer(op)?,
        dz.buffer(op)?,
        b.buffer(op)?,
        dhidden.buffer(op)?,
    ];
    let groups = (n * h * w).div_ceil(PIXELS) * rank.div_ceil(RANKS);
    gpu.run(kernel, &params, &bindings, groups)?;
    Ok((dz, dhidden))
}

/// The same where there is no LoRA: the gradient of y.
pub(crate) fn backward_relu(dy: &Tensor, kept: &Kept) -> Result<Tensor> {
    let op = "low_rank_relu";
    let (winners, [h, w]) = match kept {
        Kept::Result(y) => return relu::backward(y, dy),
        Kept::Winners(winners, sides) => (winners, *sides),
    };
    let [n, cout] = [dy.shape()[0], dy.shape()[1]];
    let dz = Tensor::empty(dy.gpu(), [n, cout, h, w])?;
    let params = Params {
        n: n as u32,
        cout: cout as u32,
        h: h as u32,
        w: w as u32,
        rank: 0,
        scale: 0.0,
        floor: Floor::RELU,
    };
    let bindings = [dy.buffer(op)?, winners.buffer(op)?, dz.buffer(op)?];
    let groups = dz.shape().len().div_ceil(256);
    dy.gpu().run(&BACKWARD_POOL, &params, &bindings, groups)?;
    Ok(dz)
}

struct Rule {
    kept: Kept,
    hidden: Tensor,
    b: Tensor,
    scale: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let (dz, dhidden) = backward(dy, &self.kept, &self.b, self.scale)?;
        let db = wanted[2].then(|| conv2d::backward_b(&dz, &self.hidden, self.scale));
        let db = db.transpose()?;
        Ok(vec![
            wanted[0].then(|| dz.into()),
            wanted[1].then(|| dhidden.into()),
            db.map(Gradient::from),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |[n, cout, h, w]: [usize; 4], rank: usize, scale: f32, pooled: bool| {
        let pool = if pooled { ", pooled" } else { "" };
        Case::new(
            "low_rank_relu",
            format!("[{n}, {cout}, {h}, {w}] rank {rank} scale {scale}{pool}"),
            [
                Input::normal([n, cout, h, w]),
                Input::normal([n, rank, h, w]),
                Input::normal([cout, rank, 1, 1]),
            ],
            move |tape, v| {
                let share = Share {
                    hidden: &v[1],
                    b: &v[2],
                    scale,
                };
                low_rank_relu(tape, &v[0], &share, pooled)
            },
            move |v| reference(v, [n, cout, h, w], scale, pooled),
        )
    };
    vec![
        case([1, 1, 1, 1], 1, 1.0, false),
        case([2, 5, 7, 9], 3, 0.5, false),
        case([1, 70, 4, 5], 9, -2.0, false),
        case([3, 150, 3, 3], 17, 0.25, false),
        case([2, 97, 5, 13], 2, 0.25, false),
        case([1, 1, 2, 2], 1, 1.0, true),
        case([2, 7, 9, 12], 3, 0.5, true),
        case([1, 67, 5, 4], 8, -0.5, true),
    ]
}

/// The definition in f64.
fn reference(v: &[Vec<f64>], [n, cout, h, w]: [usize; 4], scale: f32, pooled: bool) -> Vec<f64> {
    let (plane, rank) = (h * w, v[2].len() / cout);
    let at = |image: usize, m: usize, pixel: usize| {
        let terms =
            (0..rank).map(|r| v[2][m * rank + r] * v[1][(image * rank + r) * plane + pixel]);
        let add: f64 = terms.sum();
        relu::reference(v[0][(image * cout + m) * plane + pixel] + f64::from(scale) * add)
    };
    let mut y = Vec::new();
    for channel in 0..n * cout {
        let at = |pixel| at(channel / cout, channel % cout, pixel);
        if !pooled {
            y.extend((0..plane).map(at));
            continue;
        }
        for window in 0..(h / 2) * (w / 2) {
            let corner = window / (w / 2) * 2 * w + window % (w / 2) * 2;
            let pixels = [corner, corner + 1, corner + w, corner + w + 1].map(at);
            y.push(pixels.into_iter().fold(f64::NEG_INFINITY, larger));
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::params;

    #[test]
    fn planes_and_factors_must_go_together() {
        let (y, hidden, b) = (
            [2, 7, 4, 3].into(),
            [2, 5, 4, 3].into(),
            [7, 5, 1, 1].into(),
        );
        assert!(params([&y, &hidden, &b], true, 1.0).is_ok());
        assert!(params([&y, &y, &b], true, 1.0).is_err());
        assert!(params([&y, &hidden, &hidden], true, 1.0).is_err());
        assert!(params([&y, &[1, 5, 4, 3].into(), &b], true, 1.0).is_err());
        let (flat, low) = ([2, 7, 1, 3].into(), [2, 5, 1, 3].into());
        assert!(params([&flat, &low, &b], false, 1.0).is_ok());
        assert!(params([&flat, &low, &b], true, 1.0).is_err());
    }
}
