//! The batch that fits a device, found before anything is computed.

use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Arch};

/// Memory that is taken for granted where a driver does not say.
const UNKNOWN: u64 = 4 << 30;
/// The most images that are put in a batch, however much memory there is.
const MOST: usize = 1024;

/// The largest power of two of images that is no more than there are and whose step fits a device of `memory` bytes: the
/// weights twice, since kernels keep them in forms of their own, and three quarters of the rest for what the layers from the
/// lowest adapted one on keep of the images. More of them go through in groups, which gains no time.
pub fn largest_batch(
    arch: Arch,
    adapter: &Adapter,
    side: usize,
    images: usize,
    memory: Option<u64>,
) -> usize {
    let weights: usize = arch
        .layers()
        .iter()
        .map(|l| l.weight.iter().product::<usize>())
        .sum();
    let rest = memory
        .unwrap_or(UNKNOWN)
        .saturating_sub(2 * 4 * weights as u64);
    let fits = (rest / 4 * 3 / bytes_per_image(arch, adapter, side)).min(MOST as u64) as usize;
    let most = fits.min(images).max(1);
    1 << most.ilog2()
}

/// What a step keeps of an image for its gradient: the output of every layer from the lowest adapted one on and its input,
/// four times the largest for what comes and goes with one layer, and the pixels where a branch takes them.
fn bytes_per_image(arch: Arch, adapter: &Adapter, side: usize) -> u64 {
    let from = adapter.lowest(arch);
    let (mut plane, mut kept, mut largest) = (side * side, 0, 0);
    for (index, layer) in arch.layers().iter().enumerate() {
        let [out, into] = [layer.weight[0], layer.weight[1]];
        if !layer.is_conv() {
            plane = 1;
        }
        if index >= from {
            kept += if index == from {
                (into + out) * plane
            } else {
                out * plane
            };
            largest = largest.max(out.max(into) * plane);
        }
        if layer.pool {
            plane /= 4;
        }
    }
    if adapter.get(PIXELS).is_some() {
        kept += 3 * side * side;
    }
    4 * (kept + 4 * largest + adapter.classes(arch)).max(1) as u64
}
