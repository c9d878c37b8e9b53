//! What a device reaches at most: what the other measurements are held against.

use bytemuck::{Pod, Zeroable};
use serde::Serialize;

use super::measure::{median, noise};
use crate::error::Result;
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Gpu, Kernel};

/// What the device reaches at most, measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Multiply-adds in registers, two operations each, in 10^9 a second.
    pub gflops: f64,
    /// Bytes read and written by a copy, in 10^9 a second.
    pub gbytes: f64,
    /// Bytes that are only read, the fastest way that the device has, in 10^9 a second.
    pub read_gbytes: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    rounds: u32,
}

const FILE: &str = "bench/peak.wgsl";
const MULTIPLY_ADD: Kernel =
    Kernel::new::<Params>("peak.multiply_add", FILE, "multiply_add", &[Read, Write]);
const COPY: Kernel = Kernel::new::<Params>("peak.copy", FILE, "copy", &[Read, Write]);
const READ: Kernel = Kernel::new::<Params>("peak.read_buffer", FILE, "read_buffer", &[Read, Write]);
const READ_IMAGE: Kernel =
    Kernel::new::<Params>("peak.read_image", FILE, "read_image", &[ReadTexture, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [MULTIPLY_ADD, COPY, READ, READ_IMAGE]
        .iter()
        .map(|kernel| with_lanes(kernel, 64))
        .collect()
}

fn with_lanes(kernel: &Kernel, lanes: usize) -> &'static Kernel {
    kernel.variant(format!("{}.{lanes}", kernel.name), |kernel| {
        kernel.constant("LANES", lanes)
    })
}

/// Measures the device's peaks.
///
/// # Errors
/// What the device reported.
pub fn peak(gpu: &Gpu) -> Result<Peak> {
    // Past a GPU's cache, and work for longer than handing it over and waiting takes.
    let (quads, repeats) = match gpu.is_software() {
        true => (1 << 22, 1),
        false => (1 << 24, 8),
    };
    let (x, y) = (
        noise(gpu, "x", &[quads * 4])?,
        noise(gpu, "y", &[quads * 4])?,
    );
    let bindings = [x.buffer("peak")?, y.buffer("peak")?];
    let seconds = |kernel: &Kernel, rounds: u32, groups: usize| {
        let all = median(|| {
            for _ in 0..repeats {
                let params = Params {
                    n: quads as u32,
                    rounds,
                };
                gpu.run(kernel, &params, &bindings, groups)?;
            }
            gpu.wait()
        })?;
        Ok::<f64, crate::Error>(all / f64::from(repeats))
    };
    let copy = seconds(with_lanes(&COPY, 64), 0, quads / 64)?;
    // A subgroup that walks through memory alone is what software devices read fastest with.
    let (read, lanes) = match x.image_lanes() {
        Some(lanes) => (&READ_IMAGE, lanes),
        None => (&READ, 64),
    };
    let read = seconds(with_lanes(read, lanes), 0, quads / (256 * lanes))?;
    let (groups, rounds) = match gpu.is_software() {
        true => (64, 4096),
        false => (8192, 4096),
    };
    let arithmetic = seconds(with_lanes(&MULTIPLY_ADD, 64), rounds, groups)?;
    let operations = groups as f64 * 64.0 * f64::from(rounds) * 16.0 * 4.0 * 2.0;
    Ok(Peak {
        gflops: operations / arithmetic / 1e9,
        gbytes: 32.0 * quads as f64 / copy / 1e9,
        read_gbytes: 16.0 * quads as f64 / read / 1e9,
    })
}
