//! `linear`: x w^T for few rows x and a weight of any size, which may be in parts (see [`Tensor`]).
//!
//! The sum behind an element of the result depends on its row and the weight alone, never on how many
//! other rows there are: a cached logit and one computed in another batch have the same bits.

mod cases;
mod cut;
mod kernels;
mod narrow;
mod tune;

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::IMAGE_LEAST;
use crate::gpu::check_trips;
use crate::ops::sum;
use crate::tensor::{Halves, Precision, Shape, Tensor};
pub(crate) use cases::cases;
pub(super) use cases::reference;
use cut::{Cut, ROWS_PER_PASS};
pub(crate) use cut::{Cuts, Site};
pub(crate) use kernels::kernels;
use kernels::{
    BACKWARD_X, BACKWARD_X_QUADS, FORWARD, FORWARD_QUADS, IMAGE_GROUPS, Params,
    image_backward_kernel, image_kernel, stored,
};
pub(crate) use tune::Tuner;

/// Rows of a weight from which on its columns are not split on software devices.
const BUSY: usize = 512;

/// `x w^T`: [N, K] and [M, K] -> [N, M].
///
/// # Errors
/// [`Error::Shape`] where the columns differ.
pub fn linear(tape: &mut Tape, x: &Var, w: &Var) -> Result<Var> {
    let y = forward(&x.tensor, &w.tensor, 1.0)?;
    tape.record(y, &[x, w], || Rule {
        x: w.is_tracked().then(|| x.tensor.clone()),
        w: x.is_tracked().then(|| w.tensor.clone()),
    })
}

/// The same for a frozen weight, cut up as was chosen for it.
pub(crate) fn linear_frozen(tape: &mut Tape, x: &Var, w: &Frozen, cuts: Cuts) -> Result<Var> {
    let y = forward(&x.tensor, w.weight().cut(cuts), 1.0)?;
    tape.record(y, &[x], || FrozenRule { w: w.clone(), cuts })
}

/// A weight that nothing trains.
#[derive(Clone)]
pub(crate) enum Frozen {
    Plain(Tensor),
    Halves(Halves),
}

impl Frozen {
    fn weight(&self) -> Weight<'_> {
        match self {
            Frozen::Plain(weight) => weight.into(),
            Frozen::Halves(weight) => weight.into(),
        }
    }
}

/// A weight [M, K], in either precision.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    /// The numbers, or words of two.
    memory: &'a Tensor,
    shape: &'a Shape,
    precision: Precision,
    cuts: Cuts,
}

impl<'a> From<&'a Tensor> for Weight<'a> {
    fn from(w: &'a Tensor) -> Self {
        Weight {
            memory: w,
            shape: w.shape(),
            precision: Precision::F32,
            cuts: Cuts::default(),
        }
    }
}

impl<'a> From<&'a Halves> for Weight<'a> {
    fn from(w: &'a Halves) -> Self {
        Weight {
            memory: &w.words,
            shape: &w.shape,
            precision: Precision::F16,
            cuts: Cuts::default(),
        }
    }
}

impl Weight<'_> {
    /// The same, cut up so.
    fn cut(self, cuts: Cuts) -> Self {
        Weight { cuts, ..self }
    }

    /// As [`Tensor::image_lanes`]; half precision is not read as an image.
    fn image_lanes(&self) -> Option<usize> {
        let lanes = self.memory.image_lanes();
        lanes.filter(|_| self.precision == Precision::F32)
    }
}

fn params(n: usize, w: &Shape, alpha: f32) -> Params {
    Params {
        n: n as u32,
        k: w[1] as u32,
        out: w[0] as u32,
        out_start: 0,
        out_total: w[0] as u32,
        span: 0,
        first: 0,
        split: 0,
        accumulate: 0,
        alpha,
    }
}

fn check(x: &Shape, w: &Shape) -> Result<()> {
    if x.rank() != 2 || w.rank() != 2 || x[1] != w[1] {
        return Err(Error::shapes("linear", "[N, K] and [M, K]", x, w));
    }
    Ok(())
}

/// `alpha x w^T` off the tape.
pub(super) fn forward<'w>(x: &Tensor, w: impl Into<Weight<'w>>, alpha: f32) -> Result<Tensor> {
    let w = w.into();
    check(x.shape(), w.shape)?;
    let (n, k, out) = (x.shape()[0], x.shape()[1], w.shape[0]);
    // One row of x is an image then, so that the choice does not depend on how many there are.
    let long = k.is_multiple_of(4) && k as u64 * 4 >= IMAGE_LEAST;
    let images = w.image_lanes().filter(|_| long);
    if w.precision == Precision::F32 && narrow::suits(w.memory) {
        return narrow::forward(x, w.memory, alpha, None);
    }
    let cut = w.cuts.forward.unwrap_or(Cut::forward(out));
    let (kernel, rows, outs) = match images {
        // All rows of a low-rank factor where it has few: x is the larger part of what is read.
        Some(lanes) => {
            let (rows, outs) = (n.min(5), if out <= 10 { out } else { 8 });
            (image_kernel(lanes, rows, outs), rows, outs)
        }
        None => {
            let (rows, outs) = (n.min(cut.rows), cut.outs);
            let kernel = if k.is_multiple_of(4) {
                &FORWARD_QUADS
            } else {
                &FORWARD
            };
            (stored(kernel, w.precision, rows, outs), rows, outs)
        }
    };
    // Where w alone keeps the device busy, a workgroup walks whole rows of it: they stream best.
    let span = if images.is_some() && out >= BUSY {
        k
    } else {
        cut.span
    };
    let splits = k.div_ceil(span);
    let y = Tensor::empty(x.gpu(), [splits, n, out])?;
    for (range, part) in w.memory.parts() {
        let params = Params {
            out: range.len() as u32,
            out_start: range.start as u32,
            span: span as u32,
            ..params(n, w.shape, alpha)
        };
        let groups = n.div_ceil(rows) * range.len().div_ceil(outs) * splits;
        let bindings = [x.buffer("linear")?, part, y.buffer("linear")?];
        x.gpu().run(kernel, &params, &bindings, groups)?;
    }
    if splits == 1 {
        return Ok(y.reshaped([n, out]));
    }
    sum::forward(&y, 1.0)
}

/// `onto + alpha x w^T` off the tape.
pub(super) fn forward_onto(onto: &Tensor, x: &Tensor, w: &Tensor, alpha: f32) -> Result<Tensor> {
    check(x.shape(), w.shape())?;
    match narrow::suits(w) {
        true => narrow::forward(x, w, alpha, Some(onto)),
        false => forward(x, w, alpha)?.plus(onto),
    }
}

/// `alpha dy w`: the gradient of x.
pub(super) fn backward_x<'w>(dy: &Tensor, w: impl Into<Weight<'w>>, alpha: f32) -> Result<Tensor> {
    let w = w.into();
    let (n, k) = (dy.shape()[0], w.shape[1]);
    if w.precision == Precision::F32 && narrow::suits(w.memory) {
        return narrow::backward_x(dy, w.memory, alpha);
    }
    let wide = k.is_multiple_of(4);
    // The sums over w's parts lie beside each other until they are added.
    let fits = (w.memory.parts().count() * n * k * 4) as u64 <= dy.gpu().max_binding();
    if let Some(lanes) = w.image_lanes().filter(|_| wide && fits) {
        return backward_x_image(dy, w.memory, alpha, lanes);
    }
    let cut = w.cuts.backward.unwrap_or(Cut::backward(k, w.shape[0]));
    let (rows, span) = (n.min(cut.rows), cut.span);
    let (kernel, columns) = match k.is_multiple_of(4) {
        true => (&BACKWARD_X_QUADS, k / 4),
        false => (&BACKWARD_X, k),
    };
    let kernel = stored(kernel, w.precision, rows, cut.outs);
    let groups = columns.div_ceil(64);
    let splits = |rows: usize| rows.div_ceil(span);
    let all: usize = w.memory.parts().map(|(range, _)| splits(range.len())).sum();
    let groups = groups * n.div_ceil(rows);
    let run = |part, out: &Tensor, params: Params, splits: usize| {
        let bindings = [dy.buffer("linear")?, part, out.buffer("linear")?];
        dy.gpu().run(kernel, &params, &bindings, groups * splits)
    };
    if (all * n * k * 4) as u64 <= dy.gpu().max_binding() {
        let sums = Tensor::empty(dy.gpu(), [all, n, k])?;
        let mut split = 0;
        for (range, part) in w.memory.parts() {
            let params = Params {
                out: range.len() as u32,
                out_start: range.start as u32,
                span: span as u32,
                split: split as u32,
                ..params(n, w.shape, alpha)
            };
            run(part, &sums, params, splits(range.len()))?;
            split += splits(range.len());
        }
        return match all {
            1 => Ok(sums.reshaped([n, k])),
            _ => sum::forward(&sums, 1.0),
        };
    }
    // One sum that grows: what it is given comes one piece after the other.
    let dx = Tensor::empty(dy.gpu(), [n, k])?;
    for (range, part) in w.memory.parts() {
        for first in (0..range.len()).step_by(ROWS_PER_PASS) {
            let params = Params {
                out: (range.len() - first).min(ROWS_PER_PASS) as u32,
                out_start: (range.start + first) as u32,
                first: first as u32,
                span: ROWS_PER_PASS as u32,
                accumulate: u32::from(range.start + first > 0),
                ..params(n, w.shape, alpha)
            };
            run(part, &dx, params, 1)?;
        }
    }
    Ok(dx)
}

/// The same for a weight that is an image.
fn backward_x_image(dy: &Tensor, w: &Tensor, alpha: f32, lanes: usize) -> Result<Tensor> {
    let (n, k) = (dy.shape()[0], w.shape()[1]);
    let rows = n.min(5);
    let parts = w.parts().count();
    let dx = Tensor::empty(dy.gpu(), [parts, n, k])?;
    for (index, (range, part)) in w.parts().enumerate() {
        check_trips(dy.gpu(), "linear", range.len() * 2)?;
        let params = Params {
            out: range.len() as u32,
            out_start: range.start as u32,
            split: index as u32,
            ..params(n, w.shape(), alpha)
        };
        let bindings = [dy.buffer("linear")?, part, dx.buffer("linear")?];
        let groups = (k / 4).div_ceil(lanes * IMAGE_GROUPS) * n.div_ceil(rows);
        let kernel = image_backward_kernel(lanes, rows);
        dy.gpu().run(kernel, &params, &bindings, groups)?;
    }
    match parts {
        1 => Ok(dx.reshaped([n, k])),
        _ => sum::forward(&dx, 1.0),
    }
}

struct Rule {
    x: Option<Tensor>,
    w: Option<Tensor>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = self.w.as_ref().map(|w| backward_x(dy, w, 1.0));
        let dx = dx.transpose()?;
        let dw = self.x.map(|x| Gradient::Outer {
            left: dy.clone(),
            right: x,
            alpha: 1.0,
        });
        Ok(vec![dx.map(Gradient::from), dw])
    }
}

struct FrozenRule {
    w: Frozen,
    cuts: Cuts,
}

impl Backward for FrozenRule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = backward_x(dy, self.w.weight().cut(self.cuts), 1.0)?;
        Ok(vec![Some(dx.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn columns_must_agree() {
        assert!(check(&[2, 3].into(), &[5, 3].into()).is_ok());
        assert!(check(&[2, 3].into(), &[3, 5].into()).is_err());
        assert!(check(&[2, 3, 1].into(), &[5, 1].into()).is_err());
    }
}
