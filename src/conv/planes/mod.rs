//! The kernel family for software devices (lavapipe): a frozen VGG whose activations and weights are storage
//! textures, the fastest memory there.
//!
//! Four channels are a texel and planes have a border of zeros, so that a layer's output is the next one's
//! input. A workgroup is one subgroup: its lanes are pixels (or tiles, or columns), and a weight that one lane
//! loads reaches the others by a shuffle. No barrier, no workgroup memory: see `Gpu` for what those cost there.
//!
//! What an image gives does not depend on the other images of its batch, to the bit: every sum runs over one
//! image's own channels, in one order.

mod cases;
mod context;
mod direct;
mod down;
mod layer;
mod shape;
mod site;
mod tune;
mod turned;
mod weights;
mod winograd;

pub(crate) use crate::tensor::planes::suits;
pub(crate) use cases::cases;
pub(crate) use context::Context;
pub(crate) use down::down;
pub(crate) use layer::{Inner, Layer, convolve};
pub(crate) use site::{Needs, Site};
pub(crate) use tune::Tuner;

use crate::gpu::Kernel;

/// Every kernel at the sizes that 8 lanes and the full VGG19 take, for the tests.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [
        direct::kernels(),
        winograd::kernels(),
        layer::kernels(),
        down::kernels(),
        vec![turned::kernel(8)],
    ]
    .concat()
}
