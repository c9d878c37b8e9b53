//! The network with an adapter as an ONNX file: `export.rs` says what it is, `graph.rs` what is computed, in messages of
//! `proto.rs`, and `write.rs` writes them with the weights.

mod export;
mod graph;
mod proto;
mod write;

pub use export::{Export, Input};
pub use write::write_onnx;
