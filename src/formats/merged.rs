//! A base with an adapter worked into its weights, as a file that torchvision loads: `W' = W + s B A`, in f32 whatever
//! the base is kept in, since a half would round much of the sum away.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;

use super::write::{header, notes};
use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::files::write_atomic_with;
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Lora, Source};
use crate::ops::{self, Transpose};
use crate::tensor::{Shape, Tensor};

/// Elements of a weight that are worked on at a time.
const CHUNK: usize = 4 << 20;

/// Writes the weights of `source` plus `sign` times those of `adapter` to `path`, computed in f32 on the device, batch norms
/// as they are, and returns the file's size. `progress` hears of each parameter with its bytes; its error ends the work.
///
/// # Errors
/// [`Error::Usage`] for an adapter with a branch from the pixels, which is beside the network and not in it;
/// [`Error::Io`] where the file cannot be written; what the device reported, and what `progress` returned.
pub fn write_merged(
    gpu: &Gpu,
    path: &Path,
    arch: Arch,
    source: &Source,
    adapter: &Adapter,
    sign: f32,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    if adapter.get(PIXELS).is_some() {
        return Err(Error::Usage(
            "the adapter has the branch from the pixels, which runs beside the network: no weight of VGG19 can hold it. \
             Keep the adapter as it is; only adapters of layers can be merged"
                .into(),
        ));
    }
    let parameters: BTreeMap<String, Shape> = arch.parameters().into_iter().collect();
    let tensors = parameters.iter();
    let tensors = tensors.map(|(name, shape)| (name.as_str(), Dtype::F32, shape.dims()));
    // Words of 8 bytes first, so that all lie as their types ask for.
    let counters = arch.counters();
    let counted = counters
        .iter()
        .map(|name| (name.as_str(), Dtype::I64, &[][..]));
    let header = header(&notes(), counted.chain(tensors));
    let data: usize = parameters.values().map(|shape| shape.len() * 4).sum();
    let data = data + counters.len() * 8;
    write_atomic_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path, "write"));
        put(&header)?;
        for name in &counters {
            put(&source.counter(name).to_le_bytes())?;
        }
        for (name, shape) in &parameters {
            let lora = name
                .strip_suffix(".weight")
                .and_then(|module| adapter.get(module));
            for (first, rows) in chunks(shape) {
                let columns = shape.row_len();
                let mut values = vec![0.0; rows * columns];
                source.fill(name, shape.dims(), first * columns, &mut values);
                if let Some(lora) = lora {
                    values = add(gpu, &values, lora, first..first + rows, sign)?;
                    if !values.iter().all(|value| value.is_finite()) {
                        return Err(Error::data(
                            path,
                            format!(
                                "{name} would not be finite: the adapter's numbers or its scale are too large"
                            ),
                        ));
                    }
                }
                put(bytemuck::cast_slice(&values))?;
            }
            progress(shape.len() as u64 * 4)?;
        }
        flush(out).map_err(Error::io(path, "write"))
    })?;
    Ok((header.len() + data) as u64)
}

fn flush(out: BufWriter<&mut File>) -> std::io::Result<()> {
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
