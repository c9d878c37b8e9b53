//! The base that an adapter was trained on, in the notes of its file.

use std::path::Path;

use super::layout::{files, head_key};
use super::weights::Tensors;
use crate::error::{Error, Result};
use crate::nn::Identity;
use crate::nn::arch::{Arch, VGG19};

/// The note, as JSON.
pub(super) const BASE: &str = "goldfish.base";
/// More characters than the name of a base has.
const MOST_NAME: usize = 100;

/// What an adapter stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The base that it was trained on.
    pub base: Identity,
    /// Whether it has a last layer of its own and needs no more of the base than what lies below.
    pub own_last_layer: bool,
}

/// What the adapter at `path` stands on, where its file says so: PEFT's own do not.
///
/// # Errors
/// As [`Tensors::open`]; [`Error::Data`] where what it says is no base.
pub fn standing(path: &Path) -> Result<Option<Standing>> {
    let [_, path] = files(path);
    let file = Tensors::open(&path)?;
    // Of a network with hidden linear layers, and of one without.
    let last = [1, 0].map(|hidden| Arch { hidden, ..VGG19 }.head().0);
    let own = |module: &&str| file.shape(&head_key(module, "weight")).is_some();
    let own_last_layer = last.iter().any(own);
    let base = base(&file)?;
    Ok(base.map(|base| Standing {
        base,
        own_last_layer,
    }))
}

/// What the notes of `file` say of its base.
///
/// # Errors
/// [`Error::Data`] where that is no base.
pub(super) fn base(file: &Tensors) -> Result<Option<Identity>> {
    let notes = file.metadata();
    let Some(text) = notes.get(BASE) else {
        return Ok(None);
    };
    let wrong = |why: &str| Error::data(file.path(), format!("{BASE} in its notes: {why}"));
    let base: Identity = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    let digests = [&base.sha256, &base.trunk];
    let digest = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if base.name.chars().count() > MOST_NAME || !digests.into_iter().flatten().all(digest) {
        return Err(wrong("not a name and two SHA-256"));
    }
    Ok(Some(base))
}
