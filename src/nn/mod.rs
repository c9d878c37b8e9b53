//! The network and the adapter: VGG19 as a table of layers, and LoRA beside it.

mod frozen;
pub mod lora;
pub mod vgg;
pub(crate) mod weights;

pub use frozen::Frozen;
pub use lora::Lora;
pub use vgg::{Arch, Vgg};
pub use weights::Source;
