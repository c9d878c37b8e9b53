//! The network and the adapter: VGG19 as a table of layers, and LoRA beside it.

pub mod lora;
pub mod vgg;

pub use lora::Lora;
pub use vgg::{Arch, Vgg};
