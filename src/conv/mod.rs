//! The frozen 3x3 convolutions of a network, in two families of kernels, each named by the layout of its activations:
//! `rows` [N, C, H, W], for GPUs and every other device, and `planes`, textures, for software devices.

pub(crate) mod planes;
pub(crate) mod rows;
mod weights;
