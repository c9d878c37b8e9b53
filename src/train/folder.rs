//! A run's folder while it changes hands: a new run is built in a folder inside it and put in place in one step, so that what
//! was there stays whole until then, whenever the process ends.
//!
//! The new run is built in [`NEW`]. To put it in place, the files of the run that was there go to [`OLD`]; then `NEW` is
//! renamed to [`READY`], which decides; then its files go to their places, the adapter's last, and `OLD` goes away. Whoever
//! takes the folder next finishes what was decided and undoes what was not.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::sync_folder;
use crate::formats::adapter;

/// Where a run is built.
const NEW: &str = ".goldfish-new";
/// A run that is to be put in place.
const READY: &str = ".goldfish-ready";
/// The run that was there before.
const OLD: &str = ".goldfish-old";
/// Room on the disk that is kept for the adapter.
pub(super) const RESERVE: &str = ".goldfish-reserve.tmp";

/// Everything that a run may put into its folder, the adapter's numbers last: where those are, an adapter is.
pub const FILES: &[&str] = &[
    "run.toml",
    "metrics.jsonl",
    "timing.jsonl",
    "metrics.csv",
    "validation.jsonl",
    "cost.json",
    "report.html",
    "events",
    "state",
    "best",
    "classes.txt",
    adapter::CONFIG,
    adapter::MODEL,
];

/// Those that tell of when a run was and how long it took: two runs alike do not have them alike.
pub const TIMES: &[&str] = &["timing.jsonl", "cost.json", "report.html", "events"];

/// Where in a run's folder its files are at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In [`NEW`].
    Staged,
    /// In their places.
    There,
}

impl Place {
    pub(super) fn of(self, folder: &Path) -> PathBuf {
        match self {
            Place::Staged => folder.join(NEW),
            Place::There => folder.to_path_buf(),
        }
    }
}

/// Finishes or undoes what a process that is gone was about to do in `folder`, and removes what it left half written. A run
/// that was being built stays.
pub(super) fn mend(folder: &Path) -> Result<()> {
    if folder.join(READY).exists() {
        finish(folder)?;
    } else if folder.join(OLD).exists() {
        move_files(&folder.join(OLD), folder)?;
        remove(&folder.join(OLD))?;
    }
    for inside in ["", "state", "best"] {
        sweep(&folder.join(inside))?;
    }
    Ok(())
}

/// Removes the files that were being written when their process ended.
fn sweep(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".goldfish-") && name.ends_with(".tmp") {
            let path = entry.path();
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
    }
    Ok(())
}

/// An empty folder to build a run in.
pub(super) fn stage(folder: &Path) -> Result<PathBuf> {
    let staged = folder.join(NEW);
    remove(&staged)?;
    fs::create_dir(&staged).map_err(Error::io(&staged, "make the folder"))?;
    Ok(staged)
}

/// Removes the run that is being built.
pub(super) fn unstage(folder: &Path) -> Result<()> {
    remove(&folder.join(NEW))
}

/// Puts the run that is built in `folder` in the place of the one that is there.
pub(super) fn put_in_place(folder: &Path) -> Result<()> {
    let [new, ready, old] = [NEW, READY, OLD].map(|name| folder.join(name));
    sync_folder(&new)?;
    if FILES.iter().any(|name| folder.join(name).exists()) {
        fs::create_dir(&old).map_err(Error::io(&old, "make the folder"))?;
        if let Err(error) = move_files(folder, &old) {
            // What cannot be replaced is left as it was.
            move_files(&old, folder)?;
            remove(&old)?;
            return Err(error);
        }
    }
    fs::rename(&new, &ready).map_err(Error::io(&ready, "rename"))?;
    sync_folder(folder)?;
    finish(folder)
}

/// Moves what is decided to its place.
fn finish(folder: &Path) -> Result<()> {
    let [ready, old] = [READY, OLD].map(|name| folder.join(name));
    move_files(&ready, folder)?;
    // As long as it is there, whoever finds what is left of the other finishes this.
    remove(&old)?;
    sync_folder(folder)?;
    remove(&ready)
}

/// Moves the files of a run from one folder to another.
fn move_files(from: &Path, to: &Path) -> Result<()> {
    for name in FILES {
        let (from, to) = (from.join(name), to.join(name));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&to, "put in place")(e)),
        }
    }
    Ok(())
}

/// Removes the files of a run in `folder`, and the folder where nothing else is in it.
fn remove(folder: &Path) -> Result<()> {
    sweep(folder)?;
    for name in FILES.iter().chain(&[RESERVE]) {
        let path = folder.join(name);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        gone(&path, removed)?;
    }
    gone(folder, fs::remove_dir(folder))
}

/// That something is removed which may not have been there.
fn gone(path: &Path, removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove")(e)),
        _ => Ok(()),
    }
}

/// Whether a run is being built in `folder`, or was when its process ended.
pub(super) fn staged(folder: &Path) -> bool {
    folder.join(NEW).join("run.toml").exists()
}

/// A file in `folder` that a run would put there, of a folder that holds none.
pub(super) fn foreign(folder: &Path) -> Option<&'static str> {
    let own = ["run.toml", adapter::MODEL, adapter::CONFIG];
    if own.iter().any(|name| folder.join(name).exists()) {
        return None;
    }
    FILES
        .iter()
        .find(|name| folder.join(name).exists())
        .copied()
}

/// The folder of a run's files as they are found without taking the folder: where a run has begun, else where one was
/// being built.
pub(super) fn found(folder: &Path) -> Option<PathBuf> {
    let places = [READY, "", NEW].map(|place| folder.join(place));
    places
        .into_iter()
        .find(|place| place.join("run.toml").exists())
}
