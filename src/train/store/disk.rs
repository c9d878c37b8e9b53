//! The store's folder: what lies in it, how large it may become, and what goes when it is full.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::key::Holds;
use super::pack::{ENDING, WRITING};
use crate::error::{Error, Result};

/// The file of a shelf that says what it is.
pub(super) const ABOUT: &str = "about.json";
/// No such file is larger.
const LARGEST_ABOUT: u64 = 1 << 16;
/// A pack that nobody has written on for so long is left of a process that was ended.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes that are left free on the disk, or this part of a small one.
const FREE: u64 = 2 << 30;
const FREE_PART: u64 = 20;

/// A folder of features that are kept between runs, and how many bytes it may hold.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    most: u64,
}

/// What a [`Store`] holds of one kind.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Of what; `None` where its file cannot be read.
    pub holds: Option<Holds>,
    /// The folder's name.
    pub name: String,
    /// Rows that it holds, of images that may be the same.
    pub images: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// When a run last took something of it or put something there.
    pub used: SystemTime,
}

/// A file of a shelf.
struct Found {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Why nothing more is kept.
pub(super) enum Full {
    /// The store has its size, and all of it is of this run.
    Store,
    /// The disk is nearly full.
    Disk,
}

impl Store {
    /// The store in `folder`, which need not be there, of at most `most` bytes.
    pub fn new(folder: &Path, most: u64) -> Self {
        Store {
            folder: folder.to_path_buf(),
            most,
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that it may hold.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// What it holds, the last used first.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder is there and cannot be listed.
    pub fn kept(&self) -> Result<Vec<Kept>> {
        let mut kept: Vec<Kept> = self.shelves()?.iter().map(|shelf| kept(shelf)).collect();
        kept.sort_by(|a, b| b.used.cmp(&a.used).then(a.name.cmp(&b.name)));
        Ok(kept)
    }

    /// Takes out what `wanted` says; the bytes that are free again.
    ///
    /// # Errors
    /// [`Error::Io`] where something cannot be listed or removed.
    pub fn clear(&self, wanted: impl Fn(&Kept) -> bool) -> Result<u64> {
        let mut freed = 0;
        for shelf in self.shelves()? {
            let kept = kept(&shelf);
            if !wanted(&kept) {
                continue;
            }
            // What was written since then by another process goes too, and what it is writing now is lost to it alone.
            match fs::remove_dir_all(&shelf) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&shelf, "remove")(error));
                }
                _ => freed += kept.bytes,
            }
        }
        Ok(freed)
    }

    /// Makes room for `bytes` more: what was used the longest ago goes, but nothing of `own`. `None` where there is room.
    ///
    /// # Errors
    /// What the system said of the folder.
    pub(super) fn make_room(
        &self,
        bytes: u64,
        own: &HashSet<PathBuf>,
    ) -> std::io::Result<Option<Full>> {
        if nearly_full(&self.folder, bytes)? {
            return Ok(Some(Full::Disk));
        }
        let mut files: Vec<Found> = Vec::new();
        for shelf in self.shelves().map_err(std::io::Error::other)? {
            files.extend(found(&shelf));
        }
        let mut held: u64 = files.iter().map(|file| file.bytes).sum();
        let fits = |held: u64| held.saturating_add(bytes) <= self.most;
        files.retain(|file| {
            !own.contains(&file.path) && file.path.extension() == Some(ENDING.as_ref())
        });
        files.sort_by_key(|file| file.used);
        let own: u64 = held - files.iter().map(|file| file.bytes).sum::<u64>();
        // Nothing goes where it would not help.
        if !fits(own) {
            return Ok(Some(Full::Store));
        }
        for file in files {
            if fits(held) {
                break;
            }
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => held -= file.bytes,
            }
            // A shelf that is empty but for what it says of itself goes as a whole.
            if let Some(shelf) = file.path.parent().filter(|shelf| found(shelf).is_empty()) {
                let _ = fs::remove_file(shelf.join(ABOUT));
                let _ = fs::remove_dir(shelf);
            }
        }
        Ok(None)
    }

    /// The folders in it.
    fn shelves(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io(&self.folder, "list"))?,
        };
        let folders = entries.flatten().filter(|entry| {
            // No link: what it leads to is not the store's.
            entry.file_type().is_ok_and(|kind| kind.is_dir())
                && entry.file_name().to_str().is_some_and(is_shelf)
        });
        Ok(folders.map(|entry| entry.path()).collect())
    }
}

/// Whether a folder of this name is a shelf: nobody's photographs are taken for one.
fn is_shelf(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The packs in a folder, and what is being written there; what a process that was ended left there is removed.
fn found(shelf: &Path) -> Vec<Found> {
    let mut files = Vec::new();
    for entry in fs::read_dir(shelf).into_iter().flatten().flatten() {
        let (path, Ok(about)) = (entry.path(), entry.metadata()) else {
            continue;
        };
        let writing = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(WRITING.as_bytes());
        if !about.is_file() || !(writing || path.extension() == Some(ENDING.as_ref())) {
            continue;
        }
        let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if writing && used.elapsed().is_ok_and(|age| age > STALE) && fs::remove_file(&path).is_ok()
        {
            continue;
        }
        files.push(Found {
            path,
            bytes: about.len(),
            used,
        });
    }
    files
}

/// The packs in a folder.
pub(super) fn packs(shelf: &Path) -> Vec<PathBuf> {
    let packs = found(shelf).into_iter().map(|file| file.path);
    let mut packs: Vec<PathBuf> = packs
        .filter(|path| path.extension() == Some(ENDING.as_ref()))
        .collect();
    // The order that a folder is listed in means nothing.
    packs.sort();
    packs
}

fn kept(shelf: &Path) -> Kept {
    let files = found(shelf);
    let about = shelf.join(ABOUT);
    let small = fs::metadata(&about).is_ok_and(|about| about.len() <= LARGEST_ABOUT);
    let text = small.then(|| fs::read(&about).ok()).flatten();
    let holds: Option<Holds> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let bytes = files.iter().map(|file| file.bytes).sum();
    let used = files.iter().map(|file| file.used).max();
    let used = used.or_else(|| fs::metadata(shelf).ok()?.modified().ok());
    Kept {
        images: holds
            .as_ref()
            .map_or(0, |holds| bytes / holds.row().max(1) as u64),
        holds,
        name: shelf
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes,
        used: used.unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

/// Whether the disk that `folder` lies on would have too little left with `bytes` more.
fn nearly_full(folder: &Path, bytes: u64) -> std::io::Result<bool> {
    let free = fs4::available_space(folder)?;
    let least = FREE.min(fs4::total_space(folder)? / FREE_PART);
    Ok(free < least.saturating_add(bytes))
}
