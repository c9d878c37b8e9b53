//! Files: weights in, adapters in and out, merged weights out. What comes from a user is checked before it is believed,
//! and what is written appears whole or not at all.

pub mod adapter;
mod classes;
mod config;
mod convert;
mod entry;
mod header;
mod merged;
mod names;
mod patterns;
mod recognise;
mod settings;
mod sniff;
mod summary;
mod torch;
mod weights;
mod write;

pub use convert::{Converted, Kind, convert};
pub use merged::write_merged;
pub use summary::{ModuleSummary, Summary, TensorSummary};
pub use weights::Tensors;
