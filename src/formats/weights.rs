//! A file of tensors, safetensors or PyTorch's: opened and checked as a whole, then read a tensor at a time, whatever its
//! floating-point type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use super::entry::{Data, Entry, View, float, shown};
use super::{header, sniff, torch};
use crate::error::{Error, Result};
use crate::nn::weights::{Float, Stored};
use crate::tensor::Shape;

/// A file of tensors, in memory as far as it is looked at.
#[derive(Debug)]
pub struct Tensors {
    pub(super) path: PathBuf,
    map: Mmap,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// Opens a safetensors file, or one of `torch.save` in either of its forms, and checks what it says of its tensors:
    /// every name, every offset and every size. Of a pickle nothing is run.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened, [`Error::Data`] where it is neither or a damaged one: it says what it is
    /// instead.
    pub fn open(path: &Path) -> Result<Self> {
        // Before it is opened: a pipe would wait for someone to write.
        let about = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
        if !about.is_file() {
            return Err(Error::data(
                path,
                "is not a file: name the file of weights itself",
            ));
        }
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        if about.len() == 0 {
            return Err(Error::data(path, sniff::instead(b"")));
        }
        // SAFETY: the map is read-only. Another process that cuts the file while it is read would end
        // this one with SIGBUS, as it would any reader of a mapped file; no Rust reference is broken.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map"))?;
        let damaged = |problem| Error::data(path, problem);
        let (entries, metadata) = match torch::is_torch(&map) {
            true => (torch::read(&map).map_err(damaged)?, BTreeMap::new()),
            false => {
                header::check(&map).map_err(damaged)?;
                safetensors(&map).map_err(damaged)?
            }
        };
        Ok(Tensors {
            path: path.to_path_buf(),
            map,
            entries,
            metadata,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape of a tensor, where there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.entries.get(name)?.shape)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The file's own notes; PyTorch's files have none.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Shows every tensor by name: name, dtype, shape, bytes.
    pub fn each(&self, mut show: impl FnMut(&str, Dtype, &[usize], &[u8])) {
        for (name, entry) in &self.entries {
            let view = entry.view(&self.map);
            show(name, view.dtype, view.shape, view.data);
            self.release(view.data);
        }
    }

    /// Whether it is PyTorch's own.
    pub(super) fn is_torch(&self) -> bool {
        torch::is_torch(&self.map)
    }

    /// The names of the tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<View<'_>> {
        Some(self.entries.get(name)?.view(&self.map))
    }

    /// The wanted tensors by name, of any type of floating-point number; `stored` says what the file calls one. The
    /// file holds no others.
    ///
    /// # Errors
    /// [`Error::Data`] that names every tensor which is missing, extra, of another shape or type, or not finite.
    pub fn take(
        &self,
        wanted: &[(String, Shape)],
        stored: impl Fn(&str) -> String,
    ) -> Result<BTreeMap<String, Stored<'_>>> {
        self.take_beside(wanted, stored, &[])
    }

    /// The same of a file that may hold the tensors that it calls `beside` too.
    pub(super) fn take_beside(
        &self,
        wanted: &[(String, Shape)],
        stored: impl Fn(&str) -> String,
        beside: &[String],
    ) -> Result<BTreeMap<String, Stored<'_>>> {
        let mut problems = Vec::new();
        let mut found = BTreeMap::new();
        let mut used: BTreeSet<String> = beside.iter().cloned().collect();
        for (name, shape) in wanted {
            let stored = stored(name);
            let tensor = self.get(&stored);
            match tensor.map(|view| (fits(view.shape, shape), float(view.dtype), view)) {
                None => problems.push(format!("{} is missing", shown(&stored))),
                Some((false, _, view)) => problems.push(format!(
                    "{} has shape {:?} and should have {shape}",
                    shown(&stored),
                    view.shape
                )),
                Some((_, None, view)) => problems.push(format!(
                    "{} is {:?} and should be F32, F16, BF16 or F64",
                    shown(&stored),
                    view.dtype
                )),
                Some((_, Some(float), view)) => {
                    let bytes = view.data;
                    let numbers = Stored { float, bytes };
                    if !all_finite(numbers) {
                        problems.push(format!(
                            "{} holds values that are not finite{}",
                            shown(&stored),
                            if float == Float::F64 { " in f32" } else { "" }
                        ));
                    }
                    self.release(bytes);
                    found.insert(name.clone(), numbers);
                }
            }
            used.insert(stored);
        }
        let extra = self.names().filter(|name| !used.contains(*name));
        problems.extend(extra.map(|name| format!("{} does not belong here", shown(name))));
        if problems.is_empty() {
            return Ok(found);
        }
        const SHOWN: usize = 12;
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Err(Error::data(&self.path, problems.join("; ")))
    }

    /// Lets the system take the memory behind a part of the file back: it is read again when it is looked at again.
    /// Small parts are not worth the call.
    #[allow(unsafe_code)]
    pub(super) fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if part.len() >= 1 << 20
            && let Some(range) = range_of(&self.map, part)
        {
            // SAFETY: the map is of a file and read-only, so that pages which are dropped come back as they were. A
            // system that refuses keeps them, which is no error.
            let _ = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
        #[cfg(not(unix))]
        let _ = part;
    }
}

/// What a safetensors file has: its tensors and its notes. The problem is a sentence that follows the file's name.
type Contents = (BTreeMap<String, Entry>, BTreeMap<String, String>);

fn safetensors(file: &[u8]) -> Result<Contents, String> {
    let damaged = |e| format!("not a whole safetensors file ({e}). Fetch or convert it again");
    let tensors = SafeTensors::deserialize(file).map_err(damaged)?;
    let entries = tensors.iter().map(|(name, view)| {
        let entry = Entry {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: Data::Lies(range_of(file, view.data()).unwrap_or_default()),
        };
        (name.to_string(), entry)
    });
    let entries = entries.collect();
    let (_, header) = SafeTensors::read_metadata(file).map_err(damaged)?;
    let notes = header.metadata().clone().unwrap_or_default();
    Ok((entries, notes.into_iter().collect()))
}

/// Where `part` lies in `whole`, if it does.
fn range_of(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Whether every number is finite as an f32.
fn all_finite(numbers: Stored) -> bool {
    const RUN: usize = 1 << 14;
    let runs = numbers.count().div_ceil(RUN);
    (0..runs).into_par_iter().all(|run| {
        let mut values = [0.0; RUN];
        let values = &mut values[..RUN.min(numbers.count() - run * RUN)];
        numbers.part(run * RUN, values.len()).widen(values);
        values.iter().all(|value| value.is_finite())
    })
}

/// Whether a tensor of this shape can be read as one of the `wanted` shape: timm keeps linear layers as convolutions
/// over the whole plane, whose elements lie in the same order.
fn fits(stored: &[usize], wanted: &Shape) -> bool {
    let wanted = wanted.dims();
    match (stored, wanted) {
        ([outputs, planes @ ..], [rows, columns]) if planes.len() == 3 => {
            outputs == rows && planes.iter().product::<usize>() == *columns
        }
        _ => stored == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_layer_may_be_kept_as_a_convolution_and_nothing_else_as_another_shape() {
        assert!(fits(&[64, 1176], &[64, 1176].into()));
        assert!(fits(&[64, 24, 7, 7], &[64, 1176].into()));
        for other in [
            &[1176, 64][..],
            &[24, 64, 7, 7],
            &[64, 1176, 1],
            &[64, 25, 7, 7],
        ] {
            assert!(!fits(other, &[64, 1176].into()), "{other:?}");
        }
        assert!(!fits(&[3, 4, 3, 3], &[4, 3, 3, 3].into()));
    }

    #[test]
    fn one_nan_among_many_is_found_and_a_double_that_is_no_f32() {
        let mut values = vec![1.0f32; 600_000];
        let finite = |values: &[f32]| {
            all_finite(Stored {
                float: Float::F32,
                bytes: bytemuck::cast_slice(values),
            })
        };
        assert!(finite(&values));
        values[599_999] = f32::NAN;
        assert!(!finite(&values));
        for (double, fits) in [(3e38, true), (1e39, false), (f64::NEG_INFINITY, false)] {
            let bytes = f64::to_le_bytes(double);
            assert_eq!(
                all_finite(Stored {
                    float: Float::F64,
                    bytes: &bytes
                }),
                fits
            );
        }
    }
}
