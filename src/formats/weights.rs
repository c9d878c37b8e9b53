//! A safetensors file: opened and checked as a whole, then read a tensor at a time, whatever its floating-point type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::{header, sniff};
use crate::error::{Error, Result};
use crate::nn::digest::{self, Digest};
use crate::nn::weights::{Float, Stored};
use crate::tensor::Shape;

/// A safetensors file in memory as far as it is looked at.
#[derive(Debug)]
pub struct Tensors {
    pub(super) path: PathBuf,
    map: Mmap,
    /// The tensors whose numbers have been looked at and are finite, with the digest of those.
    looked: Mutex<BTreeMap<String, Digest>>,
}

impl Tensors {
    /// Opens and checks the header: its length, every name, every offset and every size.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened, [`Error::Data`] where it is no safetensors file or a damaged one: it
    /// says what it is instead.
    pub fn open(path: &Path) -> Result<Self> {
        // Before it is opened: a pipe would wait for someone to write.
        let about = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
        if !about.is_file() {
            return Err(Error::data(
                path,
                "is not a file: name the safetensors file itself",
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
        let tensors = Tensors {
            path: path.to_path_buf(),
            map,
            looked: Mutex::default(),
        };
        header::check(&tensors.map).map_err(|problem| Error::data(path, problem))?;
        tensors.parse()?;
        Ok(tensors)
    }

    pub(super) fn parse(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|e| {
            let problem = format!("not a whole safetensors file ({e}). Fetch or convert it again");
            Error::data(&self.path, problem)
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape of a tensor, where there is one of this name.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let file = self.parse()?;
        Ok(file.tensor(name).ok().map(|view| view.shape().to_vec()))
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The file's own notes.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let header = SafeTensors::read_metadata(&self.map);
        let (_, header) =
            header.map_err(|e| Error::data(&self.path, format!("not a safetensors file ({e})")))?;
        let notes = header.metadata().clone().unwrap_or_default();
        Ok(notes.into_iter().collect())
    }

    /// Shows every tensor by name: name, dtype, shape, bytes.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn each(&self, mut show: impl FnMut(&str, Dtype, &[usize], &[u8])) -> Result<()> {
        let file = self.parse()?;
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, view) in tensors {
            show(&name, view.dtype(), view.shape(), view.data());
            self.release(view.data());
        }
        Ok(())
    }

    /// The names of the tensors.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn names(&self) -> Result<BTreeSet<String>> {
        let file = self.parse()?;
        Ok(file.names().into_iter().map(str::to_string).collect())
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
        let file = self.parse()?;
        let mut problems = Vec::new();
        let mut found = BTreeMap::new();
        let mut used: BTreeSet<String> = beside.iter().cloned().collect();
        for (name, shape) in wanted {
            let stored = stored(name);
            let tensor = file.tensor(&stored);
            match tensor.map(|view| (fits(view.shape(), shape), float(view.dtype()), view)) {
                Err(_) => problems.push(format!("{} is missing", shown(&stored))),
                Ok((false, _, view)) => problems.push(format!(
                    "{} has shape {:?} and should have {shape}",
                    shown(&stored),
                    view.shape()
                )),
                Ok((_, None, view)) => problems.push(format!(
                    "{} is {:?} and should be F32, F16, BF16 or F64",
                    shown(&stored),
                    view.dtype()
                )),
                Ok((_, Some(float), view)) => {
                    let bytes = &self.map[offset_of(&self.map, view.data())];
                    let numbers = Stored { float, bytes };
                    if !self.look(&stored, numbers) {
                        problems.push(format!(
                            "{} holds values that are not finite{}",
                            shown(&stored),
                            if float == Float::F64 { " in f32" } else { "" }
                        ));
                    }
                    found.insert(name.clone(), numbers);
                }
            }
            used.insert(stored);
        }
        let extra = file
            .names()
            .into_iter()
            .filter(|name| !used.contains(*name));
        let extra: BTreeSet<&str> = extra.collect();
        problems.extend(
            extra
                .into_iter()
                .map(|name| format!("{} does not belong here", shown(name))),
        );
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

    /// Whether the numbers of a tensor are finite as f32. In the same pass their digest is taken, and neither is done again.
    fn look(&self, stored: &str, numbers: Stored) -> bool {
        if self.digest(stored).is_some() {
            return true;
        }
        let (digest, finite) = looked(numbers);
        self.release(numbers.bytes);
        if finite {
            let mut known = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(stored.into(), digest);
        }
        finite
    }

    /// The digest of a tensor's numbers, once it has been taken.
    pub(super) fn digest(&self, stored: &str) -> Option<Digest> {
        let known = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(stored).copied()
    }

    /// Lets the system take the memory behind a part of the file back: it is read again when it is looked at again.
    /// Small parts are not worth the call.
    #[allow(unsafe_code)]
    pub(super) fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if part.len() >= 1 << 20 {
            let range = offset_of(&self.map, part);
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

/// Where `part` lies in `whole`, so that it can be borrowed for as long as `whole`.
fn offset_of(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// The digest of numbers as f32, and whether they are finite.
fn looked(numbers: Stored) -> (Digest, bool) {
    let fill = |first: usize, out: &mut [f32]| numbers.part(first, out.len()).widen(out);
    digest::numbers(numbers.count(), fill)
}

/// How numbers of this type are read; none for those that are not floating-point or too narrow for weights.
pub(super) fn float(dtype: Dtype) -> Option<Float> {
    match dtype {
        Dtype::F16 => Some(Float::F16),
        Dtype::BF16 => Some(Float::Bf16),
        Dtype::F32 => Some(Float::F32),
        Dtype::F64 => Some(Float::F64),
        _ => None,
    }
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

/// A name out of a file, fit to be printed.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 100;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
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
    fn names_are_printed_without_control_characters_and_not_for_pages() {
        assert_eq!(shown("a\0\u{1b}[2J"), "a\\0\\u{1b}[2J");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), 103);
    }

    #[test]
    fn one_nan_among_many_is_found_and_a_double_that_is_no_f32() {
        let mut values = vec![1.0f32; 600_000];
        let finite = |values: &[f32]| {
            looked(Stored {
                float: Float::F32,
                bytes: bytemuck::cast_slice(values),
            })
            .1
        };
        assert!(finite(&values));
        values[599_999] = f32::NAN;
        assert!(!finite(&values));
        for (double, fits) in [(3e38, true), (1e39, false), (f64::NEG_INFINITY, false)] {
            let bytes = f64::to_le_bytes(double);
            assert_eq!(
                looked(Stored {
                    float: Float::F64,
                    bytes: &bytes
                })
                .1,
                fits
            );
        }
    }
}
