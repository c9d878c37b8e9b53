//! The names of the classes beside an adapter's or a network's numbers: in the notes of its safetensors file, and in a list
//! for people.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::weights::Tensors;
use crate::data::Classes;
use crate::error::{Error, Result};
use crate::files::write_atomic;

/// The note with the names, a JSON list in the order of the logits.
pub(super) const CLASSES: &str = "goldfish.classes";
/// The file with the names, one a line.
pub(super) const LIST: &str = "classes.txt";
/// The most bytes that are read of it.
const MAX_LIST: u64 = 16 << 20;

/// The classes of `outputs` logits as the notes of `file` name them, or where it has none the list in `folder`.
///
/// # Errors
/// [`Error::Data`] where they are not as many as the logits, not names, or the two differ.
pub(super) fn classes(file: &Tensors, folder: &Path, outputs: usize) -> Result<Option<Classes>> {
    let Some((source, classes)) = named(file, folder)? else {
        return Ok(None);
    };
    if classes.len() != outputs {
        let problem = format!(
            "names {} classes, and there are {outputs} logits: it belongs to another adapter or network",
            classes.len()
        );
        return Err(Error::data(&source, problem));
    }
    Ok(Some(classes))
}

/// The classes, however many, and the file that names them.
///
/// # Errors
/// As [`classes`].
pub(super) fn named(file: &Tensors, folder: &Path) -> Result<Option<(PathBuf, Classes)>> {
    let noted = noted(file)?;
    let path = folder.join(LIST);
    let listed = listed(&path)?;
    match (noted, listed) {
        (Some(noted), Some(listed)) if noted != listed => {
            let problem = format!(
                "lists other classes than {} does: it belongs to another adapter. Remove it, or put back the one that \
                 came with this adapter",
                file.path().display()
            );
            Err(Error::data(&path, problem))
        }
        (Some(noted), _) => Ok(Some((file.path().into(), noted))),
        (None, Some(listed)) => Ok(Some((path, listed))),
        (None, None) => Ok(None),
    }
}

/// Writes the list in `folder`, or removes that of another adapter where there are no names to list.
///
/// # Errors
/// [`Error::Io`] where it cannot be written or removed.
pub(super) fn write_list(folder: &Path, classes: Option<&Classes>) -> Result<()> {
    let path = folder.join(LIST);
    match classes {
        Some(classes) => write_atomic(&path, (classes.names().join("\n") + "\n").as_bytes()),
        None if path.exists() => fs::remove_file(&path).map_err(Error::io(&path, "remove")),
        None => Ok(()),
    }
}

impl Tensors {
    /// What the logits of the network in this file mean, where its notes say so: `outputs` of them.
    ///
    /// # Errors
    /// [`Error::Data`] where what they say is no list of so many names.
    pub fn classes(&self, outputs: usize) -> Result<Option<Classes>> {
        let classes = noted(self)?;
        match classes.as_ref().filter(|classes| classes.len() != outputs) {
            None => Ok(classes),
            Some(others) => {
                let problem = format!(
                    "names {} classes in its notes, and its network has {outputs}. Fetch or merge it again",
                    others.len()
                );
                Err(Error::data(self.path(), problem))
            }
        }
    }
}

/// The names in a file's notes.
///
/// # Errors
/// [`Error::Data`] where they are no list of names.
pub(super) fn noted(file: &Tensors) -> Result<Option<Classes>> {
    let Some(text) = file.metadata().get(CLASSES) else {
        return Ok(None);
    };
    let wrong = |why: String| Error::data(file.path(), format!("{CLASSES} in its notes: {why}"));
    let names: Vec<String> = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let classes = Classes::listed(names).map_err(|e| wrong(e.to_string()))?;
    Ok(Some(classes))
}

fn listed(path: &Path) -> Result<Option<Classes>> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.len() <= MAX_LIST => {}
        Ok(_) => return Err(Error::data(path, "is no list of class names, one a line")),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, "read")(e)),
    }
    let text = fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let text = text
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n']);
    let names = text
        .lines()
        .map(|line| line.trim_end_matches('\r').to_string());
    let classes = Classes::listed(names.collect());
    Ok(Some(classes.map_err(|e| Error::data(path, e.to_string()))?))
}
