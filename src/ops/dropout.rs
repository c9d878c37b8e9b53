//! `dropout`: elements become zero with probability p and the others are scaled by 1 / (1 - p), as PyTorch's does; which
//! ones follows from a key and the element's number alone.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::Kernel;
use crate::ops::planes::{to_planes, to_rows};
use crate::tensor::Tensor;
use crate::tensor::planes::{for_lanes, lanes, planes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    first: u32,
    key0: u32,
    key1: u32,
    threshold: u32,
    scale: f32,
    size: u32,
    channels: u32,
    pitch: u32,
}

static FORWARD: Kernel = Kernel::new::<Params>(
    "dropout.forward",
    "ops/dropout.wgsl",
    "forward",
    &[Read, Write],
);

const IN_PLANES: Kernel = Kernel::new::<Params>(
    "dropout_planes",
    "ops/dropout_planes.wgsl",
    "forward",
    &[ReadTexture, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, for_lanes(&IN_PLANES, 8)]
}

/// Which elements are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of an element to be dropped, from 0 to below 1.
    pub p: f64,
    /// What the choice depends on beside an element's number.
    pub key: [u32; 2],
    /// The number of the first row within its batch.
    pub first: usize,
}

/// `x / (1 - p)` where an element is kept, else 0: [N, ...] of any shape.
///
/// # Errors
/// [`Error::Usage`] for a probability outside of [0, 1).
pub fn dropout(tape: &mut Tape, x: &Var, how: Dropout) -> Result<Var> {
    if !(0.0..1.0).contains(&how.p) {
        return Err(Error::Usage(format!(
            "dropout: the probability must lie between 0 and 1, found {}",
            how.p
        )));
    }
    let y = apply(&x.tensor, how)?;
    tape.record(y, &[x], || Rule { how })
}

fn apply(x: &Tensor, how: Dropout) -> Result<Tensor> {
    let params = Params {
        n: x.shape().len() as u32,
        first: how.first as u32,
        key0: how.key[0],
        key1: how.key[1],
        threshold: (how.p * 2f64.powi(32)) as u32,
        scale: (1.0 / (1.0 - how.p)) as f32,
        size: 0,
        channels: 0,
        pitch: 0,
    };
    if x.texture().is_some() {
        return in_planes(x, params);
    }
    let y = Tensor::empty(x.gpu(), x.shape().clone())?;
    let params = Params {
        first: (how.first * x.shape().row_len()) as u32,
        ..params
    };
    let bindings = [x.buffer("dropout")?, y.buffer("dropout")?];
    let groups = x.shape().len().div_ceil(256);
    x.gpu().run(&FORWARD, &params, &bindings, groups)?;
    Ok(y)
}

/// The same for a tensor in planes.
fn in_planes(x: &Tensor, params: Params) -> Result<Tensor> {
    let (x_texture, [n, channels, size]) = planes("dropout", x)?;
    let y = Tensor::planes(x.gpu(), [n, channels, size])?;
    let (y_texture, _) = planes("dropout", &y)?;
    let params = Params {
        n: (n * size * size) as u32,
        size: size as u32,
        channels: channels as u32,
        pitch: y_texture.pitch() as u32,
        ..params
    };
    let grid = [(n * size * size).div_ceil(lanes(x)), channels.div_ceil(4)];
    let bindings = [x_texture.into(), y_texture.into()];
    x.gpu()
        .run_wide(for_lanes(&IN_PLANES, lanes(x)), &params, &bindings, grid)?;
    Ok(y)
}

struct Rule {
    how: Dropout,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(apply(dy, self.how)?.into())])
    }
}

/// The factor of an element, as the shader computes it.
fn factor(element: u32, how: Dropout) -> f64 {
    let mut v = [element, how.key[0], how.key[1]]
        .map(|w| w.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[2]));
    v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
    v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
    let v = v.map(|w| w ^ (w >> 16));
    let hash = v[0].wrapping_add(v[1].wrapping_mul(v[2]));
    match f64::from(hash) < (how.p * 2f64.powi(32)).floor() {
        true => 0.0,
        false => 1.0 / (1.0 - how.p),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let how = Dropout {
        p: 0.3,
        key: [17, 4],
        first: 2,
    };
    let reference = move |x: &[f64], row: usize| {
        let kept = |(i, x): (usize, &f64)| x * factor((how.first * row + i) as u32, how);
        x.iter().enumerate().map(kept).collect()
    };
    vec![
        Case::new(
            "dropout",
            "[3, 211] p 0.3",
            [Input::normal([3, 211])],
            move |tape, v| dropout(tape, &v[0], how),
            move |v| reference(&v[0], 211),
        ),
        Case::new(
            "dropout",
            "[2, 6, 9, 9] p 0.3, in planes",
            [Input::normal([2, 6, 9, 9])],
            move |tape, v| {
                let x = to_planes(tape, &v[0], 6)?;
                let y = dropout(tape, &x, how)?;
                let y = to_rows(tape, &y, 9)?;
                crate::ops::reshape(tape, &y, [2, 6, 9, 9])
            },
            move |v| reference(&v[0], 6 * 81),
        )
        .on_software(),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Dropout, factor};

    #[test]
    fn as_many_are_dropped_as_asked_and_another_key_drops_others() {
        let how = Dropout {
            p: 0.25,
            key: [1, 2],
            first: 0,
        };
        let dropped = |key| -> Vec<bool> {
            (0..40_000)
                .map(|i| factor(i, Dropout { key, ..how }) == 0.0)
                .collect()
        };
        let (one, other) = (dropped([1, 2]), dropped([1, 3]));
        // Four deviations of a binomial are 0.0087.
        let share = one.iter().filter(|&&d| d).count() as f64 / 40_000.0;
        assert!((share - 0.25).abs() < 0.0087, "{share}");
        let both = one.iter().zip(&other).filter(|(a, b)| **a && **b).count() as f64 / 40_000.0;
        assert!((both - 0.0625).abs() < 0.005, "{both}");
    }
}
