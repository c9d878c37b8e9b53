//! The tutorial's `lora.pth`, `torch.save(lora.state_dict(), "lora.pth")` of a class whose answer is `x A B`: A [m, r] and
//! B [r, n], where PEFT's branch from the pixels keeps both transposed and a scale beside them.

use std::path::Path;

use safetensors::Dtype;

use super::super::entry::View;
use super::super::torch;
use super::super::weights::Tensors;
use super::plain::{Module, Numbers, Plain};
use crate::error::{Error, Result};
use crate::nn::lora::PIXELS;

/// Whether a file has what the tutorial's has.
pub(super) fn is_one(file: &Tensors) -> bool {
    file.names().eq(["A", "B"])
}

pub(super) fn read(file: &Tensors) -> Result<Plain> {
    let wrong = |problem: String| Error::data(file.path(), problem);
    let (Some(a), Some(b)) = (file.get("A"), file.get("B")) else {
        return Err(wrong("has no A and B".into()));
    };
    let ([m, rank], [other, _]) = (a.shape, b.shape) else {
        return Err(wrong("A and B are no matrices".into()));
    };
    let side = (m / 3).isqrt();
    if rank != other || *rank == 0 || 3 * side * side != *m {
        return Err(wrong(format!(
            "A {:?} and B {:?} are none of a branch from the pixels: [3 side side, rank] and [rank, classes]",
            a.shape, b.shape
        )));
    }
    let module = Module {
        name: PIXELS.into(),
        alpha: *rank as f64,
        a: transposed(a),
        b: transposed(b),
    };
    Ok(Plain {
        modules: vec![module],
        notes: file.metadata().clone(),
        ..Plain::default()
    })
}

/// Writes `path` and returns its size.
pub(super) fn write(adapter: &Plain, from: &Path, path: &Path) -> Result<u64> {
    adapter.only_loras(from, "the tutorial's file")?;
    let [Module { name, a, b, alpha }] = &adapter.modules[..] else {
        return Err(only_pixels(adapter, from));
    };
    if name != PIXELS {
        return Err(only_pixels(adapter, from));
    }
    adapter.modules[0]
        .rank()
        .map_err(|e| Error::data(from, e))?;
    let scale = *alpha / a.shape[0] as f64;
    let mut b = b.clone();
    if scale != 1.0 {
        scaled(&mut b, scale).ok_or_else(|| {
            let problem = format!(
                "scales its branch by {scale}, for which the tutorial's file has no place, and B times that would be \
                 rounded"
            );
            Error::data(from, problem)
        })?;
    }
    let [a, b] = [a, &b].map(|numbers| transposed(view(numbers)));
    torch::write(path, &[("A", view(&a)), ("B", view(&b))], |_| Ok(()))
}

fn only_pixels(adapter: &Plain, from: &Path) -> Error {
    let names: Vec<&str> = adapter.modules.iter().map(|m| m.name.as_str()).collect();
    let problem = format!(
        "adapts {}, and the tutorial's file holds the branch from the pixels alone",
        super::super::entry::shown(&names.join(", "))
    );
    Error::data(from, problem)
}

fn view(numbers: &Numbers) -> View<'_> {
    View {
        dtype: numbers.dtype,
        shape: &numbers.shape,
        data: &numbers.bytes,
    }
}

fn transposed(matrix: View) -> Numbers {
    let size = matrix.dtype.bitsize() / 8;
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let mut bytes = Vec::with_capacity(matrix.data.len());
    for column in 0..columns {
        for row in 0..rows {
            bytes.extend_from_slice(&matrix.data[(row * columns + column) * size..][..size]);
        }
    }
    Numbers {
        dtype: matrix.dtype,
        shape: vec![columns, rows],
        bytes,
    }
}

/// Multiplies f32 numbers where no product is rounded.
fn scaled(numbers: &mut Numbers, scale: f64) -> Option<()> {
    if numbers.dtype != Dtype::F32 {
        return None;
    }
    let (words, _) = numbers.bytes.as_chunks_mut();
    for word in words {
        let value = f64::from(f32::from_le_bytes(*word));
        let product = value * scale;
        // Exact in f64, and in f32 too.
        let exact = product / scale == value && f64::from(product as f32) == product;
        *word = exact.then_some(product as f32)?.to_le_bytes();
    }
    Some(())
}
