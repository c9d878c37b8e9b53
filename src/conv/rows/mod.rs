//! The kernel family for GPUs: a frozen VGG's convolutions in rows [N, C, H, W], as matrix products on tiles in
//! workgroup memory and registers, directly or by Winograd. Every other device runs it too.
//!
//! How a layer is computed is a [`Choice`]: measured on the device where that is asked for (`gpu/tune.rs`), else a fixed
//! one. It depends on the layer and the device, never on the batch, so that what an image gives does not depend on the
//! other images, to the bit.

mod adapted;
mod cases;
mod choice;
mod direct;
mod ending;
mod layer;
mod matrix;
mod prepared;
mod tune;
mod winograd;

pub(crate) use adapted::{Lora, adapted};
pub(crate) use cases::cases;
pub(crate) use choice::Site;
pub(crate) use layer::{After, Layer, convolve};
pub(crate) use tune::Tuner;

use crate::gpu::Kernel;

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [direct::kernels(), winograd::kernels()].concat()
}
