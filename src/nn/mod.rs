//! The network and the adapter: the VGGs as tables of layers, LoRA on them and beside them, and a new last layer.

mod adapter;
pub mod arch;
mod checkpoint;
mod convolve;
pub(crate) mod digest;
mod engine;
mod forward;
mod head;
mod identity;
mod load;
mod loading;
pub mod lora;
pub(crate) mod norm;
mod targets;
mod tuned;
mod vgg;
pub(crate) mod weights;

pub use adapter::{Adapter, Factors};
pub use arch::Arch;
pub use engine::{Engine, rounding};
pub use head::{Head, HeadInit};
pub use identity::Identity;
pub use loading::{LoadStep, Loading};
pub use lora::{Lora, Target};
pub use targets::{Choice, HEAD, chooses};
pub use vgg::Vgg;
pub use weights::{Float, Source, Stored};
