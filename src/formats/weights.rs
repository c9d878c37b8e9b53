//! VGG19's weights from a safetensors file under torchvision's or timm's names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::nn::weights::Mapped;
use crate::nn::{Arch, Source};
use crate::tensor::Shape;

/// A safetensors file in memory as far as it is looked at.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    map: Mmap,
}

impl Tensors {
    /// Opens and checks the header: its length, every offset and every size.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened, [`Error::Data`] where it is no safetensors file or a damaged one.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let bytes = file.metadata().map_err(Error::io(path, "open"))?;
        if !bytes.is_file() || bytes.len() < 8 {
            return Err(Error::data(
                path,
                format!(
                    "not a safetensors file ({} bytes). Fetch or convert it again",
                    bytes.len()
                ),
            ));
        }
        // SAFETY: the map is read-only. Another process that cuts the file while it is read would end
        // this one with SIGBUS, as it would any reader of a mapped file; no Rust reference is broken.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map"))?;
        let tensors = Tensors {
            path: path.to_path_buf(),
            map,
        };
        tensors.parse()?;
        Ok(tensors)
    }

    fn parse(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|e| {
            let problem = format!("not a whole safetensors file ({e}). Fetch or convert it again");
            Error::data(&self.path, problem)
        })
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

    /// The bytes of the wanted f32 tensors by name. The file may hold others only where `extra` allows them.
    ///
    /// # Errors
    /// [`Error::Data`] that names every tensor which is missing, extra, of another shape or dtype, or not finite.
    pub fn take(
        &self,
        wanted: &[(String, Shape)],
        rename: impl Fn(&str) -> String,
    ) -> Result<BTreeMap<String, &[u8]>> {
        let file = self.parse()?;
        let mut problems = Vec::new();
        let mut found = BTreeMap::new();
        let mut used = BTreeSet::new();
        for (name, shape) in wanted {
            let stored = rename(name);
            used.insert(stored.clone());
            let Ok(view) = file.tensor(&stored) else {
                problems.push(format!("{stored} is missing"));
                continue;
            };
            // timm keeps the linear layers as convolutions of the same elements.
            let squeezed: usize = view.shape().iter().product();
            let same = view.shape() == shape.dims() || (stored != *name && squeezed == shape.len());
            if !same {
                problems.push(format!(
                    "{stored} has shape {:?} and should have {shape}",
                    view.shape()
                ));
            } else if view.dtype() != Dtype::F32 {
                problems.push(format!("{stored} is {:?} and should be F32", view.dtype()));
            } else {
                found.insert(name.clone(), offset_of(&self.map, view.data()));
            }
        }
        problems.extend(
            file.names()
                .iter()
                .filter(|name| !used.contains(**name))
                .map(|name| format!("{name} does not belong here")),
        );
        let found: BTreeMap<String, &[u8]> = found
            .into_iter()
            .map(|(name, range)| (name, &self.map[range]))
            .collect();
        problems.extend(
            found
                .iter()
                .filter(|(_, bytes)| {
                    let finite = all_finite(bytes);
                    self.release(bytes);
                    !finite
                })
                .map(|(name, _)| format!("{name} holds values that are not finite")),
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

    /// Lets the system take the memory behind a part of the file back: it is read again when it is looked at again.
    /// Small parts are not worth the call.
    #[allow(unsafe_code)]
    fn release(&self, part: &[u8]) {
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

/// Whether no f32 among the bytes is NaN or infinite.
fn all_finite(bytes: &[u8]) -> bool {
    bytes.par_chunks(1 << 20).all(|run| {
        run.chunks_exact(4)
            .all(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]).is_finite())
    })
}

/// timm's name for a parameter of torchvision's vgg19.
fn timm_name(name: &str) -> String {
    name.replace("classifier.0", "pre_logits.fc1")
        .replace("classifier.3", "pre_logits.fc2")
        .replace("classifier.6", "head.fc")
}

impl Tensors {
    /// The parameters of `arch`, under torchvision's or timm's names.
    ///
    /// # Errors
    /// As [`Tensors::take`].
    pub fn source(&self, arch: Arch) -> Result<Source<'_>> {
        let timm = self
            .parse()?
            .names()
            .iter()
            .any(|name| name.starts_with("pre_logits."));
        let rename = |name: &str| {
            if timm {
                timm_name(name)
            } else {
                name.to_string()
            }
        };
        Ok(Source::File(Mapped {
            parameters: self.take(&arch.parameters(), rename)?,
            release: Box::new(|part| self.release(part)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{all_finite, timm_name};

    #[test]
    fn timms_names_are_translated() {
        assert_eq!(timm_name("features.0.weight"), "features.0.weight");
        assert_eq!(timm_name("classifier.0.weight"), "pre_logits.fc1.weight");
        assert_eq!(timm_name("classifier.6.bias"), "head.fc.bias");
    }

    #[test]
    fn one_nan_among_many_is_found() {
        let mut values = vec![1.0f32; 600_000];
        assert!(all_finite(bytemuck::cast_slice(&values)));
        values[599_999] = f32::NAN;
        assert!(!all_finite(bytemuck::cast_slice(&values)));
    }
}
