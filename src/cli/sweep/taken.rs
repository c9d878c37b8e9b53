//! A sweep's folder: one process's, with what was asked for; as it was before where nothing came of that.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use goldfish::files::write_atomic;
use goldfish::train::{Lock, SETTINGS};
use goldfish::{Error, Remedy, Result};
use toml::{Table, Value};

use super::asked::Asked;
use super::{compared, written};
use crate::cli::config;
use crate::cli::train::SWEEP;

/// The folder, as long as this lives.
pub(super) struct Taken {
    folder: PathBuf,
    /// What a sweep that was there had written.
    stood: Vec<(PathBuf, Vec<u8>)>,
    /// What its runs have in their `run.toml`: others in the folder are not of it. Those of older versions have none.
    pub(super) id: Option<String>,
    /// Whether it may replace those others.
    pub(super) replaces: bool,
    _lock: Lock,
}

impl Taken {
    /// Takes the folder and writes down what is asked, unless it is another's.
    pub(super) fn new(asked: &Asked) -> Result<Self> {
        let place = asked.place;
        let mut taken = Self::take(place.folder)?;
        if place.folder.join(SETTINGS).exists() {
            return Err(Error::data(
                place.folder,
                "holds a run, and these would lie in it: choose another folder with --output",
            ));
        }
        let before = Asked::read(place.folder)?;
        let about = match (place.resume, before) {
            (true, before) => before.and_then(|(_, mut table)| table.remove("run")),
            (false, Some(_)) if !place.overwrite => {
                let problem = format!("holds runs already, with which `{}` goes on", asked.go_on());
                return Err(Error::data(place.folder, problem).with(Remedy::OtherFolder));
            }
            (false, _) => Some(anew(place.overwrite).into()),
        };
        let said = |key: &str| about.as_ref().and_then(|about| about.get(key));
        taken.id = said("id").and_then(Value::as_str).map(str::to_string);
        taken.replaces = said("overwrite").and_then(Value::as_bool) == Some(true);
        for path in taken.files() {
            match fs::read(&path) {
                Ok(bytes) => taken.stood.push((path, bytes)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&path, "read")(e)),
            }
        }
        let mut table = asked.all().clone();
        config::note_paths(&mut table, place.folder);
        if let Some(about) = about {
            table.insert("run".into(), about);
        }
        if !place.resume {
            // They tell of other runs.
            taken.remove()?;
        }
        let text = toml::to_string(&table).expect("settings become TOML");
        write_atomic(&place.folder.join(SWEEP), text.as_bytes())?;
        Ok(taken)
    }

    fn take(folder: &Path) -> Result<Self> {
        Ok(Taken {
            folder: folder.to_path_buf(),
            stood: Vec::new(),
            id: None,
            replaces: false,
            _lock: Lock::make(folder)?,
        })
    }

    /// Leaves the folder as it was.
    pub(super) fn undo(self) {
        // What cannot be put back says no more than what was asked.
        let _ = self.remove();
        for (path, bytes) in &self.stood {
            let _ = write_atomic(path, bytes);
        }
    }

    /// What a sweep writes beside its runs.
    fn files(&self) -> [PathBuf; 4] {
        [SWEEP, compared::PAGE, written::TABLE, written::FACTS].map(|name| self.folder.join(name))
    }

    fn remove(&self) -> Result<()> {
        for path in self.files() {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(&path, "remove")(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What tells the runs of a sweep from those of another one in the folder.
fn anew(overwrite: bool) -> Table {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos());
    let mut about = Table::new();
    about.insert(
        "id".into(),
        format!("{now:x}-{:x}", std::process::id()).into(),
    );
    about.insert("overwrite".into(), overwrite.into());
    about
}
