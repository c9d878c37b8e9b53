//! goldfish trains LoRA adapters on a frozen VGG19 with a GPU engine written by hand in WGSL.
//!
//! The data flow is the reading order: an image file becomes a tensor [N, 3, H, W] in [`data`], passes
//! the frozen network and the adapter of [`nn`], and [`ops::cross_entropy`] makes a loss; [`Tape`] walks
//! back, [`optim`] steps, [`formats`] writes the adapter. [`train`] is that in one loop. Below [`ops`]
//! stands [`Gpu`]: one device, its kernels and its memory.

#![warn(missing_docs)]

pub mod data;
mod error;
pub mod formats;
pub mod gpu;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod predict;
pub mod random;
pub mod selftest;
mod shape;
mod tape;
mod tensor;
pub mod train;

pub use error::{Error, Result};
pub use gpu::{Gpu, GpuOptions};
pub use shape::Shape;
pub use tape::{Backward, Gradients, Tape, Var};
pub use tensor::Tensor;
