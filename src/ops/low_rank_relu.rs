//! `low_rank_relu`: relu(y + s B h), maybe with a 2 x 2 max-pool: what is left of an adapted convolution after the frozen
//! product y and the LoRA's inner one h, in one go over the planes. `low_rank` is the same of a linear layer.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Kernel, check_trips};
use crate::ops::max_pool2d::larger;
use crate::ops::relu::{self, Floor};
use crate::ops::{conv2d, sum};
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    cout: u32,
    h: u32,
    w: u32,
    rank: u32,
    span: u32,
    scale: f32,
    floor: Floor,
}

const FILE: &str = "ops/low_rank_relu.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "low_rank_relu.forward",
    FILE,
    "forward",
    &[Read, Read, Read, Write],
);
static FORWARD_POOLED: Kernel = Kernel::new::<Params>(
    "low_rank_relu.forward_pooled",
    FILE,
    "forward_pooled",
    &[Read, Read, Read, Write, Write],
);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "low_rank_relu.backward",
    FILE,
    "backward",
    &[Read, Read, Read, Write, Write],
);
static BACKWARD_POOLED: Kernel = Kernel::new::<Params>(
    "low_rank_relu.backward_pooled",
    FILE,
    "backward_pooled",
    &[Read, Read, Read, Write, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &FORWARD_POOLED, &BACKWARD, &BACKWARD_POOLED]
}

/// Pixels of a workgroup, and windows.
const LANES: usize = 64;
/// Ranks that a workgroup of the gradient sums.
const RANKS: usize = 8;
/// Workgroups of one image from which on the gradient's sums over the channels are not split.
const ENOUGH: usize = 64;
/// Least channels of a split.
const LEAST_SPAN: usize = 32;

/// A LoRA's share of a convolution.
pub(crate) struct Share<'a> {
    /// A x, [N, R, H, W].
    pub(crate) hidden: &'a Var,
    /// [M, R, 1, 1].
    pub(crate) b: &'a Var,
    pub(crate) scale: f32,
}

/// `relu(y + scale B h)`: y [N, M, H, W] -> the same, or where it is `pooled` the largest of each 2 x 2: [N, M, H/2, W/2],
/// rounded down.
///
/// # Errors
/// [`Error::Shape`] where they do not go together.
pub(crate) fn low_rank_relu(tape: &mut Tape, y: &Var, share: &Share, pooled: bool) -> Result<Var> {
    let Share { hidden, b, scale } = share;
    let params = params([y, hidden, b].map(|v| v.tensor.shape()), pooled, *scale)?;
    let gpu = y.tensor.gpu();
    let op = "low_rank_relu";
    check_trips(gpu, op, params.rank as usize)?;
    let [n, cout, h, w] = [params.n, params.cout, params.h, params.w].map(|d| d as usize);
    let shape = match pooled {
        true => [n, cout, h / 2, w / 2],
        false => [n, cout, h, w],
    };
    let out = Tensor::empty(gpu, shape)?;
    let mut bindings = vec![
        y.tensor.buffer(op)?,
        hidden.tensor.buffer(op)?,
        b.tensor.buffer(op)?,
        out.buffer(op)?,
    ];
    let groups = (n * shape[2] * shape[3] * cout.div_ceil(4)).div_ceil(LANES);
    let saved = match pooled {
        true => {
            let winners = Tensor::empty(gpu, shape)?;
            bindings.push(winners.buffer(op)?);
            gpu.run(&FORWARD_POOLED, &params, &bindings, groups)?;
            winners
        }
        false => {
            gpu.run(&FORWARD, &params, &bindings, groups)?;
            out.clone()
        }
    };
    tape.record(out, &[y, hidden, b], || Rule {
        params,
        pooled,
        saved,
        hidden: hidden.tensor.clone(),
        b: b.tensor.clone(),
    })
}

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
        span: span(y[2] * y[3], y[1], hidden[1]) as u32,
        scale,
        floor: Floor::RELU,
    })
}

/// The channels of a split. By one image, so that what it gives does not depend on how many others there are; and so
/// many that what the splits give together is at most a quarter of the planes.
fn span(plane: usize, cout: usize, rank: usize) -> usize {
    let most = cout / LEAST_SPAN.max(4 * rank);
    let splits = (ENOUGH / plane.div_ceil(LANES)).min(most);
    cout.div_ceil(splits.max(1))
}

struct Rule {
    params: Params,
    pooled: bool,
    /// The result, whose zeros hand no gradient down, or where it is pooled which pixel each of its numbers came from.
    saved: Tensor,
    hidden: Tensor,
    b: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let op = "low_rank_relu";
        let (gpu, p) = (dy.gpu(), &self.params);
        let [n, cout, h, w, rank] = [p.n, p.cout, p.h, p.w, p.rank].map(|d| d as usize);
        check_trips(gpu, op, p.span as usize)?;
        let splits = cout.div_ceil(p.span as usize);
        let dz = Tensor::empty(gpu, [n, cout, h, w])?;
        let parts: &[usize] = if splits == 1 { &[] } else { &[splits] };
        let dhidden = Tensor::empty(gpu, [parts, &[n, rank, h, w]].concat())?;
        let bindings = [
            dy.buffer(op)?,
            self.saved.buffer(op)?,
            self.b.buffer(op)?,
            dz.buffer(op)?,
            dhidden.buffer(op)?,
        ];
        let kernel = match self.pooled {
            true => &BACKWARD_POOLED,
            false => &BACKWARD,
        };
        let groups = (n * h * w).div_ceil(LANES) * splits * rank.div_ceil(RANKS);
        gpu.run(kernel, p, &bindings, groups)?;
        let dhidden = match (wanted[1], splits) {
            (false, _) => None,
            (true, 1) => Some(dhidden),
            (true, _) => Some(sum::forward(&dhidden, 1.0)?),
        };
        let db = match wanted[2] {
            true => Some(conv2d::backward_b(&dz, &self.hidden, p.scale)?),
            false => None,
        };
        Ok(vec![
            wanted[0].then(|| dz.into()),
            dhidden.map(Gradient::from),
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
    use super::{params, span};

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

    #[test]
    fn splits_together_are_no_more_than_a_quarter_of_the_planes() {
        for (plane, cout, rank) in [(196, 512, 4), (196, 512, 64), (1, 64, 16), (784, 512, 8)] {
            let span = span(plane, cout, rank);
            assert!(span <= cout && cout.div_ceil(span) * rank <= (cout / 4).max(rank));
        }
        assert_eq!(span(196, 512, 4), 32);
        assert_eq!(span(224 * 224, 64, 4), 64);
        // A split is worth a second dispatch only where both halves are whole.
        assert_eq!([span(16, 63, 4), span(16, 64, 4)], [63, 32]);
    }
}
