//! `goldfish train`: from a folder of images to an adapter.

mod after;
mod args;
mod augment;
mod checked;
mod data;
mod idle;
mod keep;
mod prefix;
mod recipe;
mod settings;
mod shared;
mod verify;
mod whole;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{ArgMatches, Args as ClapArgs, Command};
use goldfish::train::{BEST, Ended, Prefix, Run, Snapshot, Subject, Task, Trained, serve, train};
use goldfish::{Error, Result};
use toml::{Table, Value};

pub use args::{ClassesArg, Request, TrainArgs, parts};
pub(in crate::cli) use settings::{sweep_of, unchanged};
use shared::Found;
pub(in crate::cli) use shared::{OfSweep, SWEEP, Shared};
pub(in crate::cli) use whole::{ended, whole};

use super::adopt::{DEFAULT_RUN, adopt};
use super::base::{BaseArgs, BaseReport};
use super::config::{self, Which};
use super::terminal::plain_path;
use super::weights::place;
use super::world;
pub(super) use after::verdicts;
use checked::Checked;
pub(super) use checked::{disk, ground};
use keep::Keeper;

/// The figures are those of README.md, of benches/compare/own.py.
const CHOOSING: &str = "What to adapt for classes of your own:\n  \
head                            the new last layer alone, a linear probe: seconds. Enough where the base all but knows \
the classes\n  \
head,classifier.0,classifier.3  the default. The convolutions still run once an image\n  \
head,features.34,classifier.0,classifier.3\n                                  the last convolution (of vgg19) too: for pictures of \
another kind than the base knows\n\
On digits that a small VGG11 had not seen, 40 pictures each, 20 epochs on two CPU cores: 68.0 % right in 5 s, 81.2 % in 17 s, \
84.2 % in 72 s. For ImageNet's names the default is pixels, the tutorial's branch beside the network.";

#[derive(ClapArgs)]
#[command(after_help = CHOOSING)]
pub struct Args {
    /// Folder with one folder a class: DATA/<class>/<image>. Folders that are named by ImageNet's categories (torchvision's
    /// name, WordNet id or index) train for those; other names are classes of your own: see --classes
    #[arg(required_unless_present_any = ["resume", "config"])]
    data: Option<PathBuf>,
    /// Folder for the adapter, its settings and the metrics
    #[arg(short, long, value_name = "RUN", default_value = DEFAULT_RUN, help_heading = KEEPING)]
    output: PathBuf,
    /// Replace the run that is in the output folder, once this one has something to put there
    #[arg(long, help_heading = KEEPING)]
    overwrite: bool,
    /// Go on with a run that was stopped, killed or is to have more epochs, with its own settings; it ends with the bytes
    /// that it would have had without
    #[arg(long, value_name = "RUN", conflicts_with_all = ["output", "overwrite", "config"], help_heading = KEEPING)]
    resume: Option<PathBuf>,
    /// Take settings from this file, a run.toml too; what is typed goes before it
    #[arg(long, value_name = "FILE", help_heading = KEEPING)]
    config: Option<PathBuf>,
    /// Say what the run will take, as `goldfish estimate` does, and do not train
    #[arg(long, conflicts_with = "resume", help_heading = KEEPING)]
    pub dry_run: bool,
    /// Do the run twice and say whether both came to the same bytes
    #[arg(long, conflicts_with_all = ["resume", "dry_run"], help_heading = KEEPING)]
    verify_determinism: bool,
    /// Cross validation: K runs, each without another part of the images, in RUN/fold-1 to RUN/fold-K, and how good they are
    /// on average; what is frozen is computed once
    #[arg(long, value_name = "K", value_parser = parts, conflicts_with_all = ["val", "val_split", "fold", "resume"], help_heading = VALIDATION)]
    pub kfold: Option<usize>,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

const KEEPING: &str = "What is kept";
const VALIDATION: &str = "How good it is";
/// Ways to have images that are not trained on, of which a run has one.
const APART: [&str; 4] = ["val", "val_split", "fold", "kfold"];

/// A finished job, for those who show more than its end.
pub struct Job {
    pub run: Run,
    pub checked: Checked,
    pub prefix: Prefix,
    pub trained: Trained,
    pub adapter: PathBuf,
    pub bytes: u64,
}

impl Job {
    /// The folder, which stays nobody else's, without what the run had of the device and of memory.
    fn into_run(self) -> Run {
        self.run
    }
}

/// What is to be parsed in the place of `matches`, where those name a file with settings or a run to go on with; `program`
/// is the whole command line.
pub fn configured(program: &Command, matches: &ArgMatches) -> Result<Option<Vec<OsString>>> {
    let Some((name @ ("train" | "estimate"), own)) = matches.subcommand() else {
        return Ok(None);
    };
    let Some(command) = program.find_subcommand(name) else {
        return Ok(None);
    };
    // There is nothing to go on with for an estimate.
    let resumed = own.try_get_one::<PathBuf>("resume");
    let run = resumed.ok().flatten();
    let (path, mut file) = match (run, own.get_one::<PathBuf>("config")) {
        (Some(run), _) => {
            Run::repair(run)?;
            Run::settings(run)?
        }
        (None, Some(path)) => (path.clone(), config::read(path)?),
        (None, None) => return Ok(None),
    };
    // Runs of the head alone said a rank once, which was nobody's.
    let none = file.get("modules").and_then(Value::as_array);
    if file.contains_key("run") && none.is_some_and(Vec::is_empty) {
        file.remove("rank");
    }
    if let ("estimate", Some(k)) = (name, file.get("kfold")) {
        let problem = format!(
            "asks for {k} runs (kfold), and an estimate is of one: take kfold out of a copy, and name a part with \
             --fold 1/{k}"
        );
        return Err(Error::data(&path, problem));
    }
    config::check(command, &file, &path)?;
    let mut typed = config::table(command, own, Which::Typed);
    if let Some(run) = run {
        settings::unchanged(&file, &mut typed, run)?;
    } else if place::named().is_some() {
        // The environment goes before a file.
        file.remove("weights");
    }
    if APART.iter().any(|key| typed.contains_key(*key)) {
        file.retain(|key, _| !APART.contains(&key));
    }
    file.retain(|key, _| !typed.contains_key(key));
    let words = vec!["goldfish".into(), name.into()];
    config::command_line(words, (command, own, &[]), (command, &file, &path)).map(Some)
}

impl Args {
    /// What is asked for, of a run of its own.
    pub(in crate::cli) fn request<'a>(
        &'a self,
        data: &'a Path,
        device: Option<String>,
    ) -> Request<'a> {
        Request {
            data,
            output: &self.output,
            overwrite: self.overwrite,
            resume: false,
            sweep: None,
            base: &self.base,
            settings: &self.settings,
            device,
            looks_again: false,
        }
    }

    /// Refuses several ranks for what one alone does.
    pub fn one_alone(&self) -> Result<()> {
        let what = match self {
            Args { kfold: Some(_), .. } => "--kfold",
            Args { dry_run: true, .. } => "--dry-run",
            Args {
                verify_determinism: true,
                ..
            } => "--verify-determinism",
            _ => return Ok(()),
        };
        world::one_alone(what)
    }

    /// The folder of images, which may stand in a file with settings.
    pub fn data(&self) -> Result<&Path> {
        let file = self.resume.as_ref().or(self.config.as_ref());
        let none = || Error::data(file.unwrap_or(&self.output), config::NO_DATA);
        self.data.as_deref().ok_or_else(none)
    }

    /// Hands over all settings as run.toml has them.
    pub fn set_table(&mut self, table: Table) {
        self.settings.table = table;
    }

    /// Where the runs of [`Args::kfold`] go, and whether they may replace others; refused beside what is of one run alone.
    pub fn parts(&self) -> Result<(&Path, bool)> {
        let instead = match (self.dry_run, self.verify_determinism) {
            (true, _) => "--dry-run says what one run takes",
            (_, true) => "--verify-determinism does one run twice",
            _ => return Ok((&self.output, self.overwrite)),
        };
        Err(Error::Usage(format!(
            "{instead}, and --kfold asks for several: ask for one of them, with --fold 1/{} in its place",
            self.kfold.unwrap_or(2)
        )))
    }
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let (resume, output) = (&args.resume, &args.output);
    if let Some(run) = resume {
        let mut nothing = None;
        if world::world().leads() {
            let (_, settings) = Run::settings(run)?;
            let whole = whole(run, &settings, args.settings.plan().epochs);
            nothing = whole.then(|| whole::nothing_left(run, &settings));
        }
        if world::world().leaders(usize::from(nothing.is_some()))? == 1 {
            return super::print(&nothing.unwrap_or_default());
        }
    }
    let request = Request {
        data: args.data()?,
        output: resume.as_ref().unwrap_or(output),
        overwrite: args.overwrite,
        resume: resume.is_some(),
        sweep: None,
        base: &args.base,
        settings: &args.settings,
        device,
        looks_again: false,
    };
    if !world::world().leads() {
        return led(request);
    }
    let job = job(request.clone())?;
    let text = told(&job);
    if args.verify_determinism {
        // Of the first run nothing but its folder stays: the second has the device and the memory for itself.
        let run = job.into_run();
        verify::again(&request, run.folder(), |request| {
            self::job(request).map(drop)
        })?;
    }
    super::print(&text)
}

/// How a run ended.
fn told(job: &Job) -> String {
    let mut text = format!("steps    {}\n", job.trained.steps);
    if let [first, .., last] = &*job.trained.losses {
        text += &format!("loss     {first:.4} -> {last:.4}\n");
    }
    if let Some(best) = &job.trained.best {
        text += &format!(
            "best     epoch {} ({}), {}\n",
            best.epoch,
            keep::said(&best.score),
            plain_path(&job.run.folder().join(BEST))
        );
    }
    text + &summary(job)
}

/// The lines on the adapter that every finished run ends with, and what its base makes of it.
pub fn summary(job: &Job) -> String {
    format!(
        "{}adapter  {} ({:.2} MB, {} parameters)\n",
        BaseReport::new(job.checked.identity.clone()).line(),
        plain_path(&job.adapter),
        job.bytes as f64 / 1e6,
        job.trained.adapter.parameters()
    )
}

/// What a run that is over leaves for the next of a sweep.
pub(in crate::cli) fn leave(job: Job) -> Shared {
    handed_on(job.checked, job.prefix)
}

fn handed_on(checked: Checked, prefix: Prefix) -> Shared {
    let Checked {
        gpu,
        base,
        identity,
        data,
        how,
        ..
    } = checked;
    let network = prefix.base().clone();
    Shared {
        found: Some(Found {
            gpu,
            base,
            identity,
            images: data.images,
        }),
        network: Some((how.ranks, network)),
        frozen: Some(prefix.into_frozen()),
    }
}

/// Trains an adapter and writes the run folder.
pub fn job(request: Request) -> Result<Job> {
    job_after(request, &mut Shared::default())
}

/// The same after another run with which much is shared: see [`leave`]. A run that diverges leaves it in `before`.
pub(in crate::cli) fn job_after(request: Request, before: &mut Shared) -> Result<Job> {
    let stop = super::stop_on_ctrl_c();
    let base = adopted(&request)?;
    let request = Request {
        base: &base,
        ..request
    };
    let (run, mut checked) = Checked::new(&request, Some(before))?;
    let mut run = run.ok_or_else(|| Error::Usage("a run is rank 0's".into()))?;
    let start = keep::begin(&mut run, &checked, &request)?;
    let mut prefix = match prefix::prefix(&mut checked, &request, before) {
        Err(error @ Error::Interrupted { .. }) => {
            run.give_up(Ended::Interrupted, Some(&start))?;
            keep::leave_untouched(&run);
            return Err(error);
        }
        prefix => prefix?,
    };
    let mut trained = steps(&mut run, &checked, &request, &mut prefix, start, stop)?;
    let (adapter, bytes) = match keep::keep(&mut run, &checked, &mut trained) {
        Ok(kept) => kept,
        // A rate that is too high takes nothing from the next run.
        Err(error @ Error::NonFinite { .. }) => {
            *before = handed_on(checked, prefix);
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    after::tell_cost(&checked, &prefix, &trained);
    after::leave(run.folder(), &checked, &mut prefix, &trained, stop);
    Ok(Job {
        run,
        checked,
        prefix,
        trained,
        adapter,
        bytes,
    })
}

/// A rank's part of a run that rank 0 leads.
fn led(request: Request) -> Result<()> {
    let stop = super::stop_on_ctrl_c();
    let base = adopted(&request)?;
    let request = Request {
        base: &base,
        ..request
    };
    let (_, mut checked) = Checked::new(&request, None)?;
    let mut prefix = prefix::prefix(&mut checked, &request, &mut Shared::default())?;
    serve(&mut prefix, task(&checked, stop), &checked.start)
}

/// The base that is asked for, with what the adapter to start from says of it.
fn adopted(request: &Request) -> Result<BaseArgs> {
    let mut base = request.base.clone();
    // A run that goes on says all of its base itself.
    if let Some(folder) = &request.settings.init_adapter
        && !request.resume
    {
        adopt(&mut base, folder)?;
    }
    Ok(base)
}

/// What is trained on.
fn task<'a>(checked: &'a Checked, stop: &'a AtomicBool) -> Task<'a> {
    Task {
        images: &checked.data.images,
        labels: &checked.data.labels,
        split: &checked.data.split,
        plan: checked.plan,
        stop,
    }
}

/// Trains from where the run stands.
fn steps(
    run: &mut Run,
    checked: &Checked,
    request: &Request,
    prefix: &mut Prefix,
    start: Snapshot,
    stop: &AtomicBool,
) -> Result<Trained> {
    let Checked {
        plan,
        base,
        identity,
        data,
        ..
    } = checked;
    let task = task(checked, stop);
    let subject = Subject {
        arch: base.arch,
        base: identity,
        classes: &data.classes,
    };
    let steps = plan.steps(data.split.train.len());
    let far = [start.steps(), steps];
    let mut keeper = Keeper::new(run, subject, request.settings, far);
    let (before, begun) = (world::world().traffic(), Instant::now());
    let trained = train(prefix, task, start, &mut keeper)?;
    keeper.finish(&trained);
    if plan.shares_steps(data.split.train.len()) {
        world::tell_traffic(before, begun.elapsed().as_secs_f64());
    }
    Ok(trained)
}
