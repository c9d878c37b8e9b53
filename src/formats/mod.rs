//! Files: weights in, adapters in and out, merged weights out. What comes from a user is checked before it is believed,
//! and what is written appears whole or not at all.

pub mod adapter;
mod classes;
mod config;
mod convert;
mod entry;
pub mod events;
mod features;
mod header;
mod layout;
mod merged;
mod names;
mod onnx;
mod patterns;
mod recognise;
mod settings;
mod sniff;
mod standing;
pub(crate) mod state;
mod summary;
mod torch;
mod weights;
mod write;

pub use convert::{Converted, Kind, convert};
pub use features::{Put, write_features};
pub use merged::{Merged, write_merged};
pub use onnx::{Export, Input, write_onnx};
pub use standing::{Standing, standing};
pub use summary::{
    BaseSummary, HeadSummary, ModuleSummary, NetworkSummary, Summary, TensorSummary,
};
pub use weights::Tensors;
