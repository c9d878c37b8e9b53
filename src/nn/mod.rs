//! The network and the adapter: the VGGs as tables of layers, and LoRA on them and beside them.

pub mod arch;
mod checkpoint;
mod forward;
mod load;
pub mod lora;
pub(crate) mod norm;
mod targets;
mod vgg;
pub(crate) mod weights;

pub use arch::Arch;
pub use load::{LoadStep, Loading};
pub use lora::{Adapter, Lora, Target};
pub use targets::Choice;
pub use vgg::Vgg;
pub use weights::{Float, Source, Stored};
