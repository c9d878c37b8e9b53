//! The network and the adapter: VGG19 as a table of layers, and LoRA on them and beside them.

pub mod arch;
mod checkpoint;
mod forward;
pub mod lora;
mod targets;
mod vgg;
pub(crate) mod weights;

pub use arch::Arch;
pub use lora::{Adapter, Lora, Target};
pub use targets::Choice;
pub use vgg::{LoadStep, Loading, Vgg};
pub use weights::Source;
