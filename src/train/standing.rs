//! What a run's folder tells those who do not write to it: whether a run is in it, its settings, its images, its states.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::folder::{SETTINGS, STATE, found, is_to_mend, staged};
use super::listing::Listing;
use super::run::Run;
use super::states::{self, states};
use crate::error::{Error, Result};

/// The largest settings that are read.
const MOST_SETTINGS: u64 = 16 << 20;

impl Run {
    /// Whether there is a run in `folder`, also one that was ended before it was put in place.
    pub fn is_in(folder: &Path) -> bool {
        found(folder).is_some()
    }

    /// The images that the run in `folder` was begun with.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::Io`] where their list is not there or none.
    pub fn images(folder: &Path) -> Result<Listing> {
        states::read_images(folder)
    }

    /// The settings of the run in `folder`: its `run.toml`, also of one that was ended before it was put in place. Paths in it
    /// are from where it will be, which is the path that is returned.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none.
    pub fn settings(folder: &Path) -> Result<(PathBuf, toml::Table)> {
        let Some(at) = found(folder) else {
            let problem = match fs::metadata(folder) {
                Ok(about) if about.is_dir() => format!(
                    "holds no run to go on with: there is no {SETTINGS}. Name the folder that a run was put into"
                ),
                Ok(_) => {
                    "is a file, and a run is a folder: name the one that it was put into".into()
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    "is not there: name the folder that a run was put into".into()
                }
                Err(e) => return Err(Error::io(folder, "read")(e)),
            };
            return Err(Error::data(folder, problem));
        };
        if folder.join(SETTINGS).exists()
            && let Some(begun) = staged(folder)
        {
            let problem = format!(
                "holds a whole run, and in {} one that was to take its place and ended before it had anything to keep: \
                 begin that one again with what it was begun with, or remove that folder to go on with the whole one",
                begun.display()
            );
            return Err(Error::data(folder, problem));
        }
        let path = at.join(SETTINGS);
        let about = fs::metadata(&path).map_err(Error::io(&path, "read"))?;
        if !about.is_file() || about.len() > MOST_SETTINGS {
            return Err(Error::data(&path, "is not a run's settings"));
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let table = text.parse();
        let table = table.map_err(|e| Error::data(&path, format!("not a run's settings ({e})")))?;
        Ok((folder.join(SETTINGS), table))
    }

    /// Finishes or undoes what a process that is gone was about to do in `folder`, so that what is found there is one run's.
    ///
    /// # Errors
    /// As [`Run::create`].
    pub fn repair(folder: &Path) -> Result<()> {
        // Nothing is touched where there is nothing to do, nor what is no run's.
        match found(folder).is_some() && is_to_mend(folder)? {
            true => Self::take(folder).map(drop),
            false => Ok(()),
        }
    }

    /// Whether there is a state of the run at `folder`, where its files are.
    pub fn has_state(folder: &Path) -> bool {
        states(&folder.join(STATE)).is_ok_and(|states| !states.is_empty())
    }
}
