//! A run's folder: settings, a line a step, the adapter, the best one, and where it stands.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::json;

use super::folder::{Place, RESERVE, foreign, found, mend, put_in_place, stage, staged, unstage};
use super::lines::Lines;
use super::listing::Listing;
use super::lock::Lock;
use super::outcome::{Ended, Saved, Subject, Timing};
use super::snapshot::{Best, Far, Snapshot};
use super::task::Trained;
use super::watch::{EpochRecord, StepRecord};
use crate::error::{Error, Remedy, Result};
use crate::files::write_atomic;
use crate::formats::adapter;
use crate::nn::Adapter;

/// The file with a run's settings.
pub const SETTINGS: &str = "run.toml";
/// The folder with the adapter of the best epoch.
pub const BEST: &str = "best";
/// The folder with what a run is taken up from.
const STATE: &str = "state";
/// The images of the run, in that folder.
const IMAGES: &str = "images.tsv";
/// The largest settings that are read.
const MOST_SETTINGS: u64 = 16 << 20;

/// A run's folder that nobody else writes to.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    /// The folder and those above it that were made here, from it upwards.
    made: Vec<PathBuf>,
    place: Place,
    metrics: Lines,
    timing: Lines,
    settings: toml::Table,
    /// Those that decide its numbers.
    deciding: serde_json::Value,
    /// States to keep.
    keep: usize,
    start: Instant,
    /// Whether a run that was never put in place is taken up.
    again: bool,
    lock: Option<Lock>,
}

impl Run {
    /// Takes `folder`, made where it is not there, for a new run. What is in it stays as it is until the first
    /// [`Run::save`] or [`Run::finish`].
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written, [`Error::Data`] where another process has it, or where there is a run in it
    /// and not `overwrite`.
    pub fn create(folder: &Path, overwrite: bool) -> Result<Self> {
        let mut run = Self::take(folder)?;
        if folder.join(adapter::MODEL).exists() && !overwrite {
            let taken = Error::data(folder, "holds an adapter already");
            return Err(taken.with(Remedy::OtherFolder));
        }
        if let Some(name) = foreign(folder) {
            let problem = format!(
                "has {name} and is no run's folder: a run would put its own in that place. Choose another folder"
            );
            return Err(Error::data(folder, problem));
        }
        stage(folder)?;
        run.place = Place::Staged;
        Ok(run)
    }

    /// The settings of the run in `folder`: its `run.toml`, also of one that was ended before it was put in place. Paths in it
    /// are from where it will be, which is the path that is returned.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none.
    pub fn settings(folder: &Path) -> Result<(PathBuf, toml::Table)> {
        let Some(at) = found(folder) else {
            let problem = format!("holds no run to go on with: there is no {SETTINGS}");
            return Err(Error::data(folder, problem));
        };
        if folder.join(SETTINGS).exists() && staged(folder) {
            return Err(Error::data(
                folder,
                "holds a whole run, and one that was to take its place and was ended before it had anything to keep: begin \
                 that one again, or remove .goldfish-new to go on with the other",
            ));
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
        match folder.is_dir() {
            true => Self::take(folder).map(drop),
            false => Ok(()),
        }
    }

    /// Takes the run in `folder` up again.
    ///
    /// # Errors
    /// As [`Run::create`]; [`Error::Data`] where there is none.
    pub fn resume(folder: &Path) -> Result<Self> {
        if found(folder).is_none() {
            Self::settings(folder)?;
        }
        let mut run = Self::take(folder)?;
        if !folder.join(SETTINGS).exists() {
            // It was ended before there was anything to go on from; its settings stay until they are written again.
            run.place = Place::Staged;
            run.again = true;
        }
        Ok(run)
    }

    fn take(folder: &Path) -> Result<Self> {
        let above = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty());
        let made = above
            .take_while(|path| !path.exists())
            .map(Path::to_path_buf);
        let made: Vec<PathBuf> = made.collect();
        let folders = fs::create_dir_all(folder).map_err(Error::io(folder, "make the folder"));
        let lock = folders.and_then(|()| Lock::take(folder));
        let lock =
            lock.inspect_err(|_| made.iter().for_each(|folder| drop(fs::remove_dir(folder))))?;
        let run = Run {
            folder: folder.to_path_buf(),
            made,
            place: Place::There,
            metrics: Lines::new("metrics.jsonl"),
            timing: Lines::new("timing.jsonl"),
            settings: toml::Table::new(),
            deciding: serde_json::Value::Null,
            keep: 1,
            start: Instant::now(),
            again: false,
            lock: Some(lock),
        };
        mend(folder)?;
        Ok(run)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its files are at the moment.
    pub fn at(&self) -> PathBuf {
        self.place.of(&self.folder)
    }

    /// Begins the run, or goes on with it: writes its settings, of which `deciding` decide its numbers, keeps `room` bytes of
    /// the disk for its adapter, and says what it was put down with, of which `keep` are kept. What of that is damaged is
    /// returned too.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk has no room; [`Error::Data`] where what is there is another run's, or of other images
    /// than `images`.
    pub fn begin(
        &mut self,
        settings: toml::Table,
        deciding: &toml::Table,
        images: &Listing,
        start: &Adapter,
        [room, keep]: [u64; 2],
    ) -> Result<(Option<Snapshot>, Vec<Error>)> {
        let at = self.at();
        self.keep = (keep as usize).max(1);
        self.settings = settings;
        self.deciding = serde_json::to_value(deciding).expect("TOML becomes JSON");
        let (snapshot, damaged) = match self.place {
            Place::Staged => (None, Vec::new()),
            Place::There => self.restore(images, start)?,
        };
        if snapshot.is_none() {
            // From the beginning.
            self.metrics.resume(&at, 0)?;
            self.timing.resume(&at, 0)?;
        }
        let far = snapshot.as_ref().map_or((0, 0, None), Snapshot::far);
        self.write_settings(Ended::NotYet, far)?;
        let state = at.join(STATE);
        fs::create_dir_all(&state).map_err(Error::io(&state, "make the folder"))?;
        write_atomic(&state.join(IMAGES), images.to_string().as_bytes())?;
        reserve(&at.join(RESERVE), room)?;
        Ok((snapshot, damaged))
    }

    /// The newest state that is whole.
    fn restore(
        &mut self,
        images: &Listing,
        start: &Adapter,
    ) -> Result<(Option<Snapshot>, Vec<Error>)> {
        let state = self.folder.join(STATE);
        let mut damaged = Vec::new();
        let all = states(&state)?;
        let some = !all.is_empty();
        for path in all.into_iter().rev() {
            if let Ok(beside) = Snapshot::beside(&path) {
                self.same_settings(&beside["settings"])?;
            }
            let (snapshot, beside) = match Snapshot::open(&path, start) {
                Ok(opened) => opened,
                Err(error @ (Error::Data { .. } | Error::Io { .. })) => {
                    damaged.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let list = state.join(IMAGES);
            let text = fs::read_to_string(&list).map_err(Error::io(&list, "read"))?;
            let before = Listing::parse(&text);
            let before = before.ok_or_else(|| Error::data(&list, "is no list of images"))?;
            if let Some(changes) = images.changes(&before) {
                let problem = format!(
                    "was begun with other images: {changes}. Put them back as they were, or start a run anew"
                );
                return Err(Error::data(&self.folder, problem));
            }
            let length = |name: &str| beside[name].as_u64().unwrap_or(u64::MAX);
            self.metrics.resume(&self.folder, length("metrics"))?;
            // Those of later epochs are of a life that this run has not had.
            let done = |line: &Timing| line.step <= snapshot.steps();
            self.timing.resume_while(&self.folder, done)?;
            return Ok((Some(snapshot), damaged));
        }
        // Nobody who asks for a run to go on wants it to begin again over what it has.
        match damaged.into_iter().next() {
            Some(error) => Err(error),
            None if some || self.folder.join(adapter::MODEL).exists() => Err(Error::data(
                &self.folder,
                "has an adapter and no state to go on from: start another run from this adapter",
            )),
            None => Ok((None, Vec::new())),
        }
    }

    /// Refuses to go on with other settings than the state was written under.
    fn same_settings(&self, before: &serde_json::Value) -> Result<()> {
        let of = |value: &serde_json::Value| value.as_object().cloned().unwrap_or_default();
        let (before, now) = (of(before), of(&self.deciding));
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let said =
            |value: Option<&serde_json::Value>| value.map_or("not set".into(), |v| v.to_string());
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
                &self.folder.join(SETTINGS),
                format!(
                    "has other settings than the run had: {}. Put them back, or start another run",
                    changed.join(", ")
                ),
            )),
        }
    }

    /// Adds a step to the metrics.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full: the line is written with the next that fits.
    pub fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.metrics.add(&self.at(), record)
    }

    /// Adds an epoch to the metrics.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn epoch(&mut self, record: &EpochRecord) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timing = Timing {
            epoch: record.epoch,
            step: record.step,
            unix: now.map_or(0.0, |since| since.as_secs_f64()),
            seconds: self.start.elapsed().as_secs_f64(),
        };
        let at = self.at();
        self.metrics.add(&at, record)?;
        self.timing.add(&at, &timing)
    }

    /// Puts the run down as it stands, so that it can be taken up from here: its adapter, its best one and its state. The
    /// first time the run is put in place.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full; the state before is then still there.
    pub fn save(&mut self, snapshot: &Snapshot, subject: Subject) -> Result<()> {
        self.write(&snapshot.adapter, snapshot.best.as_ref(), subject)?;
        self.write_state(snapshot)?;
        self.write_settings(Ended::NotYet, snapshot.far())?;
        self.put_in_place()
    }

    /// Writes what has come of the run and puts it in place. A run that has not made a step has no adapter, and leaves what
    /// was there.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk has no room even after what is not needed was removed.
    pub fn finish(
        &mut self,
        trained: &Trained,
        ended: Ended,
        subject: Subject,
    ) -> Result<Option<Saved>> {
        let at = self.at();
        let _ = fs::remove_file(at.join(RESERVE));
        let far = (trained.steps, trained.epochs, trained.best.as_ref());
        if trained.steps == 0 && ended != Ended::Complete {
            self.give_up(ended, None)?;
            return Ok(None);
        }
        let written = self.write(&trained.adapter, trained.best.as_ref(), subject);
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(first) if !is_full(&first) => return Err(first),
            Err(first) => {
                // An adapter is worth more than what it could go on from.
                for state in states(&at.join(STATE))? {
                    let _ = fs::remove_file(state);
                }
                let again = self.write(&trained.adapter, trained.best.as_ref(), subject);
                again.map_err(|_| first)?
            }
        };
        // What follows is worth less: it does not keep the adapter from its place.
        let late = match &trained.snapshot {
            Some(snapshot) => self.write_state(snapshot),
            None => self.metrics.flush(&at),
        };
        let told = self.write_settings(ended, far);
        let late = late.and(told);
        let whole = matches!(ended, Ended::Complete | Ended::EarlyStop);
        let over = self.place == Place::Staged && self.folder.join(adapter::MODEL).exists();
        let beside = match over && !whole {
            true => self.put_beside(),
            false => None,
        };
        let folder = match beside {
            Some(folder) => folder,
            None => {
                self.put_in_place()?;
                self.folder.clone()
            }
        };
        Ok(Some(Saved {
            adapter: folder.join(adapter::MODEL),
            folder,
            bytes,
            beside: late,
        }))
    }

    /// Ends a run that has made no step since it was taken up from `snapshot`: it can be taken up again from there, or begun
    /// again from its settings, unless there is another one in its place.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn give_up(&mut self, ended: Ended, snapshot: Option<&Snapshot>) -> Result<()> {
        let over_another = self.folder.join(adapter::MODEL).exists();
        if self.place == Place::There || !over_another {
            self.write_settings(ended, snapshot.map_or((0, 0, None), Snapshot::far))?;
            self.put_in_place()?;
        }
        Ok(())
    }

    /// Refuses a disk without room for `bytes`.
    ///
    /// # Errors
    /// [`Error::Data`] that says how much there is.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        // A system that cannot say it has room until it has none.
        match fs4::available_space(&self.folder) {
            Ok(free) if free < bytes => Err(Error::data(
                &self.folder,
                format!(
                    "the run takes about {} MiB of the disk, and {} are free: make room, or choose a folder on another one",
                    bytes.div_ceil(1 << 20),
                    free >> 20
                ),
            )),
            _ => Ok(()),
        }
    }

    fn write(&self, adapter: &Adapter, best: Option<&Best>, subject: Subject) -> Result<u64> {
        let Subject {
            arch,
            base,
            classes,
        } = subject;
        let at = self.at();
        let (_, bytes) = adapter::save(&at, adapter, arch, base, classes)?;
        if let Some(best) = best {
            let folder = at.join(BEST);
            fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
            adapter::save(&folder, &best.adapter, arch, base, classes)?;
        }
        Ok(bytes)
    }

    fn write_state(&mut self, snapshot: &Snapshot) -> Result<()> {
        let at = self.at();
        self.metrics.flush(&at)?;
        // The state says how long it is.
        self.metrics.sync()?;
        let state = at.join(STATE);
        let beside = json!({"metrics": self.metrics.len(), "settings": self.deciding});
        let path = state.join(format!("step-{:08}.safetensors", snapshot.steps()));
        snapshot.save(&path, &beside)?;
        // Those of later steps are of a life that this run has not had.
        let later = |path: &PathBuf| step_of(path) > Some(snapshot.steps());
        let (later, kept): (Vec<_>, Vec<_>) = states(&state)?.into_iter().partition(later);
        let old = kept.len().saturating_sub(self.keep);
        for path in later.iter().chain(&kept[..old]) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// `run.toml`: the settings, and how far the run is.
    fn write_settings(&self, ended: Ended, (steps, epochs, best): Far) -> Result<()> {
        let mut settings = self.settings.clone();
        let run = settings.entry("run");
        if let Some(run) = run.or_insert(toml::Table::new().into()).as_table_mut() {
            let ended = toml::Value::try_from(ended).expect("a word becomes TOML");
            run.insert("ended".into(), ended);
            run.insert("steps".into(), (steps as i64).into());
            run.insert("epochs".into(), (epochs as i64).into());
            if let Some(best) = best {
                run.insert("best_epoch".into(), (best.epoch as i64).into());
            }
        }
        let text = toml::to_string(&settings)
            .map_err(|e| Error::data(&self.folder, format!("cannot write the settings: {e}")))?;
        write_atomic(&self.at().join(SETTINGS), text.as_bytes())
    }

    /// Puts the run beside the one that it was to replace, where that can be.
    fn put_beside(&mut self) -> Option<PathBuf> {
        let (name, above) = (self.folder.file_name()?, self.folder.parent()?);
        self.metrics.close().ok()?;
        self.timing.close().ok()?;
        let _ = fs::remove_file(self.at().join(RESERVE));
        (1..1000).find_map(|number| {
            let mut name = name.to_os_string();
            name.push(format!("-stopped-{number}"));
            let beside = above.join(name);
            let free = !beside.exists();
            (free && fs::rename(self.at(), &beside).is_ok()).then_some(beside)
        })
    }

    fn put_in_place(&mut self) -> Result<()> {
        if self.place == Place::Staged {
            self.metrics.close()?;
            self.timing.close()?;
            let _ = fs::remove_file(self.at().join(RESERVE));
            put_in_place(&self.folder)?;
            self.place = Place::There;
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.at().join(RESERVE));
        // Nothing is left of a run that was never put in place; what cannot be removed, the next one sweeps.
        if self.place == Place::Staged && !self.again {
            let _ = unstage(&self.folder);
        }
        // The lock is in the folder, which goes only where it is empty.
        drop(self.lock.take());
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Whether it is that there is no room.
fn is_full(error: &Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = [FileTooLarge, QuotaExceeded, StorageFull];
    matches!(error, Error::Io { source, .. } if full.contains(&source.kind()))
}

/// Takes `bytes` of the disk.
fn reserve(path: &Path, bytes: u64) -> Result<()> {
    static PART: [u8; 1 << 16] = [0; 1 << 16];
    let mut file = File::create(path).map_err(Error::io(path, "write"))?;
    let mut left = bytes;
    while left > 0 {
        let part = left.min(PART.len() as u64);
        let written = file.write_all(&PART[..part as usize]);
        written.map_err(Error::io(path, "keep room for the adapter in"))?;
        left -= part;
    }
    Ok(())
}

/// The state files in a folder, by their steps.
fn states(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| step_of(path).is_some()).collect();
    paths.sort_by_key(|path| step_of(path));
    Ok(paths)
}

/// The steps after which a state file was written.
fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    digits.parse().ok()
}
