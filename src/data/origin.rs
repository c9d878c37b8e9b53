//! Where an image comes from: a file, or bytes that came another way.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::{Decoded, LARGEST, decode, decode_bytes};
use crate::error::{Error, Result};

/// An image file, or the content of one.
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A file's content, and what it is called.
    Bytes(PathBuf, Arc<[u8]>),
}

impl fmt::Debug for Origin {
    /// The name, not the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origin").field(&self.name()).finish()
    }
}

impl Origin {
    /// Everything that `reader` gives, which is to be called `name`; of more than a picture has, no more than is needed to
    /// refuse it.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn read(name: &Path, reader: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = reader.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(Error::io(name, "read"))?;
        Ok(Origin::Bytes(name.into(), bytes.into()))
    }

    /// What it is called.
    pub fn name(&self) -> &Path {
        match self {
            Origin::File(name) | Origin::Bytes(name, _) => name,
        }
    }

    pub(super) fn decode(&self, exif: bool) -> Result<Decoded> {
        match self {
            Origin::File(path) => decode(path, exif),
            Origin::Bytes(name, bytes) => decode_bytes(name, bytes, exif),
        }
    }
}
