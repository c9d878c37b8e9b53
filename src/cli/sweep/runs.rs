//! The runs of a sweep, one after the other: what is frozen is computed once, and what compares them is written after each.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Command, FromArgMatches};
use goldfish::data::Score;
use goldfish::train::history::History;
use goldfish::train::{Ended, Run, SETTINGS};
use goldfish::{Error, Result};
use toml::{Table, Value};

use super::asked::{Asked, name};
use super::compared::{Report, Row};
use super::taken::Taken;
use super::written;
use crate::cli::config::{self, Which};
use crate::cli::print;
use crate::cli::stop::{go_on, stop_on_ctrl_c};
use crate::cli::terminal::note;
use crate::cli::train::{self, OfSweep, SWEEP, Shared};

/// What is typed of all runs together, by clap's names.
const OF_ALL: [&str; 5] = ["output", "overwrite", "resume", "config", "kfold"];

/// What came of a run.
struct Came {
    /// The best epoch and how good it was; nothing where it diverged.
    best: Option<(usize, Score)>,
    /// Why it diverged.
    diverged: Option<Error>,
    seconds: f64,
    /// Whether it had ended before.
    before: bool,
}

/// Whether `error` is one run's own, so that the others go on: not that the work was stopped, nor what is of the machine.
fn is_its_own(error: &Error) -> bool {
    matches!(
        error,
        Error::Data { .. } | Error::Setting { .. } | Error::Usage(_)
    )
}

/// Trains all that is `asked` on the images in `data`; `train` is that command.
pub(super) fn run(
    data: &Path,
    asked: &Asked,
    train: &Command,
    device: Option<String>,
) -> Result<()> {
    stop_on_ctrl_c();
    let taken = Taken::new(asked)?;
    let (mut report, mut shared) = (Report::new(asked), Shared::default());
    let (runs, mut ended) = (asked.runs(), None);
    // Whether anything came of this, what the first run that cannot be done says, and one that diverged.
    let (mut something, mut failed, mut diverged) = (false, None, None);
    for (number, &(settings, fold)) in runs.iter().enumerate() {
        let output = asked.place.folder.join(name(settings, fold));
        note!(
            "run      {}/{}: {}",
            number + 1,
            runs.len(),
            output.display()
        );
        let one = One {
            asked,
            taken: &taken,
            data,
            train,
            output: &output,
            ended: ended.as_deref(),
        };
        let stood = one.written();
        let came = go_on(0).and_then(|()| one.run(settings, fold, device.clone(), &mut shared));
        let came = match came {
            Ok(came) => came,
            Err(error) => {
                something |= one.written() != stood;
                // A first run that cannot be done says what is wrong with all.
                let others = number > 0 || asked.place.resume;
                if !others || !is_its_own(&error) {
                    failed = Some(error);
                    break;
                }
                note!("notice   {}: {error}", output.display());
                failed.get_or_insert(error);
                continue;
            }
        };
        something |= !came.before;
        diverged = diverged.or(came.diverged);
        if came.before && ended.is_none() {
            ended = Some(output.clone());
        }
        report.add(Row {
            settings: settings.clone(),
            fold,
            run: output.clone(),
            epoch: came.best.map(|(epoch, _)| epoch),
            score: came.best.map(|(_, score)| score),
            seconds: came.seconds,
        });
        // The runs are worth more than what compares them.
        match written::write(&report) {
            Err(error) if number + 1 < runs.len() => note!("notice   {error}"),
            done => done?,
        }
    }
    match (something, report.runs.is_empty()) {
        (false, _) if failed.is_some() => taken.undo(),
        (_, true) => {}
        _ => note!("compared {}", report.page().display()),
    }
    let Some(error) = failed else {
        print(&written::table(&report))?;
        let all = report.runs.iter().all(|row| row.score.is_none());
        return diverged.filter(|_| all).map_or(Ok(()), Err);
    };
    if something || asked.place.resume && asked.place.folder.join(SWEEP).exists() {
        note!("resume   {}", asked.go_on());
    }
    Err(error)
}

/// One run of those that are asked for.
struct One<'a> {
    asked: &'a Asked<'a>,
    taken: &'a Taken,
    data: &'a Path,
    train: &'a Command,
    output: &'a Path,
    /// Another one that had ended before.
    ended: Option<&'a Path>,
}

impl One<'_> {
    fn run(
        &self,
        settings: &Table,
        fold: Option<usize>,
        device: Option<String>,
        shared: &mut Shared,
    ) -> Result<Came> {
        let (place, began) = (self.asked.place, Instant::now());
        let mut own = settings.clone();
        if let (Some(fold), Some(k)) = (fold, self.asked.kfold) {
            own.insert("fold".into(), format!("{fold}/{k}").into());
        }
        let mut table = self.asked.common.clone();
        table.extend(own.clone());
        let (mut before, mut earlier) = (None, 0.0);
        if let Some((path, mut settings)) = self.begun()? {
            train::unchanged(&settings, &mut table, self.output)?;
            if let Some(came) = self.came(&settings, &table)? {
                return Ok(came);
            }
            earlier = match History::read(self.output) {
                Ok(history) => history.seconds(),
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => 0.0,
                Err(error) => return Err(error),
            };
            // What is not typed again is as it was.
            settings.retain(|key, _| !table.contains_key(key) && key != "data");
            before = Some((path, settings));
        }
        let resume = before.is_some();
        let args = self.parsed(&own, before)?;
        let mut request = args.request(self.data, device);
        request.resume = resume;
        request.overwrite = self.taken.replaces;
        request.sweep = Some(OfSweep {
            folder: place.folder,
            id: self.taken.id.as_deref(),
            ended: self.ended,
        });
        let came = |best, diverged| Came {
            best,
            diverged,
            seconds: earlier + began.elapsed().as_secs_f64(),
            before: false,
        };
        match train::job_after(request, shared) {
            Ok(job) => {
                let best = job.trained.best.as_ref();
                let best = best.map(|best| (best.epoch, best.score));
                *shared = train::leave(job);
                Ok(came(best, None))
            }
            // A rate that is too high is one of the answers.
            Err(error @ Error::NonFinite { .. }) => {
                note!("notice   {}: {error}", self.output.display());
                Ok(came(None, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// The settings that are in the folder.
    fn written(&self) -> Option<Vec<u8>> {
        fs::read(self.output.join(SETTINGS)).ok()
    }

    /// The run of this sweep that has begun in the folder. One that stood there before the sweep did is none of its.
    fn begun(&self) -> Result<Option<(PathBuf, Table)>> {
        if !self.asked.place.resume || !Run::is_in(self.output) {
            return Ok(None);
        }
        Run::repair(self.output)?;
        let own = |settings: &Table| train::sweep_of(settings) == self.taken.id;
        let path = self.output.join(SETTINGS);
        if path.exists() && !own(&config::read(&path)?) {
            return Ok(None);
        }
        let (path, settings) = Run::settings(self.output)?;
        Ok(own(&settings).then_some((path, settings)))
    }

    /// What came of the run before, where it has ended and `table` asks no more of it.
    fn came(&self, settings: &Table, table: &Table) -> Result<Option<Came>> {
        let asked = table.get("epochs").or_else(|| settings.get("epochs"));
        let epochs = asked.and_then(Value::as_integer).unwrap_or(0);
        let diverged = train::ended(settings) == Some(Ended::Diverged);
        if !diverged && !train::whole(self.output, settings, epochs as usize) {
            return Ok(None);
        }
        let history = History::read(self.output)?;
        let best = history.epochs.iter().rev().filter(|_| !diverged);
        let mut best = best.filter(|epoch| epoch.best == Some(true));
        let best = best.find_map(|epoch| Some((epoch.epoch, epoch.validation?)));
        note!(
            "notice   {}",
            match diverged {
                true => "it has diverged, and stays as it is",
                false => "it has ended, and stays as it is",
            }
        );
        // A sum of nothing has a sign.
        let last = history.steps.last().filter(|_| diverged);
        Ok(Some(Came {
            best,
            diverged: last.map(|last| Error::NonFinite {
                step: last.step,
                loss: last.loss,
                lr: last.lr,
            }),
            seconds: history.seconds().abs(),
            before: true,
        }))
    }

    /// What `train` would have been given: what was typed for all, the settings that are this one's `own`, and what it had
    /// `before`.
    fn parsed(&self, own: &Table, before: Option<(PathBuf, Table)>) -> Result<train::Args> {
        let mut named = OsString::from("--output=");
        named.push(self.output);
        let words = vec![OsString::from("train"), named];
        let (path, mut file) = before.unwrap_or_default();
        file.extend(own.clone());
        let (typing, matches) = self.asked.typed;
        let typed = (typing, matches, &OF_ALL[..]);
        let words = config::command_line(words, typed, (self.train, &file, &path))?;
        let said = |error: clap::Error| Error::Usage(error.to_string());
        let matches = self
            .train
            .clone()
            .try_get_matches_from(words)
            .map_err(said)?;
        let mut args = train::Args::from_arg_matches(&matches).map_err(said)?;
        args.set_table(config::table(self.train, &matches, Which::All));
        Ok(args)
    }
}
