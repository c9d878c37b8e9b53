//! This family's convolution for the self-test, every way that can be chosen, against the definition in f64.

use std::sync::Arc;

use half::f16;

use super::choice::{Algorithm, Choice, Site};
use super::layer::{Layer, convolve};
use super::tune::Tuner;
use crate::check::{Case, Input};
use crate::gpu::{Gpu, Tile};
use crate::ops::conv2d::reference_3x3;
use crate::ops::relu;
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
        finished: false,
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
    /// With ReLU.
    finished: bool,
}

fn way(algorithm: Algorithm, precision: Precision) -> Way {
    Way {
        algorithm,
        precision,
        finished: true,
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
            let gpu = v[0].tensor.gpu();
            let choice = Choice {
                algorithm: way.algorithm,
                tile: tile(gpu).expect("the device has the tile"),
            };
            let site = Site {
                cin,
                cout,
                side: h,
                precision: way.precision,
                gradient: false,
            };
            let (weight, bias) = parameters(cout, cin);
            let bias = Tensor::from_slice(gpu, [cout], &bias)?;
            let tuner = Tuner::always(gpu, choice);
            let layer = Arc::new(Layer::new(&tuner, site, &weight, &bias, true)?);
            convolve(tape, &layer, &v[0], way.finished)
        },
        move |v| {
            let (weight, bias) = parameters(cout, cin);
            let weight: Vec<f64> = weight.into_iter().map(f64::from).collect();
            let mut y = reference_3x3(&v[0], &weight, [n, cin, h, w], cout);
            for (i, y) in y.iter_mut().enumerate() {
                *y += f64::from(bias[i / (h * w) % cout]);
                if way.finished {
                    *y = relu::reference(*y);
                }
            }
            y
        },
    )
    .where_it(
        "the tile (cooperative matrices, or threads of a workgroup)",
        move |gpu| tile(gpu).is_some(),
    )
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
