//! The messages into a file: the weights are written as they come, so that no more than a run of rows of one is in memory.

use std::io::{BufWriter, Write};
use std::path::Path;

use prost::Message;

use super::export::Export;
use super::graph::{Network, Weight};
use super::proto::TensorProto;
use super::proto::tensor_proto::DataType;
use crate::error::{Error, Result};
use crate::files::write_atomic_with;
use crate::formats::merged::{finite, flush};
use crate::gpu::Gpu;

/// The most bytes that protobuf can hold in a message.
const MOST: u64 = i32::MAX as u64;

/// The keys of the fields that are written by hand, whose contents have a length: ModelProto.graph,
/// GraphProto.initializer, TensorProto.raw_data.
const GRAPH: u8 = (7 << 3) | 2;
const INITIALIZER: u8 = (5 << 3) | 2;
const RAW_DATA: u8 = (9 << 3) | 2;

/// Writes the network to `path` as ONNX and returns the file's size. Its outputs are `logits` and `probabilities`; how
/// images are made for it, and what the logits are called, stand in its metadata. `progress` hears of each weight with its
/// bytes; its error ends the work.
///
/// # Errors
/// [`Error::Usage`] where there is not a name for each logit, or no logit; [`Error::Data`] where the file would be larger than ONNX can be, or a number would not be finite; [`Error::Io`] where it
/// cannot be written; what the device reported, and what `progress` returned.
pub fn write_onnx(
    gpu: &Gpu,
    path: &Path,
    export: &Export,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let merged = &export.merged;
    merged.check()?;
    if merged.classes.is_empty() {
        return Err(Error::Usage(
            "the network has no classifier, and the adapter none for it: there is nothing that it would answer".into(),
        ));
    }
    let network = Network::new(export);
    let model = export.model().encode_to_vec();
    let graph = network.graph.encode_to_vec();
    let weights = network.weights.iter();
    let heads = weights.map(|weight| (weight, Head::new(weight)));
    let heads: Vec<(&Weight, Head)> = heads.collect();
    let tensors: u64 = heads.iter().map(|(_, head)| head.whole()).sum();
    let inside = graph.len() as u64 + tensors;
    let all = model.len() as u64 + delimited(inside);
    if all > MOST {
        let problem = format!(
            "would have {} MiB, and ONNX holds less than 2048 in a file. Where there is a branch from the pixels, a lower \
             rank or smaller images make it smaller",
            all >> 20
        );
        return Err(Error::data(path, problem));
    }
    write_atomic_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path, "write"));
        put(&model)?;
        put(&key(GRAPH, inside))?;
        put(&graph)?;
        for (weight, head) in heads {
            put(&key(INITIALIZER, head.inside()))?;
            put(&head.bytes)?;
            put(&key(RAW_DATA, head.data))?;
            match weight {
                Weight::Layer(layer, name, shape) => {
                    merged.folded(gpu, path, layer, (name, shape), &mut put)?;
                }
                Weight::Branch(name, factor) => {
                    let values = factor.to_vec()?;
                    finite(path, name, &values)?;
                    put(bytemuck::cast_slice(&values))?;
                }
            }
            progress(head.data)?;
        }
        flush(out).map_err(Error::io(path, "write"))
    })?;
    Ok(all)
}

impl Export<'_> {
    /// Bytes of the weights that are written, for who shows how far the work is.
    pub fn bytes(&self) -> u64 {
        let shapes = Network::new(self).weights;
        shapes
            .iter()
            .map(|weight| weight.shape().len() as u64 * 4)
            .sum()
    }
}

/// A weight's message up to its numbers.
struct Head {
    bytes: Vec<u8>,
    /// Bytes of the numbers.
    data: u64,
}

impl Head {
    fn new(weight: &Weight) -> Self {
        let message = TensorProto {
            dims: weight.shape().dims().iter().map(|&n| n as i64).collect(),
            data_type: Some(DataType::Float as i32),
            name: Some(weight.name().into()),
            raw_data: None,
        };
        Head {
            bytes: message.encode_to_vec(),
            data: weight.shape().len() as u64 * 4,
        }
    }

    /// Bytes of the message.
    fn inside(&self) -> u64 {
        self.bytes.len() as u64 + delimited(self.data)
    }

    /// The same with its key and length.
    fn whole(&self) -> u64 {
        delimited(self.inside())
    }
}

/// A field's key and its length.
fn key(field: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![field];
    prost::encode_length_delimiter(length as usize, &mut bytes).expect("a vector has room");
    bytes
}

/// Bytes of a field with so many inside.
fn delimited(length: u64) -> u64 {
    key(0, length).len() as u64 + length
}
