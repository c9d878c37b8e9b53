//! The images below a folder, in the order in which torchvision's `ImageFolder` takes them, and what lies
//! there and is no image.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::image::is_image;
use crate::error::{Error, Result};

/// Left out files that a line names before it only counts.
const NAMED: usize = 5;

/// Files that were passed over, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(pub Vec<(PathBuf, &'static str)>);

impl LeftOut {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, path: PathBuf, reason: &'static str) {
        self.0.push((path, reason));
    }
}

/// `3 files: a/x.jpg (a dead link), a/notes.txt (not named like an image), ...`
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.len() == 1 { "file" } else { "files" };
        write!(f, "{} {files}: ", self.len())?;
        for (i, (path, reason)) in self.0.iter().take(NAMED).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({reason})", path.display())?;
        }
        match self.len() - self.len().min(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The images below `folder` as `ImageFolder` finds them: links to folders are followed, the folders are
/// taken in the order of their whole paths, the files of each in the order of their names. Hidden entries
/// (a dot first), dead links, and files that are not named like images are left out, as are links that lead
/// back to a folder above them.
///
/// # Errors
/// [`Error::Io`] where a folder cannot be listed.
pub fn images_below(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    walk(folder, &mut Vec::new(), &mut folders, left_out)?;
    // By the path as one string, as Python sorts: `a-b` comes before `a/b`.
    folders.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
    Ok(folders.into_iter().flat_map(|(_, files)| files).collect())
}

/// Adds `folder` and those below it with their images; `above` are the real paths on the way here.
fn walk(
    folder: &Path,
    above: &mut Vec<PathBuf>,
    folders: &mut Vec<(PathBuf, Vec<PathBuf>)>,
    left_out: &mut LeftOut,
) -> Result<()> {
    above.push(fs::canonicalize(folder).map_err(Error::io(folder, "list"))?);
    let mut files = Vec::new();
    for path in list(folder)? {
        match kind(&path) {
            Kind::Folder if is_above(&path, above) => {
                left_out.add(path, "a link back to a folder above it");
            }
            Kind::Folder => walk(&path, above, folders, left_out)?,
            Kind::File if is_image(&path) => files.push(path),
            Kind::File => left_out.add(path, "not named like an image"),
            Kind::Other(reason) => left_out.add(path, reason),
        }
    }
    above.pop();
    folders.push((folder.to_path_buf(), files));
    Ok(())
}

/// Whether `path` leads to a folder on the way here or to one that holds such a folder: following it would
/// never end.
fn is_above(path: &Path, above: &[PathBuf]) -> bool {
    fs::canonicalize(path).is_ok_and(|real| above.iter().any(|folder| folder.starts_with(&real)))
}

/// What an entry of a folder is, links followed.
pub(super) enum Kind {
    Folder,
    File,
    /// Nothing that holds images, and why.
    Other(&'static str),
}

pub(super) fn kind(path: &Path) -> Kind {
    let name = path.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(b".") {
        return Kind::Other("hidden");
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Kind::Folder,
        Ok(found) if found.is_file() => Kind::File,
        Ok(_) => Kind::Other("not a regular file"),
        Err(_) if path.is_symlink() => Kind::Other("a dead link"),
        // What is wrong with it shows when it is read.
        Err(_) => Kind::File,
    }
}

/// The entries of a folder in the order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "list"))?;
    let mut paths = entries
        .map(|entry| Ok(entry.map_err(Error::io(folder, "list"))?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}
