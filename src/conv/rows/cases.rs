//! This family's convolution for the self-test, every way that can be chosen, against the definition in f64.

use std::sync::Arc;

use half::f16;

use super::adapted::{Lora, adapted};
use super::choice::{Algorithm, Choice, Site};
use super::layer::{After, Layer, convolve};
use super::tune::Tuner;
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::{Gpu, Tile};
use crate::ops::conv2d::reference_3x3;
use crate::ops::max_pool2d::larger;
use crate::ops::{self, relu};
use crate::random::Stream;
use crate::tensor::{Precision, Tensor};

use Algorithm::{Direct, Winograd};
use Precision::{F16, F32};

/// F(6x6) is within 1.2e-5 of the largest value, F(4x4) too (see benches/RESULTS.md); a gradient passes two.
const WINOGRAD: f64 = 4e-5;
/// Cooperative matrices round activations to f16, by 2^-11, 5e-4, of each.
const HALF: f64 = 2e-3;
/// F(4x4)'s output transform magnifies the rounding of a transformed weight some ten times.
const HALF_WINOGRAD: f64 = 6e-3;

pub(crate) fn cases() -> Vec<Case> {
    let (one, split) = (Direct { splits: 1 }, Direct { splits: 3 });
    let (four, six) = (Winograd { m: 4 }, Winograd { m: 6 });
    let middle = |_: &Gpu| Some(Tile::MIDDLE);
    let mut cases = vec![
        conv("direct", way(one, F32), [1, 1, 1, 5, 4], middle),
        conv("direct", way(one, F32), [66, 17, 2, 9, 7], middle),
        conv("direct", way(split, F32), [7, 33, 1, 6, 11], middle),
        conv("direct f16", way(one, F16), [9, 18, 2, 7, 9], middle),
        conv("direct f16", way(split, F16), [9, 18, 1, 7, 9], middle),
        conv("winograd4", way(four, F32), [5, 3, 2, 13, 10], middle)
            .within(WINOGRAD)
            .mixing(),
        conv("winograd4", way(four, F32), [66, 18, 1, 9, 8], middle)
            .within(WINOGRAD)
            .mixing(),
        conv("winograd6", way(six, F32), [10, 7, 2, 14, 13], middle)
            .within(WINOGRAD)
            .mixing(),
        conv("winograd6", way(six, F32), [5, 6, 1, 9, 14], middle)
            .within(WINOGRAD)
            .mixing(),
        conv("winograd4 f16", way(four, F16), [10, 9, 1, 9, 7], middle)
            .within(HALF_WINOGRAD)
            .mixing(),
    ];
    // Where the device has them.
    let product = Way {
        after: After::Nothing,
        ..way(one, F16)
    };
    for shape in 0..4 {
        let name = format!("matrices {shape}");
        let tile = move |gpu: &Gpu| gpu.matrix_tiles().get(shape).copied();
        cases.push(conv(&name, product, [150, 64, 2, 9, 7], tile).within(HALF));
    }
    // A gradient is not rounded to f16, where these are small or zero.
    for size in [1e-3, 1e-4, 1e-8] {
        let name = format!("matrices, a gradient of {size:e}");
        let tile = |gpu: &Gpu| gpu.matrix_tiles().first().copied();
        let case = conv(&name, product, [70, 64, 2, 9, 7], tile);
        cases.push(case.within(HALF).upstream(size));
    }
    // With a pool: sides that are whole windows, whole tiles of them, and neither.
    for (name, algorithm, [h, w]) in [
        ("direct, pooled", one, [7, 5]),
        ("winograd4, pooled", four, [8, 12]),
        ("winograd4, pooled", four, [9, 6]),
        ("winograd4, pooled", four, [6, 7]),
        ("winograd6, pooled", six, [13, 14]),
        ("winograd6, pooled", six, [8, 11]),
    ] {
        let way = pooled(algorithm, F32);
        cases.push(
            conv(name, way, [5, 6, 2, h, w], middle)
                .within(WINOGRAD)
                .mixing(),
        );
    }
    // With a LoRA: rows of whole runs of two and four pixels, and of neither; ranks of one workgroup and of several.
    for (name, way, sizes, rank) in [
        ("direct", way(one, F32), [7, 5, 2, 6, 5], 3),
        ("direct, pooled", pooled(split, F32), [7, 5, 1, 6, 5], 3),
        ("winograd4", way(four, F32), [9, 6, 2, 5, 12], 4),
        ("winograd4", way(four, F32), [5, 6, 1, 6, 10], 9),
        ("winograd4, pooled", pooled(four, F32), [6, 5, 2, 8, 8], 2),
        ("winograd4, pooled", pooled(four, F32), [6, 7, 1, 7, 9], 1),
        ("winograd6", way(six, F32), [5, 4, 1, 7, 8], 3),
        ("winograd6, pooled", pooled(six, F32), [5, 4, 2, 9, 7], 5),
        ("winograd4", way(four, F32), [4, 130, 1, 3, 4], 17),
        // More pixels than one workgroup adds up for a factor's gradient.
        ("winograd4", way(four, F32), [3, 2, 1, 46, 47], 3),
    ] {
        let case = lora(name, way, sizes, rank, false);
        cases.push(case.within(WINOGRAD).mixing());
    }
    let case = lora("winograd4", pooled(four, F32), [6, 5, 1, 6, 6], 2, true);
    cases.push(case.within(WINOGRAD).mixing());
    for tile in &Tile::ALL[1..] {
        let name = format!("direct {tile}");
        cases.push(conv(
            &name,
            way(one, F32),
            [66, 17, 1, 12, 11],
            move |gpu| tile.fits(gpu.limits()).then_some(*tile),
        ));
    }
    cases
}

/// How a layer is computed.
#[derive(Clone, Copy)]
struct Way {
    algorithm: Algorithm,
    precision: Precision,
    after: After,
}

fn way(algorithm: Algorithm, precision: Precision) -> Way {
    Way {
        algorithm,
        precision,
        after: After::Relu,
    }
}

/// With a pool.
fn pooled(algorithm: Algorithm, precision: Precision) -> Way {
    Way {
        after: After::Pool,
        ..way(algorithm, precision)
    }
}

/// A layer [cout, cin] and images [N, H, W], forward and backward, with bias and ReLU, on the tile that the device has for
/// it. On cooperative matrices without ReLU: where rounding to f16 moves a number past zero, ReLU's gradient is another.
fn conv(
    name: &str,
    way: Way,
    [cout, cin, n, h, w]: [usize; 5],
    tile: impl Fn(&Gpu) -> Option<Tile> + Copy + Send + Sync + 'static,
) -> Case {
    Case::new(
        "conv2d",
        format!("frozen, {name}: [{n}, {cin}, {h}, {w}] to {cout}"),
        [Input::normal([n, cin, h, w])],
        move |tape, v| {
            let tile = tile(v[0].tensor.gpu()).expect("the device has the tile");
            let layer = layer(v[0].tensor.gpu(), way, tile, [cout, cin, h])?;
            convolve(tape, &layer, &v[0], way.after)
        },
        move |v| reference(v, way.after, [cout, cin, n, h, w], 0.0),
    )
    .where_it(
        "the tile (cooperative matrices, or threads of a workgroup)",
        move |gpu| tile(gpu).is_some(),
    )
}

/// The layer of a case, from [cin, side, side] to cout channels.
fn layer(gpu: &Gpu, way: Way, tile: Tile, [cout, cin, side]: [usize; 3]) -> Result<Arc<Layer>> {
    let choice = Choice {
        algorithm: way.algorithm,
        tile,
    };
    let site = Site {
        cin,
        cout,
        side,
        precision: way.precision,
        gradient: false,
        pooled: false,
    };
    let (weight, bias) = parameters(cout, cin);
    let bias = Tensor::from_slice(gpu, [cout], &bias)?;
    let tuner = Tuner::always(gpu, choice);
    Ok(Arc::new(Layer::new(&tuner, site, &weight, &bias, true)?))
}

/// The same with a LoRA on it, whose A takes twice what the layer takes where it is `dropped`.
fn lora(
    name: &str,
    way: Way,
    [cout, cin, n, h, w]: [usize; 5],
    rank: usize,
    dropped: bool,
) -> Case {
    let scale = 0.5;
    let apart = if dropped { ", apart" } else { "" };
    Case::new(
        "conv2d",
        format!("adapted, {name}{apart}: [{n}, {cin}, {h}, {w}] rank {rank} to {cout}"),
        [
            Input::normal([n, cin, h, w]),
            Input::normal([rank, cin, 3, 3]),
            Input::normal([cout, rank, 1, 1]),
        ],
        move |tape, v| {
            let layer = layer(v[0].tensor.gpu(), way, Tile::MIDDLE, [cout, cin, h])?;
            let twice = match dropped {
                true => Some(ops::scale(tape, 2.0, &v[0])?),
                false => None,
            };
            let lora = Lora {
                dropped: twice.as_ref(),
                a: &v[1],
                b: &v[2],
                scale,
            };
            adapted(tape, &layer, &v[0], &lora, way.after == After::Pool)
        },
        move |v| {
            let times = if dropped { 2.0 } else { 1.0 };
            reference(v, way.after, [cout, cin, n, h, w], times * f64::from(scale))
        },
    )
}

/// The definition in f64, of x and, where there is a LoRA, A and B: what they add is scaled by `scale`.
fn reference(
    v: &[Vec<f64>],
    after: After,
    [cout, cin, n, h, w]: [usize; 5],
    scale: f64,
) -> Vec<f64> {
    let (weight, bias) = parameters(cout, cin);
    let weight: Vec<f64> = weight.into_iter().map(f64::from).collect();
    let (plane, shape) = (h * w, [n, cin, h, w]);
    let mut y = reference_3x3(&v[0], &weight, shape, cout);
    if let [x, a, b] = v {
        let rank = b.len() / cout;
        let hidden = reference_3x3(x, a, shape, rank);
        for (i, y) in y.iter_mut().enumerate() {
            let (image, m, pixel) = (i / (cout * plane), i / plane % cout, i % plane);
            let terms =
                (0..rank).map(|r| b[m * rank + r] * hidden[(image * rank + r) * plane + pixel]);
            *y += scale * terms.sum::<f64>();
        }
    }
    for (i, y) in y.iter_mut().enumerate() {
        *y += f64::from(bias[i / plane % cout]);
        if after != After::Nothing {
            *y = relu::reference(*y);
        }
    }
    if after != After::Pool {
        return y;
    }
    let windows = (0..n * cout * (h / 2) * (w / 2)).map(|i| {
        let (channel, window) = (i / ((h / 2) * (w / 2)), i % ((h / 2) * (w / 2)));
        let corner = channel * plane + window / (w / 2) * 2 * w + window % (w / 2) * 2;
        let pixels = [corner, corner + 1, corner + w, corner + w + 1];
        let pixels = pixels.into_iter().map(|at| y[at]);
        pixels.fold(f64::NEG_INFINITY, larger)
    });
    windows.collect()
}

/// Random numbers that f16 holds.
fn parameters(cout: usize, cin: usize) -> (Vec<f32>, Vec<f32>) {
    let noise = |name, n, deviation| -> Vec<f32> {
        let values = Stream::new(0, name).normals(n, deviation);
        values
            .into_iter()
            .map(|v| f16::from_f32(v).to_f32())
            .collect()
    };
    let deviation = 1.0 / (cin as f64 * 9.0).sqrt();
    (
        noise("conv weight", cout * cin * 9, deviation),
        noise("conv bias", cout, 0.5),
    )
}
