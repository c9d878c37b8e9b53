//! Where a run stands, as one safetensors file: tensors under names of their own, a note that says the rest, and a SHA-256
//! over both, since what a run goes on from must be what it was to the bit.

use std::path::Path;

use safetensors::Dtype;
use sha2::{Digest as _, Sha256};

use super::weights::Tensors;
use super::write;
use crate::error::{Error, Result};
use crate::files::write_atomic_with;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// The note that says where the run stands.
const NOTE: &str = "goldfish.state";
/// The note with the SHA-256 of that note and of all numbers in their order.
const DIGEST: &str = "goldfish.state_sha256";
/// Named tensors, in the order in which they are written.
pub(crate) type Named = Vec<(String, Tensor)>;

/// Writes `tensors` and `note` to `path`; returns the file's bytes.
///
/// # Errors
/// [`Error::Io`] where it cannot be written.
pub(crate) fn save(path: &Path, note: &str, tensors: &Named) -> Result<u64> {
    use std::io::Write;
    let numbers = tensors.iter().map(|(_, tensor)| tensor.to_vec());
    let numbers: Vec<Vec<f32>> = numbers.collect::<Result<_>>()?;
    let mut hasher = Sha256::new_with_prefix(note);
    for values in &numbers {
        hasher.update(bytemuck::cast_slice(values));
    }
    let mut notes = write::notes();
    notes.insert(NOTE.into(), note.into());
    notes.insert(DIGEST.into(), hex(hasher));
    let entries = tensors.iter();
    let entries = entries.map(|(name, tensor)| (name.as_str(), Dtype::F32, tensor.shape().dims()));
    let header = write::header(&notes, entries);
    write_atomic_with(path, |file| {
        let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path, "write"));
        write(&header)?;
        let parts = numbers.iter();
        parts.map(|v| bytemuck::cast_slice(v)).try_for_each(write)
    })?;
    let numbers: usize = numbers.iter().map(Vec::len).sum();
    Ok((header.len() + 4 * numbers) as u64)
}

/// A file that [`save`] wrote, opened and found whole.
pub(crate) struct State {
    file: Tensors,
    note: String,
}

impl State {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Tensors::open`]; [`Error::Data`] where it is no such file, or not as it was written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = Tensors::open(path)?;
        let damaged = |why: &str| {
            let problem = format!("{why}: it is no state of a run, or not as it was written");
            Error::data(path, problem)
        };
        let note = file.metadata().get(NOTE);
        let note = note.ok_or_else(|| damaged("has no note"))?.clone();
        // As they lie in the file, which is the order in which they were written.
        let mut parts: Vec<&[u8]> = Vec::new();
        for name in file.names() {
            let view = file.get(name).filter(|view| view.dtype == Dtype::F32);
            parts.push(
                view.ok_or_else(|| damaged("holds other numbers than f32"))?
                    .data,
            );
        }
        parts.sort_by_key(|part| part.as_ptr());
        let mut hasher = Sha256::new_with_prefix(&note);
        for part in parts {
            hasher.update(part);
            file.release(part);
        }
        if file.metadata().get(DIGEST) != Some(&hex(hasher)) {
            return Err(damaged("is damaged"));
        }
        Ok(State { file, note })
    }

    /// What was said beside the numbers.
    pub(crate) fn note(&self) -> &str {
        &self.note
    }

    /// The tensor of this name, where there is one.
    ///
    /// # Errors
    /// What the device reported.
    pub(crate) fn tensor(&self, gpu: &Gpu, name: &str) -> Result<Option<Tensor>> {
        let Some(view) = self.file.get(name) else {
            return Ok(None);
        };
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap_or_default());
        let tensor = Tensor::from_fn(gpu, view.shape, |first, out| {
            let bytes = &view.data[4 * first..][..4 * out.len()];
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *out = number(bytes);
            }
        })?;
        Ok(Some(tensor))
    }

    /// All tensors.
    ///
    /// # Errors
    /// What the device reported.
    pub(crate) fn tensors(&self, gpu: &Gpu) -> Result<Named> {
        let all = self.file.names().map(|name| {
            let tensor = self.tensor(gpu, name)?;
            Ok(tensor.map(|tensor| (name.to_string(), tensor)))
        });
        all.filter_map(Result::transpose).collect()
    }
}

fn hex(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
