//! A run's folder while it changes hands: a new run is built in a folder inside it and put in place in one step, so that what
//! was there stays whole until then, whenever the process ends.
//!
//! The new run is built in [`NEW`]. To put it in place, the files of the run that was there go to [`OLD`]; then `NEW` is
//! renamed to [`READY`], which decides; then its files go to their places, the adapter's last, files of nobody's that lay in
//! the old one's folders go back to where they were, and `OLD` goes away. Whoever takes the folder next finishes what was
//! decided and undoes what was not. Each change is one call of [`Disk`].

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::sync_folder;
use crate::formats::{adapter, events};

/// The file with a run's settings.
pub const SETTINGS: &str = "run.toml";
/// The folder with the adapter of the best epoch.
pub const BEST: &str = "best";
/// The folder with what a run is taken up from.
pub(super) const STATE: &str = "state";
/// The images of the run, in that folder.
pub(super) const IMAGES: &str = "images.tsv";
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
    SETTINGS,
    "metrics.jsonl",
    "timing.jsonl",
    "metrics.csv",
    "validation.jsonl",
    "cost.json",
    "report.html",
    "events",
    STATE,
    BEST,
    "classes.txt",
    adapter::CONFIG,
    adapter::MODEL,
];

/// Those that are folders.
const FOLDERS: [&str; 3] = ["events", STATE, BEST];

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

/// The one way to change what is on the disk here; `before` is called before each change, so that a test may end there.
struct Disk<'a> {
    before: &'a mut dyn FnMut(),
}

impl Disk<'_> {
    fn rename(&mut self, from: &Path, to: &Path) -> std::io::Result<()> {
        (self.before)();
        fs::rename(from, to)
    }

    fn create_dir(&mut self, path: &Path) -> Result<()> {
        (self.before)();
        fs::create_dir(path).map_err(Error::io(path, "make the folder"))
    }

    /// Makes a folder and those above it, where they are not there.
    fn create_dirs(&mut self, path: &Path) -> Result<()> {
        (self.before)();
        fs::create_dir_all(path).map_err(Error::io(path, "make the folder"))
    }

    /// Removes what may not have been there.
    fn remove(&mut self, path: &Path, how: fn(&Path) -> std::io::Result<()>) -> Result<()> {
        (self.before)();
        match how(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove")(e)),
            _ => Ok(()),
        }
    }
}

/// Does `work` on the disk.
fn on_disk<T>(work: impl FnOnce(&mut Disk) -> Result<T>) -> Result<T> {
    work(&mut Disk { before: &mut || {} })
}

/// Finishes or undoes what a process that is gone was about to do in `folder`, and removes what it left half written. A run
/// that was being built stays.
pub(super) fn mend(folder: &Path) -> Result<()> {
    on_disk(|disk| disk.mend(folder))
}

/// Whether [`mend`] would change anything in `folder`, or another process may be about to.
pub(super) fn is_to_mend(folder: &Path) -> Result<bool> {
    let halves = |inside: &str| {
        let entries = listed(&folder.join(inside))?;
        let mut names = entries.iter().map(fs::DirEntry::file_name);
        Ok::<_, Error>(names.any(|name| is_half_written(&name.to_string_lossy())))
    };
    let undecided = [NEW, READY, OLD]
        .iter()
        .any(|name| folder.join(name).exists());
    Ok(undecided || halves("")? || halves(STATE)? || halves(BEST)?)
}

/// What is in `folder`; nothing where that is not there, or is no folder. What cannot be listed may hold anything.
pub(super) fn listed(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(Error::io(folder, "list"))?,
    };
    let entries: std::io::Result<Vec<_>> = entries.collect();
    entries.map_err(Error::io(folder, "list"))
}

/// An empty folder to build a run in.
pub(super) fn stage(folder: &Path) -> Result<PathBuf> {
    on_disk(|disk| {
        let staged = folder.join(NEW);
        disk.remove_run(&staged)?;
        disk.create_dir(&staged)?;
        Ok(staged)
    })
}

/// Removes the run that is being built.
pub(super) fn unstage(folder: &Path) -> Result<()> {
    on_disk(|disk| disk.remove_run(&folder.join(NEW)))
}

/// Puts the run that is built in `folder` in the place of the one that is there.
pub(super) fn put_in_place(folder: &Path) -> Result<()> {
    on_disk(|disk| disk.put_in_place(folder))
}

impl Disk<'_> {
    fn mend(&mut self, folder: &Path) -> Result<()> {
        if folder.join(READY).exists() {
            self.finish(folder)?;
        } else if folder.join(OLD).exists() {
            self.put_back(folder)?;
        }
        for inside in ["", STATE, BEST] {
            self.sweep(&folder.join(inside))?;
        }
        Ok(())
    }

    /// Removes the files that were being written when their process ended.
    fn sweep(&mut self, folder: &Path) -> Result<()> {
        for entry in listed(folder)? {
            if is_half_written(&entry.file_name().to_string_lossy()) {
                self.remove(&entry.path(), |path| fs::remove_file(path))?;
            }
        }
        Ok(())
    }

    fn put_in_place(&mut self, folder: &Path) -> Result<()> {
        let [new, ready, old] = [NEW, READY, OLD].map(|name| folder.join(name));
        sync_folder(&new)?;
        if FILES.iter().any(|name| folder.join(name).exists()) {
            self.create_dir(&old)?;
            if let Err(error) = self.move_files(folder, &old) {
                // What cannot be replaced is left as it was.
                self.put_back(folder)?;
                return Err(error);
            }
        }
        self.rename(&new, &ready)
            .map_err(Error::io(&ready, "rename"))?;
        sync_folder(folder)?;
        self.finish(folder)
    }

    /// Undoes what is not decided.
    fn put_back(&mut self, folder: &Path) -> Result<()> {
        let old = folder.join(OLD);
        self.move_files(&old, folder)?;
        self.remove_run(&old)
    }

    /// Moves what is decided to its place.
    fn finish(&mut self, folder: &Path) -> Result<()> {
        let [ready, old] = [READY, OLD].map(|name| folder.join(name));
        self.move_files(&ready, folder)?;
        for name in FOLDERS {
            self.carry_over(&old, folder, Path::new(name))?;
        }
        // As long as it is there, whoever finds what is left of the other finishes this.
        self.remove_run(&old)?;
        sync_folder(folder)?;
        self.remove_run(&ready)
    }

    /// Moves the files of a run from one folder to another.
    fn move_files(&mut self, from: &Path, to: &Path) -> Result<()> {
        for name in FILES {
            let (from, to) = (from.join(name), to.join(name));
            match self.rename(&from, &to) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&to, "put in place")(e)),
            }
        }
        Ok(())
    }

    /// Moves what no run writes from one run's folder `inside` to another's.
    fn carry_over(&mut self, from: &Path, to: &Path, inside: &Path) -> Result<()> {
        let below = from.join(inside);
        // What a link leads to is elsewhere and stays there.
        if below.is_symlink() {
            return Ok(());
        }
        for entry in listed(&below)? {
            let path = inside.join(entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match is_own(&path) {
                true if is_folder => self.carry_over(from, to, &path)?,
                true => {}
                false => {
                    let place = to.join(&path);
                    let above = to.join(inside);
                    self.create_dirs(&above)?;
                    self.rename(&entry.path(), &place)
                        .map_err(Error::io(&place, "put back"))?;
                }
            }
        }
        Ok(())
    }

    /// Removes the files of a run in `folder`, and the folder where nothing else is in it.
    fn remove_run(&mut self, folder: &Path) -> Result<()> {
        self.sweep(folder)?;
        for name in FILES.iter().chain(&[RESERVE]) {
            let path = folder.join(name);
            match path.is_dir() {
                true => self.remove(&path, |path| fs::remove_dir_all(path))?,
                false => self.remove(&path, |path| fs::remove_file(path))?,
            }
        }
        self.remove(folder, |path| fs::remove_dir(path))
    }
}

/// A file that was being written.
fn is_half_written(name: &str) -> bool {
    name.starts_with(".goldfish-") && name.ends_with(".tmp")
}

/// Whether a run writes a file or makes a folder of this path, which is from the run's own folder.
pub fn is_own(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    match parts[..] {
        [.., name] if is_half_written(name) => true,
        [name] => FILES.contains(&name),
        [BEST, name] => [adapter::MODEL, adapter::CONFIG, "classes.txt"].contains(&name),
        [STATE, name] => name == IMAGES || step_of(path).is_some(),
        ["events", "train" | "validation"] => true,
        ["events", "train" | "validation", name] => name == events::FILE,
        _ => false,
    }
}

/// What the state after so many steps is called.
pub(super) fn state_name(steps: u64) -> String {
    format!("step-{steps:08}.safetensors")
}

/// The steps after which the state file of this path was written; none of any other file.
pub fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    // Written otherwise, it is somebody else's.
    let steps = digits.parse().ok()?;
    (state_name(steps) == name).then_some(steps)
}

/// Where a run is being built in `folder`, or was when its process ended.
pub(super) fn staged(folder: &Path) -> Option<PathBuf> {
    let staged = folder.join(NEW);
    staged.join(SETTINGS).exists().then_some(staged)
}

/// A file in `folder` that a run would put there, of a folder that holds none.
pub(super) fn foreign(folder: &Path) -> Option<&'static str> {
    let own = [SETTINGS, adapter::MODEL, adapter::CONFIG];
    if own.iter().any(|name| folder.join(name).exists()) {
        return None;
    }
    FILES
        .iter()
        .find(|name| folder.join(name).exists())
        .copied()
}

/// What lies in `folder` where a run has a file and is a folder, or the other way round, and what a run has there: it would be
/// lost with the run that is replaced.
pub(super) fn of_another_kind(folder: &Path) -> Option<(&'static str, &'static str)> {
    FILES.iter().find_map(|&name| {
        let about = fs::metadata(folder.join(name)).ok()?;
        match (FOLDERS.contains(&name), about.is_dir()) {
            (true, false) => Some((name, "folder")),
            (false, true) => Some((name, "file")),
            _ => None,
        }
    })
}

/// The folder of a run's files as they are found without taking the folder: where a run has begun, else where one was
/// being built.
pub(super) fn found(folder: &Path) -> Option<PathBuf> {
    let places = [READY, "", NEW].map(|place| folder.join(place));
    places
        .into_iter()
        .find(|place| place.join(SETTINGS).exists())
}

#[cfg(test)]
mod tests;
