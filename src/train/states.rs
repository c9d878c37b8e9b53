//! What a run is taken up from: the states in its folder, of which the newest that is whole counts, and the list of the images
//! beside them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder::{IMAGES, SETTINGS, STATE, listed, state_name, step_of};
use super::history::METRICS;
use super::lines::Lines;
use super::listing::Listing;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::formats::adapter;
use crate::formats::state::State;
use crate::gpu::DeviceInfo;
use crate::nn::Adapter;

/// The most bytes of that list that are read: some hundred an image.
const MOST: u64 = 1 << 30;

/// What a run is made on and by. On another one the same numbers may round otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOn {
    /// The device's name.
    pub device: String,
    /// Its driver, and the version of that.
    pub driver: String,
    /// This program's version.
    pub goldfish: String,
    /// How its convolutions are computed, where that is known: see [`rounding`](crate::nn::rounding).
    #[serde(default)]
    pub kernels: Option<String>,
}

impl MadeOn {
    /// On the device `info` by this program, its convolutions computed as `kernels` says.
    pub fn new(info: &DeviceInfo, kernels: Option<String>) -> Self {
        MadeOn {
            device: info.name.clone(),
            driver: info.driver.clone(),
            goldfish: env!("CARGO_PKG_VERSION").into(),
            kernels,
        }
    }

    /// Whether numbers round as on `other`, as far as is known.
    fn rounds_as(&self, other: &MadeOn) -> bool {
        let unknown = self.kernels.is_none() || other.kernels.is_none();
        let kernels = unknown || self.kernels == other.kernels;
        let words = |made_on: &MadeOn| {
            let MadeOn {
                device,
                driver,
                goldfish,
                ..
            } = made_on.clone();
            [device, driver, goldfish]
        };
        kernels && words(self) == words(other)
    }
}

impl fmt::Display for MadeOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadeOn {
            device,
            driver,
            goldfish,
            ..
        } = self;
        write!(f, "{device} ({driver}), goldfish {goldfish}")
    }
}

/// What a run was put down with.
#[derive(Debug, Default)]
pub struct TakenUp {
    /// Where it stood; none where nothing was put down yet.
    pub snapshot: Option<Snapshot>,
    /// Newer states, which are damaged.
    pub damaged: Vec<Error>,
    /// What it was made on, where that is something else than what it is made on now.
    pub elsewhere: Option<MadeOn>,
    /// Bytes of its metrics.
    pub(super) metrics: u64,
}

/// What must be the same when a run goes on, and what should be.
pub(super) struct Same<'a> {
    /// The settings that decide its numbers.
    pub(super) settings: &'a Value,
    pub(super) images: &'a Listing,
    pub(super) made_on: &'a MadeOn,
}

impl Same<'_> {
    /// What stands beside a snapshot, with so many bytes of metrics.
    pub(super) fn beside(settings: &Value, made_on: Option<&MadeOn>, metrics: u64) -> Value {
        json!({"metrics": metrics, "settings": settings, "made_on": made_on})
    }

    /// The newest state of the run in `folder` that is whole; `start` is its fresh adapter.
    pub(super) fn restore(&self, folder: &Path, start: &Adapter) -> Result<TakenUp> {
        let all = states(&folder.join(STATE))?;
        let (some, mut damaged) = (!all.is_empty(), Vec::new());
        for path in all.into_iter().rev() {
            // A file that the system does not let be read may be whole: it is not passed over.
            let file = match State::open(&path) {
                Ok(file) => file,
                Err(error @ Error::Data { .. }) => {
                    damaged.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let beside = Snapshot::beside(&path, &file)?;
            self.same_settings(folder, &beside["settings"])?;
            let snapshot = Snapshot::read(&path, &file, start)?;
            let metrics = beside["metrics"].as_u64().unwrap_or(u64::MAX);
            // A loss of power may have cost the newest lines.
            match Lines::new(METRICS).reaches(folder, metrics) {
                Ok(()) => {}
                Err(error @ Error::Data { .. }) => {
                    damaged.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let before = read_images(folder)?;
            if let Some(changes) = self.images.changes(&before) {
                let problem = format!(
                    "was begun with other images: {changes}. Put them back as they were, or start a run anew"
                );
                return Err(Error::data(folder, problem));
            }
            let made_on = serde_json::from_value(beside["made_on"].clone()).ok();
            return Ok(TakenUp {
                snapshot: Some(snapshot),
                damaged,
                elsewhere: made_on.filter(|before: &MadeOn| !before.rounds_as(self.made_on)),
                metrics,
            });
        }
        // Nobody who asks for a run to go on wants it to begin again over what it has.
        match damaged.into_iter().next() {
            Some(error) => {
                let problem = format!(
                    "has no state left that is whole ({error}): start another run from this one's adapter"
                );
                Err(Error::data(folder, problem))
            }
            None if some || folder.join(adapter::MODEL).exists() => Err(Error::data(
                folder,
                "has an adapter and no state to go on from: start another run from this adapter",
            )),
            None => Ok(TakenUp::default()),
        }
    }

    /// Refuses to go on with other settings than the state was written under.
    fn same_settings(&self, folder: &Path, before: &Value) -> Result<()> {
        let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let (before, now) = (of(before), of(self.settings));
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let said = |value: Option<&Value>| value.map_or("not set".into(), |v| v.to_string());
        let changed: Vec<String> = keys
            .into_iter()
            .filter(|key| before.get(*key) != now.get(*key))
            .map(|key| {
                format!(
                    "{key} was {} and is {}",
                    said(before.get(key)),
                    said(now.get(key))
                )
            })
            .collect();
        match changed.is_empty() {
            true => Ok(()),
            false => Err(Error::data(
                &folder.join(SETTINGS),
                format!(
                    "has other settings than the run had: {}. Put them back, or start another run",
                    changed.join(", ")
                ),
            )),
        }
    }
}

/// Writes which images the run in `folder` is made of.
pub(super) fn write_images(folder: &Path, images: &Listing) -> Result<()> {
    let state = folder.join(STATE);
    fs::create_dir_all(&state).map_err(Error::io(&state, "make the folder"))?;
    write_atomic(&state.join(IMAGES), images.to_string().as_bytes())
}

/// Which images the run in `folder` was begun with.
pub(super) fn read_images(folder: &Path) -> Result<Listing> {
    let path = folder.join(STATE).join(IMAGES);
    let wrong = |what: &str| {
        let problem = format!(
            "{what}: it lists the images that the run was begun with, and without it nothing tells whether these are the \
             same. Put it back, or start another run from this one's adapter"
        );
        Error::data(&path, problem)
    };
    let file = match File::open(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(wrong("is not there")),
        file => file.map_err(Error::io(&path, "open"))?,
    };
    let mut text = String::new();
    match file.take(MOST + 1).read_to_string(&mut text) {
        Err(e) if e.kind() == ErrorKind::InvalidData => return Err(wrong("is no text")),
        read => read.map_err(Error::io(&path, "read"))?,
    };
    match Listing::parse(&text) {
        _ if text.len() as u64 > MOST => Err(wrong("is larger than any such list")),
        Some(listing) => Ok(listing),
        None => Err(wrong("is no list of images")),
    }
}

/// Where a state after so many steps lies in the run in `folder`.
pub(super) fn path(folder: &Path, steps: u64) -> PathBuf {
    folder.join(STATE).join(state_name(steps))
}

/// The state files in a folder, by their steps.
pub(super) fn states(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = listed(folder)?.into_iter().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| step_of(path).is_some()).collect();
    paths.sort_by_key(|path| step_of(path));
    Ok(paths)
}
