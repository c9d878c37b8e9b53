//! What `linear` is held against, in f64.

use std::sync::Arc;

use half::f16;

use super::cut::{Cuts, SPAN, Site};
use super::{Frozen, linear, linear_frozen};
use crate::check::{Case, Input};
use crate::random::Stream;
use crate::tensor::{Halves, Precision, Tensor};

/// x w^T in f64, for the cases of this op and of `low_rank`.
pub(in crate::ops) fn reference(x: &[f64], w: &[f64], k: usize) -> Vec<f64> {
    x.chunks(k)
        .flat_map(|x| {
            w.chunks(k)
                .map(|w| x.iter().zip(w).map(|(x, w)| x * w).sum())
        })
        .collect()
}

pub(crate) fn cases() -> Vec<Case> {
    plain().into_iter().chain(cut()).collect()
}

/// Every way to cut up a frozen weight: what is not whole at the ends of its rows, columns and splits, and more than one.
fn cut() -> Vec<Case> {
    let mut cases = Vec::new();
    for (gradient, precision, [k, out]) in [
        (false, Precision::F32, [SPAN + 4, 19]),
        // Which no device keeps as an image.
        (true, Precision::F16, [68, 150]),
    ] {
        let site = Site {
            k,
            out,
            precision,
            gradient,
        };
        let weight = Stream::new(0, "linear weight").normals(k * out, 1.0);
        let weight = weight.into_iter().map(|w| f16::from_f32(w).to_f32());
        let weight: Arc<[f32]> = weight.collect();
        for cut in site.candidates() {
            let cuts = match gradient {
                true => Cuts {
                    backward: Some(cut),
                    ..Cuts::default()
                },
                false => Cuts {
                    forward: Some(cut),
                    ..Cuts::default()
                },
            };
            let (numbers, weight) = (weight.clone(), weight.clone());
            cases.push(Case::new(
                "linear",
                format!("frozen, {site}, {cut}: 9 rows"),
                [Input::normal([9, k])],
                move |tape, v| {
                    let gpu = v[0].tensor.gpu();
                    let fill = |first: usize, out: &mut [f32]| {
                        out.copy_from_slice(&weight[first..][..out.len()]);
                    };
                    let weight = match precision {
                        Precision::F32 => Frozen::Plain(Tensor::from_fn(gpu, [out, k], fill)?),
                        Precision::F16 => Frozen::Halves(Halves::from_fn(gpu, [out, k], fill)?),
                    };
                    linear_frozen(tape, &v[0], &weight, cuts)
                },
                move |v| {
                    let numbers: Vec<f64> = numbers.iter().copied().map(f64::from).collect();
                    reference(&v[0], &numbers, k)
                },
            ));
        }
    }
    cases
}

fn plain() -> Vec<Case> {
    [
        (1, 1, 1),
        (1, 130, 7),
        (2, 64, 65),
        (3, 100, 10),
        (5, 2 * SPAN + 1, 3),
        (3, SPAN + 4, 17),
        (11, 63, 9),
        (6, 40_000, 11),
        (9, 36, 700),
        (2, 35, 300),
        // Backward in splits of the rows of w: a last one that is no whole four of them, and rows of x that are no whole eight.
        (3, 40, 331),
        (11, 64, 130),
        (17, 37, 129),
    ]
    .map(|(n, k, m)| {
        Case::new(
            "linear",
            format!("[{n}, {k}] by [{m}, {k}]"),
            [Input::normal([n, k]), Input::normal([m, k])],
            |tape, v| linear(tape, &v[0], &v[1]),
            move |v| reference(&v[0], &v[1], k),
        )
    })
    .into()
}
