//! `goldfish eval`: how often are the base and its adapters right, and in what are they wrong?

mod against;
mod judged;
mod show;

use std::collections::HashSet;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::data::{Dataset, Evaluation, ImageStore, Labels, Verdict};
use goldfish::files::write_atomic;
use goldfish::nn::{Adapter, Loading};
use goldfish::train::{Prefix, Room, predict};
use goldfish::{Error, Result};

use super::adapters::AdapterArgs;
use super::alike::same_network;
use super::base::{BaseArgs, BaseReport};
use super::images::{Bad, open_images, tell};
use super::output::Output;
use super::progress::Progress;
use super::terminal::json;
use super::world::world;
use against::{Against, Kind};
use judged::Judged;
use show::Report;

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a category
    data: PathBuf,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// How to print: a table; csv with a row a class; json with everything, each picture's verdict too
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Say what the adapter gained and what it forgot: the base alone about the same pictures
    #[arg(long)]
    compare_base: bool,
    /// Write the confusion matrix as CSV: a row for each true class, a column for each that was said
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,
    /// Write the pictures that were taken for something else as CSV, the surest mistakes first
    #[arg(long, value_name = "FILE")]
    list_wrong: Option<PathBuf>,
    /// Replace the files of --confusion and --list-wrong where there are some
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    base: BaseArgs,
}

/// `--format`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let output = |flag, path: &Option<PathBuf>| {
        let path = path.clone()?;
        Some(Output::named(flag, path, args.overwrite))
    };
    let outputs = [
        output("--confusion", &args.confusion),
        output("--list-wrong", &args.list_wrong),
    ];
    for output in outputs.iter().flatten() {
        output.path()?;
    }
    args.adapters.adopt(&mut args.base)?;
    if args.compare_base && args.adapters.paths().next().is_none() {
        let problem = "compares with an adapter, and there is none: name one (--adapter)";
        return Err(Error::setting("compare_base", problem));
    }
    let trained = match args.compare_base {
        true => args.adapters.trained()?,
        false => None,
    };
    let gpu = super::open_device(device, args.base.precision)?;
    let base = args.base.resolve()?;
    let (adapter, classes) = args.adapters.answering(&gpu, &base)?;
    let how = Loading {
        ranks: adapter.ranks(),
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    same_network(&gpu, &base, &adapter, &how)?;
    let dataset = Dataset::open(&args.data, &Labels::Of(classes))?;
    tell(&dataset.left_out);
    let paths: Vec<PathBuf> = dataset.items.iter().map(|item| item.path.clone()).collect();
    for output in outputs.iter().flatten() {
        let images = paths.iter().map(PathBuf::as_path);
        output.beside(&base.weights, args.adapters.paths(), images)?;
    }
    let (images, skipped) = open_images(&paths, &base, &args.base, None)?;
    let left_out: HashSet<&PathBuf> = skipped.iter().map(|s| &s.path).collect();
    let kept = dataset
        .items
        .iter()
        .filter(|item| !left_out.contains(&item.path));
    let labels: Vec<usize> = kept.map(|item| item.label as usize).collect();
    let classes = &dataset.classes;
    let kind = args.compare_base.then(|| Kind::of(&adapter));
    // What the frozen layers make of a picture is the same without the adapter.
    let twice = matches!(kind, Some(Kind::Same | Kind::First(_)));
    let room = twice.then(|| Room::of(args.base.memory()));
    // Each rank answers its share of the pictures, and rank 0 hears all.
    let world = world();
    let mut prefix = Prefix::new(base.load(&gpu, how)?, &adapter, &images, room).among(&world);
    let after = verdicts(&mut prefix, &images, &labels, &adapter, "eval", None)?;
    let before = match kind {
        Some(Kind::Same) => Some(Adapter::default()),
        Some(Kind::First(_)) => Some(Adapter {
            loras: Vec::new(),
            head: adapter.head.clone(),
        }),
        Some(Kind::Other) | None => None,
    };
    let before = match &before {
        Some(alone) => {
            let first = kind.and_then(Kind::first);
            let verdicts = verdicts(&mut prefix, &images, &labels, alone, "base", first)?;
            verdicts.into_iter().map(Some).collect()
        }
        None => vec![None; labels.len()],
    };
    if !world.leads() {
        return Ok(());
    }
    let mut evaluation = Evaluation::default();
    let mut judged = Vec::new();
    for (image, (&label, verdict)) in labels.iter().zip(after).enumerate() {
        let Some(verdict) = verdict else { continue };
        evaluation.add(label, &verdict);
        judged.push(Judged {
            path: images.path(image),
            label,
            verdict,
            before: before[image].flatten(),
        });
    }
    let report = Report {
        base: BaseReport::new(base.identity()?),
        figures: evaluation.figures(|index| classes.name(index)),
        against: kind.map(|kind| Against::new(kind, &judged, trained.as_deref(), classes)),
        images: judged.iter().map(|one| one.shown(classes)).collect(),
        skipped: skipped.iter().map(Bad::from).collect(),
    };
    if let Some(path) = &args.confusion {
        write_atomic(path, show::confusion(&report.figures.confusion)?.as_bytes())?;
    }
    if let Some(path) = &args.list_wrong {
        write_atomic(path, show::wrong(&report.images)?.as_bytes())?;
    }
    let format = if args.json { Format::Json } else { args.format };
    super::print(&match format {
        Format::Json => json(&report),
        Format::Csv => show::csv(&report.figures)?,
        Format::Table => show::table(&report),
    })
}

/// What the base with `adapter` says of every picture; with `first`, of those whose class is among the first so many, which
/// are then all that it chooses from. A rank that is led hears nothing.
fn verdicts(
    prefix: &mut Prefix,
    images: &std::sync::Arc<ImageStore>,
    labels: &[usize],
    adapter: &Adapter,
    label: &'static str,
    first: Option<usize>,
) -> Result<Vec<Option<Verdict>>> {
    let mut progress = Progress::new(label, "images", images.len() as u64);
    let mut verdicts = Vec::new();
    // While this rank answers its share, which it hears first, the others are as far.
    let ranks = prefix.world().size();
    predict(prefix, images, adapter, |image, logits| {
        let done = (verdicts.len() + 1) * ranks;
        progress.set(done.min(images.len()) as u64, "");
        let logits = &logits[..first.unwrap_or(logits.len())];
        let known = labels[image] < logits.len();
        verdicts.push(known.then(|| Verdict::new(logits, labels[image])));
        Ok(())
    })?;
    progress.finish("");
    Ok(verdicts)
}
