//! Where an image comes from: a file, or bytes that came another way.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::image::{LARGEST, content};
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

    /// What it holds.
    pub(super) fn content(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Origin::File(path) => content(path).map(Cow::Owned),
            Origin::Bytes(_, bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

/// A digest of what files are called and how long they are, in their order; of what is no file on this machine its name counts.
pub fn files_digest<'a>(files: impl IntoIterator<Item = &'a Path>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.as_os_str().as_encoded_bytes());
        let length = file.metadata().map_or(u64::MAX, |about| about.len());
        hash.update([&[0][..], &length.to_le_bytes()].concat());
    }
    hash.finalize().into()
}

/// The SHA-256 of a file's bytes: whatever it is called and wherever it lies, the same image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        ContentHash(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
