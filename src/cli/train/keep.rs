//! A run as it goes: shown on the terminal, written to its folder, put down now and then, and kept at its end.

use std::path::PathBuf;
use std::time::Instant;

use goldfish::data::Score;
use goldfish::formats::adapter;
use goldfish::nn::rounding;
use goldfish::train::{
    Beginning, EpochRecord, MadeOn, Run, Snapshot, StepRecord, Subject, Trained, Watch,
};
use goldfish::{Error, Result};

use super::after;
use super::args::{Request, TrainArgs};
use super::checked::{Checked, own_start};
use super::settings::{deciding, same_base, settings};
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::terminal::note;
use crate::cli::values::Every;
use crate::cli::world::world;

/// Room on the disk beside an adapter's numbers: its settings, and the run's.
const BESIDE: u64 = 1 << 20;

/// Begins the run in its folder, or takes it up; where it stands.
pub(super) fn begin(run: &mut Run, checked: &Checked, request: &Request) -> Result<Snapshot> {
    if request.resume {
        same_base(checked, request.output)?;
    }
    let listing = checked.data.listing()?;
    if let Some(ended) = request.sweep.and_then(|sweep| sweep.ended) {
        same_base(checked, ended)?;
        let before = Run::images(ended)?;
        if let Some(changes) = listing.whole().changes(&before.whole()) {
            let problem = format!(
                "was trained on other images: {changes}. Scores compare on the same ones alone: put them back as they were, \
                 or begin all runs anew with --overwrite"
            );
            return Err(Error::data(ended, problem));
        }
    }
    let settings = settings(checked, request)?;
    let mut deciding = deciding(&settings, &checked.start)?;
    if own_start(request)?.is_some()
        && let Some(first) = run.decided("init_adapter")
    {
        // It lies there no more, or is another one by now: the states know which it was.
        deciding.insert("init_adapter".into(), first.into());
    }
    let room = 4 * checked.start.parameters() as u64 + BESIDE;
    let how = checked.base.loading(&checked.gpu, checked.how.clone());
    let kernels = rounding(&checked.gpu, checked.base.arch, &how)?;
    let made_on = MadeOn::new(checked.gpu.info(), kernels);
    let now = made_on.to_string();
    let taken = run.begin(Beginning {
        deciding: &deciding,
        settings,
        images: &listing,
        start: &checked.start,
        made_on,
        room,
        keep: request.settings.keep,
    })?;
    if run.at() == run.folder() {
        // Where its page is, all of a run is there: see `whole`.
        let _ = std::fs::remove_file(run.folder().join(report::FILE));
    }
    for error in taken.damaged {
        note!("notice   {error}. The state before it is taken");
    }
    if let Some(before) = taken.elsewhere {
        let differs = match before.to_string() == now {
            true => "other kernels were measured for its device since (--tune)".into(),
            false => format!("it was made on {before}, and goes on on {now}"),
        };
        note!("notice   the bytes may differ from those of a run that nobody stopped: {differs}");
    }
    let Some(snapshot) = taken.snapshot else {
        if request.resume {
            note!("resume   nothing was put down yet: the run begins again");
        }
        return Ok(checked.start.clone().into());
    };
    note!(
        "resume   after {} steps, {} of {} epochs",
        snapshot.steps(),
        snapshot.epochs(),
        checked.plan.epochs
    );
    Ok(snapshot)
}

/// Shows a run, writes it down and puts it down.
pub(super) struct Keeper<'a> {
    run: &'a mut Run,
    subject: Subject<'a>,
    progress: Progress,
    every: Every,
    epochs: usize,
    /// Since it was last put down.
    last: Instant,
    /// What the bar says.
    said: String,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        run: &'a mut Run,
        subject: Subject<'a>,
        args: &TrainArgs,
        [done, steps]: [u64; 2],
    ) -> Self {
        Keeper {
            run,
            subject,
            progress: Progress::from(done, "train", "it", steps),
            every: args.save_every,
            epochs: args.epochs,
            last: Instant::now(),
            said: String::new(),
        }
    }

    /// It is over.
    pub(super) fn finish(self, trained: &Trained) {
        let last = trained.losses.last();
        let last = last.map_or(String::new(), |loss| format!(", last loss {loss:.4}"));
        match trained.end {
            Ok(()) => self.progress.finish(&last),
            Err(_) => self.progress.clear(),
        }
    }
}

impl Watch for Keeper<'_> {
    fn step(&mut self, record: StepRecord) -> Result<()> {
        self.said = format!("epoch {} loss {:.4}", record.epoch, record.loss);
        self.progress.set(record.step, &self.said);
        self.run.step(&record)
    }

    fn tried(&mut self, [one, all]: [f64; 2]) {
        let size = world().size();
        let (who, than) = match all < one {
            true => (format!("all {size} ranks take the steps"), "together"),
            false => ("rank 0 takes the steps".to_string(), "alone"),
        };
        self.progress.aside(|| {
            note!(
                "ranks    {who}: {:.1} ms a step {than}, {:.1} ms the other way",
                1e3 * one.min(all),
                1e3 * one.max(all)
            );
        });
    }

    fn validated(&mut self, done: usize, of: usize) {
        self.progress
            .say(&format!("{} validating {done}/{of}", self.said));
    }

    fn epoch(&mut self, record: EpochRecord) -> Result<()> {
        if let Some(score) = &record.validation {
            let best = match record.best {
                Some(true) => ", the best so far",
                _ => "",
            };
            self.progress.aside(|| {
                note!(
                    "epoch    {}/{}: loss {:.4}; on others {}{best}",
                    record.epoch,
                    self.epochs,
                    record.train_loss,
                    said(score)
                );
            });
        }
        self.run.epoch(&record)
    }

    fn due(&mut self, epochs: Option<usize>) -> bool {
        match (self.every, epochs) {
            (Every::Epochs(every), Some(done)) => done.is_multiple_of(every),
            (Every::Epochs(_), None) => false,
            (Every::Time(time), _) => self.last.elapsed() >= time,
        }
    }

    fn save(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.last = Instant::now();
        // The run is worth more than this one of its states.
        if let Err(error) = self.run.save(snapshot, self.subject) {
            self.progress.aside(|| {
                note!("notice   the run could not be put down here and goes on: {error}");
            });
        }
        Ok(())
    }
}

/// A validation in words.
pub(super) fn said(score: &Score) -> String {
    format!(
        "loss {:.4}, top-1 {:.1} %, top-5 {:.1} %",
        score.loss,
        score.top1 * 100.0,
        score.top5 * 100.0
    )
}

/// Leaves what asks no network, of a run that was taken up with an adapter and given up before its first step.
pub(super) fn leave_untouched(run: &Run) {
    if run.folder().join(adapter::MODEL).exists() && run.at() == run.folder() {
        after::leave_early(run.folder());
    }
}

/// Writes what has come of a run, wherever there is room for it; the adapter's path and bytes where it ran to its end.
pub(super) fn keep(
    run: &mut Run,
    checked: &Checked,
    trained: &mut Trained,
) -> Result<(PathBuf, u64)> {
    let subject = Subject {
        arch: checked.base.arch,
        base: &checked.identity,
        classes: &checked.data.classes,
    };
    let end = std::mem::replace(&mut trained.end, Ok(()));
    let ended = goldfish::train::Ended::of(&end, trained.early);
    let folder = run.folder().to_path_buf();
    let finished = run.finish(trained, ended, subject);
    if run.stateless() {
        let at = finished.as_ref().ok().and_then(Option::as_ref);
        let at = at.map_or(&folder, |saved| &saved.folder).display();
        note!(
            "notice   the disk had no room for the adapter beside what the run could go on from, which was removed: it cannot \
             be resumed. `goldfish train DATA --init-adapter {at} -o OTHER` goes on from the adapter"
        );
    }
    match (finished, end) {
        (Ok(Some(saved)), Ok(())) => {
            saved.beside?;
            Ok((saved.adapter, saved.bytes))
        }
        (Ok(None), Ok(())) => Err(Error::data(&folder, "the run has made no step")),
        (Ok(Some(saved)), Err(error)) => {
            note!("saved    {}", saved.adapter.display());
            after::leave_early(&saved.folder);
            if let Err(error) = &saved.beside {
                note!("notice   the run could not be put down where it stands: {error}");
            }
            if trained.snapshot.is_some() && Run::has_state(&saved.folder) {
                note!(
                    "resume   goldfish train --resume {}",
                    saved.folder.display()
                );
            }
            Err(error)
        }
        (Ok(None), Err(error)) => Err(error),
        (Err(error), end) => {
            // An adapter of hours is worth a place that nobody chose.
            let elsewhere = std::env::temp_dir().join(format!("goldfish-{}", std::process::id()));
            let saved = std::fs::create_dir_all(&elsewhere).is_ok();
            let Subject {
                arch,
                base,
                classes,
            } = subject;
            let saved = saved
                && trained.steps > 0
                && adapter::save(&elsewhere, &trained.adapter, arch, base, classes).is_ok();
            if saved {
                note!(
                    "saved    {}, since {} has no room for it",
                    elsewhere.display(),
                    folder.display()
                );
            }
            // What went wrong first is the reason.
            Err(end.err().unwrap_or(error))
        }
    }
}
