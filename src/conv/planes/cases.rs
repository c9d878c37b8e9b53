//! This family's ops for the self-test, against the same convolution in f64.

use std::sync::Arc;

use super::context::Context;
use super::down::{down, weight_gradient};
use super::layer::{Inner, Layer, convolve};
use super::site::{Needs, Site};
use super::tune::Tuner;
use crate::autograd::Var;
use crate::check::{Case, Input};
use crate::gpu::Warmer;
use crate::ops::conv2d::reference_3x3;
use crate::ops::max_pool2d::larger;
use crate::ops::planes::{to_planes, to_rows};
use crate::ops::relu;
use crate::random::Stream;

/// Winograd's F(6x6) is within 1.2e-5 of the largest value, F(4x4) too (see benches/RESULTS.md); a gradient passes two.
const WINOGRAD: f64 = 4e-5;
/// A lane adds some 10^5 products one by one.
const LONG_SUM: f64 = 5e-5;

pub(crate) fn cases() -> Vec<Case> {
    // Channels out and in, rank, images, side, pool, the side that the tiles are chosen for.
    let conv = |[cout, cin, rank, n, size]: [usize; 5], pool: bool, tiles: usize| {
        let weight = move || -> (Vec<f32>, Vec<f32>) {
            let noise = |name, n, deviation| Stream::new(0, name).normals(n, deviation);
            let deviation = 1.0 / (cin as f64 * 9.0).sqrt();
            (
                noise("conv weight", cout * cin * 9, deviation),
                noise("conv bias", cout, 0.5),
            )
        };
        let out = if pool { size / 2 } else { size };
        Case::new(
            "convolve",
            format!(
                "[{n}, {cin}, {size}, {size}] to {cout}, rank {rank}, pool {pool}, tiles for {tiles}"
            ),
            [
                Input::normal([n, cin, size, size]),
                Input::normal([rank, cin, 3, 3]).times(0.3),
                Input::normal([cout, rank, 1, 1]).times(0.3),
            ],
            move |tape, v| {
                let gpu = v[0].tensor.gpu();
                let context = Context::new(gpu, &Arc::new(Warmer::idle()))?;
                let needs = Needs {
                    backward: true,
                    rank,
                };
                let (w, bias) = weight();
                let site = Site {
                    cin,
                    cout,
                    side: tiles,
                    pooled: pool,
                };
                let tuner = Tuner::new(gpu, None);
                let layer = Layer::new(&context, &tuner, site, &w, &bias, needs)?;
                let x = to_planes(tape, &v[0], cin)?;
                let hidden = down(tape, &context, &x, &v[1])?;
                let inner = Inner {
                    hidden: &hidden,
                    b: &v[2],
                    scale: 1.5,
                };
                let y = convolve(tape, &Arc::new(layer), &x, Some(inner))?;
                let y = to_rows(tape, &y, out)?;
                crate::ops::reshape(tape, &y, [n, cout, out, out])
            },
            move |v| {
                let (w, bias) = weight();
                let w: Vec<f64> = w.iter().map(|&w| f64::from(w)).collect();
                let area = size * size;
                let shape = [n, cin, size, size];
                let hidden = reference_3x3(&v[0], &v[1], shape, rank);
                let mut y = reference_3x3(&v[0], &w, shape, cout);
                for (i, y) in y.iter_mut().enumerate() {
                    let (image, o, p) = (i / (cout * area), i / area % cout, i % area);
                    let up: f64 = (0..rank)
                        .map(|r| v[2][o * rank + r] * hidden[(image * rank + r) * area + p])
                        .sum();
                    *y = relu::reference(*y + 1.5 * up + f64::from(bias[o]));
                }
                if !pool {
                    return y;
                }
                let pooled = |i: usize| {
                    let (plane, py, px) = (i / (out * out), i / out % out, i % out);
                    let at =
                        |dy: usize, dx: usize| y[plane * area + (py * 2 + dy) * size + px * 2 + dx];
                    [at(0, 1), at(1, 0), at(1, 1)].into_iter().fold(at(0, 0), larger)
                };
                (0..n * cout * out * out).map(pooled).collect()
            },
        )
        .on_software()
        .within(WINOGRAD)
        .mixing()
    };
    vec![
        conv([5, 3, 1, 2, 13], false, 224),
        conv([9, 6, 5, 1, 11], true, 112),
        conv([12, 10, 4, 2, 9], false, 28),
        conv([33, 7, 2, 1, 8], true, 14),
        // The gradient from the layer's own weights.
        conv([12, 70, 1, 1, 9], false, 2),
        conv([33, 7, 2, 2, 8], true, 2),
        large_plane(),
    ]
}

/// The gradient of a factor on a plane whose pixels are more than a lane's loop runs over, with as many as 16 lanes.
fn large_plane() -> Case {
    let (size, side) = (1032, 3);
    Case::new(
        "weight_gradient",
        format!("[1, 1, {size}, {size}] twice"),
        [
            Input::normal([1, 1, size, size]),
            Input::normal([1, 1, size, size]),
        ],
        move |tape, v| {
            let [dy, x] = [to_planes(tape, &v[0], 1)?, to_planes(tape, &v[1], 1)?];
            let dw = weight_gradient(&dy.tensor, &x.tensor, side, 1.0)?;
            Ok(Var::frozen(&dw))
        },
        move |v| {
            let tap = |i: usize| -> f64 {
                // Pixels whose neighbour at the tap is within the plane.
                let range = |t: usize| 1usize.saturating_sub(t)..(size + 1 - t).min(size);
                let (r, s) = (i / side, i % side);
                range(r)
                    .flat_map(|y| range(s).map(move |x| (y, x)))
                    .map(|(y, x)| v[0][y * size + x] * v[1][(y + r - 1) * size + x + s - 1])
                    .sum()
            };
            (0..side * side).map(tap).collect()
        },
    )
    .on_software()
    .forward_only()
    .within(LONG_SUM)
    .mixing()
}
