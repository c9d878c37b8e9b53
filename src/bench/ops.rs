//! Heavy ops at VGG19's shapes, one image: of the portable family, and of the software one where the device has it.

use std::sync::Arc;

use serde::Serialize;

use super::measure::{each, noise};
use super::peak::Peak;
use crate::autograd::{Tape, Var};
use crate::conv::{planes, rows};
use crate::error::Result;
use crate::gpu::{Gpu, Tuning, Warmer};
use crate::nn::Loading;
use crate::ops::planes::{to_planes, to_rows};
use crate::ops::{self, Transpose};
use crate::random::Stream;

/// One op at one shape.
#[derive(Clone, Debug, Serialize)]
pub struct OpTime {
    /// Whose kernels: `portable`, `software`, or `both` where the families share them.
    pub family: &'static str,
    /// The op and its shape.
    pub op: String,
    /// The way that was chosen for it, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// Median seconds.
    pub seconds: f64,
    /// 10^9 operations (or bytes) a second.
    pub rate: f64,
    /// `GFLOP/s` or `GB/s`.
    pub unit: &'static str,
    /// Share of the measured peak.
    pub share: f64,
}

/// Channels in and out and the side of the planes.
const CONVOLUTIONS: [[usize; 3]; 9] = [
    [3, 64, 224],
    [64, 64, 224],
    [64, 128, 112],
    [128, 128, 112],
    [128, 256, 56],
    [256, 256, 56],
    [256, 512, 28],
    [512, 512, 28],
    [512, 512, 14],
];

/// Measures both families' heavy ops at VGG19's shapes, one image: their convolutions in the way that `how` chooses.
/// `progress` hears how many kernels are measured for that, and of how many; its error ends it.
///
/// # Errors
/// What the device reported.
pub fn ops(
    gpu: &Gpu,
    how: &Loading,
    peak: Peak,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<OpTime>> {
    let mut times = Vec::new();
    let mut tuning = how.tuning.clone();
    if planes::suits(gpu) && !how.portable {
        times.extend(in_planes(gpu, how, peak, &mut progress)?);
        // The family that the device is not best at takes minutes there: what was kept of it, or fixed.
        tuning = tuning.map(Tuning::unmeasured);
    }
    let how = &Loading {
        tuning,
        ..how.clone()
    };
    times.extend(in_rows(gpu, how, peak, &mut progress)?);
    for (n, k, m) in [(1, 25088, 4096), (8, 25088, 4096)] {
        let x = Var::frozen(&noise(gpu, "x", &[n, k])?);
        let w = Var::frozen(&noise(gpu, "w", &[m, k])?);
        let seconds = each(gpu, || ops::linear(&mut Tape::new(), &x, &w).map(drop))?;
        let op = format!("linear {k} to {m}, {n} rows");
        times.push(bytes("both", op, 4 * k * m, seconds, peak));
    }
    let (a, b) = (
        Var::frozen(&noise(gpu, "a", &[1024, 1024])?),
        Var::frozen(&noise(gpu, "b", &[1024, 1024])?),
    );
    let seconds = each(gpu, || {
        ops::matmul(&mut Tape::new(), &a, &b, Transpose::Nn).map(drop)
    })?;
    let op = "matmul 1024 x 1024 x 1024".into();
    times.push(sums("both", op, None, 1 << 30, seconds, peak));
    Ok(times)
}

/// An op of so many multiply-adds.
fn sums(
    family: &'static str,
    op: String,
    how: Option<String>,
    products: usize,
    seconds: f64,
    peak: Peak,
) -> OpTime {
    let rate = 2e-9 * products as f64 / seconds;
    OpTime {
        family,
        op,
        how,
        seconds,
        rate,
        unit: "GFLOP/s",
        share: rate / peak.gflops,
    }
}

/// An op that reads so many bytes.
fn bytes(family: &'static str, op: String, bytes: usize, seconds: f64, peak: Peak) -> OpTime {
    let rate = 1e-9 * bytes as f64 / seconds;
    OpTime {
        family,
        op,
        how: None,
        seconds,
        rate,
        unit: "GB/s",
        share: rate / peak.read_gbytes,
    }
}

/// The random weight and bias of a convolution.
fn parameters([cin, cout, _]: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let normals = |name, n| Stream::new(0, name).normals(n, 1.0);
    (normals("w", cout * cin * 9), normals("bias", cout))
}

fn unkept(why: Option<String>) {
    if let Some(why) = why {
        tracing::warn!("what was measured could not be kept: {why}");
    }
}

fn in_rows(
    gpu: &Gpu,
    how: &Loading,
    peak: Peak,
    progress: &mut impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<OpTime>> {
    let mut tuner = rows::Tuner::new(gpu, how.precision, how.tuning.as_ref());
    let sites = CONVOLUTIONS.map(|[cin, cout, side]| rows::Site {
        cin,
        cout,
        side,
        precision: how.precision,
        gradient: false,
        pooled: false,
    });
    unkept(tuner.measure(&sites, progress)?.lost);
    let times = sites.into_iter().zip(CONVOLUTIONS).map(|(site, shape)| {
        let [cin, cout, side] = shape;
        let x = Var::frozen(&noise(gpu, "x", &[1, cin, side, side])?);
        let (weight, bias) = parameters(shape);
        let bias = crate::tensor::Tensor::from_slice(gpu, [cout], &bias)?;
        let layer = Arc::new(rows::Layer::new(&tuner, site, &weight, &bias, false)?);
        let seconds = each(gpu, || {
            rows::convolve(&mut Tape::new(), &layer, &x, rows::After::Relu).map(drop)
        })?;
        let op = format!("conv2d {cin} to {cout} at {side}");
        let products = cin * cout * 9 * side * side;
        let how = Some(layer.choice());
        Ok(sums("portable", op, how, products, seconds, peak))
    });
    times.collect()
}

/// Convolutions with bias and ReLU, the last of a block with its pool too; and the ways into planes and out of them, which
/// is the adaptive pool.
fn in_planes(
    gpu: &Gpu,
    how: &Loading,
    peak: Peak,
    progress: &mut impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<OpTime>> {
    const FAMILY: &str = "software";
    let mut tuner = planes::Tuner::new(gpu, how.tuning.as_ref());
    let sites = CONVOLUTIONS.map(|[cin, cout, side]| planes::Site {
        cin,
        cout,
        side,
        pooled: cin == cout,
    });
    unkept(tuner.measure(&sites, progress)?.lost);
    let context = planes::Context::new(gpu, &Arc::new(Warmer::idle()))?;
    let mut times = Vec::new();
    for (site, shape) in sites.into_iter().zip(CONVOLUTIONS) {
        let [cin, cout, side] = shape;
        let x = noise(gpu, "x", &[1, cin, side, side])?;
        let x = to_planes(&mut Tape::new(), &Var::frozen(&x), cin)?;
        let (weight, bias) = parameters(shape);
        let needs = planes::Needs::default();
        let layer = planes::Layer::new(&context, &tuner, site, &weight, &bias, needs)?;
        let layer = Arc::new(layer);
        let seconds = each(gpu, || {
            planes::convolve(&mut Tape::new(), &layer, &x, None).map(drop)
        })?;
        let pool = if site.pooled { " and pool" } else { "" };
        let op = format!("conv2d {cin} to {cout} at {side}{pool}");
        let products = cin * cout * 9 * side * side;
        times.push(sums(
            FAMILY,
            op,
            Some(layer.choice()),
            products,
            seconds,
            peak,
        ));
    }
    let image = Var::frozen(&noise(gpu, "x", &[1, 3, 224, 224])?);
    let seconds = each(gpu, || to_planes(&mut Tape::new(), &image, 3).map(drop))?;
    let op = "to_planes 3 at 224".into();
    times.push(bytes(FAMILY, op, 4 * 3 * 224 * 224, seconds, peak));
    for (side, cells) in [(7, 7), (14, 7)] {
        let x = noise(gpu, "x", &[1, 512, side, side])?;
        let x = to_planes(&mut Tape::new(), &Var::frozen(&x), 512)?;
        let seconds = each(gpu, || to_rows(&mut Tape::new(), &x, cells).map(drop))?;
        let op = format!("average 512 at {side} to {cells}, to_rows");
        times.push(bytes(FAMILY, op, 4 * 512 * side * side, seconds, peak));
    }
    Ok(times)
}
