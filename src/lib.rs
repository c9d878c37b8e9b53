//! goldfish trains LoRA adapters on a frozen VGG19 with a GPU engine written by hand in WGSL.
//!
//! The data flow is the reading order: an image file becomes a tensor [N, 3, H, W] in [`data`], passes
//! the frozen network and the adapter of [`nn`], and [`ops::cross_entropy()`] makes a loss; [`Tape`] walks
//! back, [`optim`] steps, [`formats`] writes the adapter. [`train`] is that in one loop. Below [`ops`]
//! stands [`Gpu`]: one device, its kernels and its memory. [`world`] is other processes at the same work.
//!
//! ```no_run
//! use goldfish::{Gpu, Result, Tape, Tensor, Var, ops, optim::Adam};
//!
//! # fn main() -> Result<()> {
//! let gpu = Gpu::new()?;
//! let x = Var::frozen(&Tensor::from_slice(&gpu, [1, 3], &[1.0, 2.0, 3.0])?);
//! let target = Var::frozen(&Tensor::from_slice(&gpu, [1, 2], &[1.0, -1.0])?);
//! let mut weight = [Tensor::from_slice(&gpu, [2, 3], &[0.1; 6])?];
//! let mut adam = Adam::new(1e-2);
//! for _ in 0..100 {
//!     let mut tape = Tape::new();
//!     let w = tape.leaf(&weight[0]);
//!     let y = ops::linear(&mut tape, &x, &w)?;
//!     let loss = ops::mse_loss(&mut tape, &y, &target)?;
//!     let gradients = tape.backward(&loss)?;
//!     adam.step(&mut weight, &[gradients.of(&w)?.clone()])?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An op of your own is a [`gpu::Kernel`] for each direction, dispatched by [`Gpu::compute`], and a [`Backward`] rule given
//! to [`Tape::record`]; [`check::Case`] holds it against f64 and finite differences. `examples/custom_op.rs` is one, whole;
//! `examples/one_image.rs` follows an image from its file to a loss and a step.

#![warn(missing_docs)]

mod autograd;
pub mod bench;
pub mod check;
mod conv;
pub mod data;
mod error;
pub mod files;
pub mod formats;
pub mod gpu;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod random;
pub mod selftest;
mod tensor;
pub mod train;
pub mod world;

pub use autograd::{Backward, Gradient, Gradients, Tape, Var};
pub use error::{Error, Remedy, Result};
pub use gpu::{Gpu, GpuOptions, Tuning};
pub use tensor::{Precision, Shape, Tensor};
