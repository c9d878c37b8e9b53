//! The network and the adapter: VGG19 as a table of layers, and LoRA on them and beside them.

pub mod lora;
mod targets;
pub mod vgg;
pub(crate) mod weights;

pub use lora::{Adapter, Lora, Target};
pub use targets::Choice;
pub use vgg::{Arch, Loading, Vgg};
pub use weights::Source;
