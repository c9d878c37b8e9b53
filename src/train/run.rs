//! A run's folder: settings, a line a step, the adapter, the best one, and where it stands.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::folder::{
    BEST, Place, RESERVE, SETTINGS, STATE, foreign, found, mend, of_another_kind, put_in_place,
    stage, step_of, unstage,
};
use super::judged;
use super::lines::Lines;
use super::listing::Listing;
use super::lock::Lock;
use super::outcome::{Ended, Saved, Subject, Timing};
use super::snapshot::{Best, Far, Snapshot};
use super::states::{self, MadeOn, Same, TakenUp, states, write_images};
use super::task::Trained;
use super::watch::{EpochRecord, StepRecord};
use crate::error::{Error, Remedy, Result};
use crate::files::write_atomic;
use crate::formats::adapter;
use crate::formats::state::State;
use crate::nn::Adapter;

/// What a run begins with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// All settings, as `run.toml` is to have them.
    pub settings: toml::Table,
    /// Those that decide its numbers.
    pub deciding: &'a toml::Table,
    /// Its images.
    pub images: &'a Listing,
    /// Its fresh adapter.
    pub start: &'a Adapter,
    /// What it is made on.
    pub made_on: MadeOn,
    /// Bytes of the disk that are kept for its adapter.
    pub room: u64,
    /// States that are kept, the newest ones.
    pub keep: usize,
}

/// A run's folder that nobody else writes to.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    place: Place,
    metrics: Lines,
    timing: Lines,
    settings: toml::Table,
    /// Those that decide its numbers.
    deciding: serde_json::Value,
    /// What it is made on, once it has begun.
    made_on: Option<MadeOn>,
    /// States to keep.
    keep: usize,
    start: Instant,
    /// Whether a run that was never put in place is taken up.
    again: bool,
    /// Whether it has made a step here.
    stepped: bool,
    /// Whether it replaces another one even where it ends early.
    replaces: bool,
    /// Whether its states were removed to make room for its adapter.
    stateless: bool,
    /// It goes last, and with it the folders that were made here and are empty.
    _lock: Lock,
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
        if let Some((name, wanted)) = of_another_kind(folder) {
            let problem = format!(
                "has {name} where a run has a {wanted}, which would be lost: move it away, or choose another folder"
            );
            return Err(Error::data(folder, problem));
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

    /// Lets the run replace the one that is in its folder where it ends early too, with a step made or diverged: it is gone
    /// on with there, or is an answer. Else it is put beside that one.
    pub fn replace_however_it_ends(&mut self) {
        self.replaces = true;
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

    pub(super) fn take(folder: &Path) -> Result<Self> {
        let lock = Lock::make(folder)?;
        let run = Run {
            folder: folder.to_path_buf(),
            place: Place::There,
            metrics: Lines::new("metrics.jsonl"),
            timing: Lines::new("timing.jsonl"),
            settings: toml::Table::new(),
            deciding: serde_json::Value::Null,
            made_on: None,
            keep: 1,
            start: Instant::now(),
            again: false,
            stepped: false,
            replaces: false,
            stateless: false,
            _lock: lock,
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

    /// Begins the run, or goes on with it: writes its settings, keeps room for its adapter on the disk, and says what it was
    /// put down with.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk has no room; [`Error::Data`] where what is there is another run's, or of other images.
    pub fn begin(&mut self, beginning: Beginning) -> Result<TakenUp> {
        let Beginning {
            settings,
            deciding,
            images,
            start,
            made_on,
            room,
            keep,
        } = beginning;
        let at = self.at();
        self.keep = keep.max(1);
        self.settings = settings;
        self.deciding = serde_json::to_value(deciding).expect("TOML becomes JSON");
        let taken = match self.place {
            Place::Staged => TakenUp::default(),
            Place::There => {
                let same = Same {
                    settings: &self.deciding,
                    images,
                    made_on: &made_on,
                };
                same.restore(&self.folder, start)?
            }
        };
        self.made_on = Some(made_on);
        match &taken.snapshot {
            Some(snapshot) => {
                self.metrics.resume(&at, taken.metrics)?;
                // Those of later epochs are of a life that this run has not had.
                let done = |line: &Timing| line.step <= snapshot.steps();
                self.timing.resume_while(&at, done)?;
            }
            None => {
                // From the beginning.
                self.metrics.resume(&at, 0)?;
                self.timing.resume(&at, 0)?;
            }
        }
        let far = taken.snapshot.as_ref().map_or((0, 0, None), Snapshot::far);
        self.write_settings(Ended::NotYet, far)?;
        write_images(&at, images)?;
        reserve(&at.join(RESERVE), room)?;
        Ok(taken)
    }

    /// Adds a step to the metrics.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full: the line is written with the next that fits.
    pub fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.stepped = true;
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
                    self.stateless |= fs::remove_file(state).is_ok();
                }
                let again = self.write(&trained.adapter, trained.best.as_ref(), subject);
                again.map_err(|_| first)?
            }
        };
        // What follows is worth less: it does not keep the adapter from its place.
        let late = match &trained.snapshot {
            Some(snapshot) => {
                let put_down = self.write_state(snapshot);
                self.stateless &= put_down.is_err();
                put_down
            }
            None => self.metrics.flush(&at),
        };
        let told = self.write_settings(ended, far);
        let late = late.and(told);
        let whole = matches!(ended, Ended::Complete | Ended::EarlyStop);
        let over = self.place == Place::Staged && self.folder.join(adapter::MODEL).exists();
        let beside = match over && !whole && !self.replaces {
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
        if self.place == Place::There || !over_another || self.replaces && ended == Ended::Diverged
        {
            self.write_settings(ended, snapshot.map_or((0, 0, None), Snapshot::far))?;
            self.put_in_place()?;
        }
        Ok(())
    }

    /// Whether [`Run::finish`] has removed the run's states to make room for its adapter, and written none since: nothing is
    /// left that it could be taken up from.
    pub fn stateless(&self) -> bool {
        self.stateless
    }

    /// What decides the run's numbers under the name `key`, as the newest of its states that can be read says it; `None`
    /// where none does.
    pub fn decided(&self, key: &str) -> Option<String> {
        let states = states(&self.folder.join(STATE)).ok()?;
        let beside = states
            .iter()
            .rev()
            .find_map(|path| Snapshot::beside(path, &State::open(path).ok()?).ok())?;
        beside["settings"][key].as_str().map(str::to_string)
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
        if self.stepped {
            // What was said of the pictures was said of an earlier adapter.
            judged::remove(&at)?;
        }
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
        let beside = Same::beside(&self.deciding, self.made_on.as_ref(), self.metrics.len());
        snapshot.save(&states::path(&at, snapshot.steps()), &beside)?;
        // Those of later steps are of a life that this run has not had.
        let later = |path: &PathBuf| step_of(path) > Some(snapshot.steps());
        let (later, kept): (Vec<_>, Vec<_>) = states(&at.join(STATE))?.into_iter().partition(later);
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
            // The room for the adapter stays kept until the run is over. Where it cannot be moved, it is free.
            let _ = fs::rename(self.at().join(RESERVE), self.folder.join(RESERVE));
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
