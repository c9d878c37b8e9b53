//! A base with an adapter worked into its weights: `W' = W + s B A`, in f32 whatever the base is kept in, since a half
//! would round much of the sum away. Here as a file that torchvision loads; `onnx/` writes the same numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use serde_json::json;

use super::classes::CLASSES;
use super::names::TRAINED;
use super::write::{header, notes};
use crate::autograd::{Tape, Var};
use crate::data::Classes;
use crate::error::{Error, Result};
use crate::files::write_atomic_with;
use crate::gpu::Gpu;
use crate::nn::arch::{Arch, Layer};
use crate::nn::lora::PIXELS;
use crate::nn::norm::Norm;
use crate::nn::{Adapter, Lora, Source};
use crate::ops::{self, Transpose};
use crate::tensor::{Shape, Tensor};

/// Elements of a weight that are worked on at a time.
const CHUNK: usize = 4 << 20;

/// A network with an adapter worked into its weights.
#[derive(Clone, Copy, Debug)]
pub struct Merged<'a> {
    /// The base.
    pub arch: Arch,
    /// Its weights.
    pub source: &'a Source<'a>,
    /// What is worked into them; a head takes the place of the base's last layer.
    pub adapter: &'a Adapter,
    /// 1, or -1 to take the adapter out of weights that have it.
    pub sign: f32,
    /// What the logits are called.
    pub classes: &'a Classes,
}

impl Merged<'_> {
    /// The layers, the adapter's head the last one where it has one.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let mut layers = self.arch.layers();
        if let Some(head) = &self.adapter.head {
            let (name, inputs) = self.arch.head();
            layers.truncate(self.arch.trunk());
            layers.push(Layer {
                name: name.into(),
                weight: vec![head.outputs(), inputs],
                norm: None,
                relu: false,
                pool: false,
            });
        }
        layers
    }

    /// Every parameter's name and shape.
    fn parameters(&self) -> BTreeMap<String, Shape> {
        self.layers().iter().flat_map(Layer::parameters).collect()
    }

    /// Bytes of all parameters, for who shows how far the work is.
    pub fn bytes(&self) -> u64 {
        let parameters = self.parameters();
        let count = parameters.values().map(|shape| shape.len() as u64);
        count.sum::<u64>() * 4
    }

    /// As many names as logits.
    pub(super) fn check(&self) -> Result<()> {
        let logits = self.adapter.classes(self.arch);
        match self.classes.len() {
            names if names == logits => Ok(()),
            names => Err(Error::Usage(format!(
                "there are {names} names for {logits} logits"
            ))),
        }
    }

    /// Hands parameter `name` of `shape` to `put`, in f32 and in order, a run of rows at a time. `path` is the file that it
    /// is for.
    pub(super) fn each(
        &self,
        gpu: &Gpu,
        path: &Path,
        (name, shape): (&str, &Shape),
        mut put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (module, parameter) = name.rsplit_once('.').unwrap_or((name, ""));
        if let Some(head) = self
            .adapter
            .head
            .as_ref()
            .filter(|_| module == self.arch.head().0)
        {
            let [weight, bias] = head.to_vecs()?;
            let values = if parameter == "weight" { weight } else { bias };
            finite(path, name, &values)?;
            return put(bytemuck::cast_slice(&values));
        }
        let lora = self.adapter.get(module).filter(|_| parameter == "weight");
        for (first, rows) in chunks(shape) {
            let columns = shape.row_len();
            let mut values = vec![0.0; rows * columns];
            self.source
                .fill(name, shape.dims(), first * columns, &mut values);
            if let Some(lora) = lora {
                values = add(gpu, &values, lora, first..first + rows, self.sign)?;
                finite(path, name, &values)?;
            }
            put(bytemuck::cast_slice(&values))?;
        }
        Ok(())
    }
}

impl Merged<'_> {
    /// The same of a parameter of `layer` with the batch norm worked in that follows it, where one does.
    pub(super) fn folded(
        &self,
        gpu: &Gpu,
        path: &Path,
        layer: &Layer,
        (name, shape): (&str, &Shape),
        mut put: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(norm) = Norm::of(self.source, layer)? else {
            return self.each(gpu, path, (name, shape), put);
        };
        let mut values: Vec<f32> = Vec::new();
        self.each(gpu, path, (name, shape), |bytes| {
            values.extend(bytemuck::pod_collect_to_vec::<u8, f32>(bytes));
            Ok(())
        })?;
        // A channel's factor does not depend on its numbers, so that each can be had without the other.
        let mut other = vec![0.0; layer.weight[0]];
        match shape.rank() {
            1 => norm.fold(layer, &mut other, &mut values)?,
            _ => norm.fold(layer, &mut values, &mut other)?,
        }
        put(bytemuck::cast_slice(&values))
    }
}

/// What is written to `path` as `name` must be finite.
pub(super) fn finite(path: &Path, name: &str, values: &[f32]) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let problem =
        format!("{name} would not be finite: the adapter's numbers or its scale are too large");
    Err(Error::data(path, problem))
}

/// Writes the weights to `path`, computed in f32 on the device, batch norms as they are, and returns the file's
/// size. Where the classes are not
/// ImageNet's their names stand in its notes. `progress` hears of each parameter with its bytes; its error ends the work.
///
/// # Errors
/// [`Error::Usage`] for an adapter with a branch from the pixels, which is beside the network and not in it, for a head that
/// is to be taken out again, and for other than a name for each logit; [`Error::Data`] where a number would not be finite;
/// [`Error::Io`] where the file cannot be written; what the device reported, and what `progress` returned.
pub fn write_merged(
    gpu: &Gpu,
    path: &Path,
    merged: &Merged,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    merged.check()?;
    if merged.adapter.get(PIXELS).is_some() {
        return Err(Error::Usage(
            "the adapter has the branch from the pixels, which runs beside the network: no weight of it can hold that. Keep \
             the adapter as it is, or export the network with it"
                .into(),
        ));
    }
    if merged.adapter.head.is_some() && merged.sign < 0.0 {
        return Err(Error::Usage(
            "the adapter has a last layer of its own, which took the place of the base's: what stood there cannot be had \
             out of the merged weights. Take the base itself"
                .into(),
        ));
    }
    let parameters = merged.parameters();
    let mut notes = notes();
    if !merged.source.trained() {
        notes.insert(TRAINED.into(), "false".into());
    }
    if !(merged.classes.is_imagenet() || merged.classes.is_empty()) {
        notes.insert(CLASSES.into(), json!(merged.classes.names()).to_string());
    }
    let tensors = parameters.iter();
    let tensors = tensors.map(|(name, shape)| (name.as_str(), Dtype::F32, shape.dims()));
    // Words of 8 bytes first, so that all lie as their types ask for.
    let counters = merged.arch.counters();
    let counted = counters
        .iter()
        .map(|name| (name.as_str(), Dtype::I64, &[][..]));
    let header = header(&notes, counted.chain(tensors));
    write_atomic_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path, "write"));
        put(&header)?;
        for name in &counters {
            put(&merged.source.counter(name).to_le_bytes())?;
        }
        for (name, shape) in &parameters {
            merged.each(gpu, path, (name, shape), &mut put)?;
            progress(shape.len() as u64 * 4)?;
        }
        flush(out).map_err(Error::io(path, "write"))
    })?;
    Ok((header.len() + counters.len() * 8) as u64 + merged.bytes())
}

pub(super) fn flush(out: BufWriter<&mut File>) -> std::io::Result<()> {
    out.into_inner().map(|_| ()).map_err(|e| e.into_error())
}

/// Runs of whole rows: the first and how many.
fn chunks(shape: &Shape) -> impl Iterator<Item = (usize, usize)> {
    let (rows, each) = (shape[0], (CHUNK / shape.row_len()).max(1));
    (0..rows)
        .step_by(each)
        .map(move |first| (first, each.min(rows - first)))
}

/// Rows `rows` of a weight plus `sign` times the LoRA's: a convolution's A [R, C, 3, 3] is contracted over R as a matrix
/// [R, 9 C] is.
fn add(
    gpu: &Gpu,
    values: &[f32],
    lora: &Lora,
    rows: std::ops::Range<usize>,
    sign: f32,
) -> Result<Vec<f32>> {
    let (rank, columns) = (lora.rank(), lora.a.shape().row_len());
    let weight = Tensor::from_slice(gpu, [rows.len(), columns], values)?;
    let a = Var::frozen(&lora.a.reshaped([rank, columns]));
    let outputs = lora.b.shape()[0];
    let b = Var::frozen(&lora.b.reshaped([outputs, rank]).rows(rows)?);
    let product = ops::matmul(&mut Tape::new(), &b, &a, Transpose::Nn)?;
    product
        .tensor
        .times_plus(sign * lora.scale(), &weight)?
        .to_vec()
}
