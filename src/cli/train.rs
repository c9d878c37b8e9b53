//! `goldfish train`: from a folder of images to an adapter.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::data::{Dataset, ImageStore};
use goldfish::formats::adapter;
use goldfish::nn::lora::{Init, PIXELS};
use goldfish::nn::{Adapter, Choice, Loading};
use goldfish::train::{Plan, Prefix, Room, Run, Task, predict, train};
use goldfish::{Error, Gpu, Precision, Result};
use serde::Serialize;

use super::base::{Base, BaseArgs, Kernels};
use super::progress::Progress;

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a category, each named by torchvision's name, WordNet id or index
    data: PathBuf,
    /// Folder for the adapter, its settings and the metrics
    #[arg(short, long, value_name = "RUN", default_value = "runs/train")]
    output: PathBuf,
    /// Replace the run that is in the output folder
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

/// What decides the adapter, given base and data.
#[derive(ClapArgs, Clone)]
pub struct TrainArgs {
    /// What to adapt, in any mix: pixels (the branch from the image straight to the logits), classifier, features, all
    /// (every layer), or torchvision's names with * and ?, as in features.28,classifier.*
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "pixels"
    )]
    targets: Vec<String>,
    /// Rank of the adapter
    #[arg(long, default_value_t = 10)]
    rank: usize,
    /// Scale of the adapter times its rank [default: the rank, a scale of 1]
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Other ranks for some modules
    #[arg(long, value_name = "NAME=R,...", value_delimiter = ',', value_parser = named::<usize>)]
    rank_pattern: Vec<(String, usize)>,
    /// Other alphas for some modules
    #[arg(long, value_name = "NAME=A,...", value_delimiter = ',', value_parser = named::<f64>)]
    alpha_pattern: Vec<(String, f64)>,
    /// Divide alpha by the root of the rank (rsLoRA)
    #[arg(long)]
    rslora: bool,
    /// Share of what goes into each A that is dropped in training
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    dropout: f64,
    /// How A starts: tutorial (standard normal), kaiming (PEFT's default) or gaussian (deviation 1/rank) [default:
    /// tutorial for pixels, kaiming for layers]
    #[arg(long, value_enum)]
    init: Option<InitArg>,
    /// Passes over the images
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Images a step
    #[arg(long, default_value_t = 5)]
    batch_size: usize,
    /// Adam's learning rate
    #[arg(long, default_value_t = 1e-3, allow_negative_numbers = true)]
    lr: f64,
    /// Seed of the adapter's start, of the order of the images and of dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Start from the adapter in this folder, or of this file; its modules, ranks and alphas are kept
    #[arg(long, value_name = "DIR", conflicts_with_all = ["targets", "rank", "alpha", "rank_pattern", "alpha_pattern", "rslora", "init"])]
    init_adapter: Option<PathBuf>,
    /// Keep what the layers below the lowest adapted one make of each image (auto), or compute it in every epoch (off);
    /// the adapter is the same
    #[arg(long, value_enum, default_value = "auto")]
    cache: Cache,
    /// Memory for what is kept, in MiB: on the device, as much again on the host, then a file beside the run
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    cache_memory: u64,
    /// Keep less of each step for its gradient and compute it once more instead
    #[arg(long)]
    checkpoint_activations: bool,
}

/// `NAME=VALUE`.
fn named<T: FromStr>(text: &str) -> Result<(String, T), String> {
    let parse = || {
        let (name, value) = text.split_once('=')?;
        Some((name.to_string(), value.parse().ok()?))
    };
    parse().ok_or_else(|| format!("{text:?} is not NAME=VALUE, as in features.28=4"))
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum InitArg {
    Tutorial,
    Kaiming,
    Gaussian,
}

impl From<InitArg> for Init {
    fn from(init: InitArg) -> Self {
        match init {
            InitArg::Tutorial => Init::Tutorial,
            InitArg::Kaiming => Init::Kaiming,
            InitArg::Gaussian => Init::Gaussian,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Cache {
    Auto,
    Off,
}

/// `run.toml`: everything that is needed to do the run again.
#[derive(Serialize)]
struct Settings<'a> {
    goldfish: &'a str,
    device: &'a str,
    data: Cow<'a, str>,
    images: usize,
    arch: &'a str,
    weights: String,
    image_size: usize,
    exif: bool,
    precision: Precision,
    kernels: Kernels,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<InitArg>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_adapter: Option<Cow<'a, str>>,
    dropout: f64,
    epochs: usize,
    batch_size: usize,
    lr: f64,
    seed: u64,
    cache: Cache,
    checkpoint_activations: bool,
    targets: Vec<ModuleSettings<'a>>,
}

/// One adapted module in `run.toml`.
#[derive(Serialize)]
struct ModuleSettings<'a> {
    module: &'a str,
    rank: usize,
    alpha: f64,
    rslora: bool,
}

/// A finished job, for those who show more than its end.
pub struct Job {
    pub images: Arc<ImageStore>,
    /// The base's logits and the adapted network's, an image after another; absent with the cache off.
    pub logits: Option<[Vec<Vec<f32>>; 2]>,
    pub losses: Vec<f32>,
    pub adapter: PathBuf,
    pub bytes: u64,
    pub parameters: usize,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let job = job(
        &args.data,
        &args.output,
        args.overwrite,
        &args.base,
        &args.settings,
        device,
    )?;
    let mut text = format!("steps    {}\n", job.losses.len());
    if let [first, .., last] = &*job.losses {
        text += &format!("loss     {first:.4} -> {last:.4}\n");
    }
    text += &summary(&job);
    super::print(&text)
}

/// The lines on the adapter that every finished run ends with.
pub fn summary(job: &Job) -> String {
    format!(
        "adapter  {} ({:.2} MB, {} parameters)\n",
        job.adapter.display(),
        job.bytes as f64 / 1e6,
        job.parameters
    )
}

/// Trains an adapter and writes the run folder.
pub fn job(
    data: &Path,
    output: &Path,
    overwrite: bool,
    base_args: &BaseArgs,
    args: &TrainArgs,
    device: Option<String>,
) -> Result<Job> {
    let plan = Plan {
        epochs: args.epochs,
        batch_size: args.batch_size,
        lr: args.lr,
        seed: args.seed,
        dropout: args.dropout,
        checkpoint: args.checkpoint_activations,
    };
    plan.check()?;
    let dataset = Dataset::open(data)?;
    super::predict::tell(&dataset.left_out);
    let gpu = super::open_device(device, base_args.precision)?;
    let base = base_args.resolve()?;
    let start = starting_point(&gpu, &base, args)?;
    let (images, labels) = read_images(&dataset, &base, base_args)?;
    let modules = start.0.iter().map(|(module, lora)| ModuleSettings {
        module,
        rank: lora.rank(),
        alpha: lora.alpha,
        rslora: lora.rslora,
    });
    let settings = Settings {
        goldfish: env!("CARGO_PKG_VERSION"),
        device: &gpu.info().name,
        data: data.to_string_lossy(),
        images: images.len(),
        arch: base.arch.name,
        weights: base.weights.to_string(),
        image_size: base.transform.size,
        exif: base_args.exif,
        precision: base.precision,
        kernels: base.kernels,
        init: args.init,
        init_adapter: args
            .init_adapter
            .as_ref()
            .map(|path| path.to_string_lossy()),
        dropout: args.dropout,
        epochs: args.epochs,
        batch_size: args.batch_size,
        lr: args.lr,
        seed: args.seed,
        cache: args.cache,
        checkpoint_activations: args.checkpoint_activations,
        targets: modules.collect(),
    };
    let mut run = Run::create(output, &settings, overwrite)?;
    let stop = super::stop_on_ctrl_c();

    let how = Loading {
        ranks: start.ranks(),
        trained: true,
        ..Loading::default()
    };
    let network = base.load(&gpu, how)?;
    let room = (args.cache == Cache::Auto).then(|| Room {
        bytes: args.cache_memory << 20,
        folder: output.to_path_buf(),
    });
    let mut prefix = Prefix::new(network, &start, &images, room);
    if args.cache == Cache::Auto {
        let mut progress = Progress::new("frozen", "images", images.len() as u64);
        prefix.fill(&images, |done| {
            progress.set(done as u64, "");
            match stop.load(Ordering::Relaxed) {
                true => Err(Error::Interrupted { step: 0 }),
                false => Ok(()),
            }
        })?;
        progress.finish(&format!(", {} kept", prefix.kept()));
    }
    let steps = plan.steps_per_epoch(images.len()) * plan.epochs;
    let mut progress = Progress::new("train", "it", steps as u64);
    let trained = train(
        &mut prefix,
        Task {
            images: &images,
            labels: &labels,
            plan,
            stop,
        },
        start,
        |record| {
            progress.set(
                record.step,
                &format!("epoch {} loss {:.4}", record.epoch, record.loss),
            );
            run.log(&record)
        },
    )?;
    let (adapter, bytes) = run.finish(&trained.adapter, &base.name())?;
    if let Err(error) = trained.end {
        eprintln!("saved    {}", adapter.display());
        return Err(error);
    }
    progress.finish(
        &trained
            .losses
            .last()
            .map_or(String::new(), |l| format!(", last loss {l:.4}")),
    );
    let compiled = gpu.compiled();
    eprintln!(
        "kernels  {} compiled or found in the driver's cache in {:.2} s",
        compiled.kernels, compiled.seconds
    );
    eprintln!(
        "memory   {}",
        super::memory::taken(&gpu, &prefix, trained.kept)
    );
    let logits = match args.cache {
        Cache::Auto => Some(before_and_after(&mut prefix, &images, &trained.adapter)?),
        Cache::Off => None,
    };
    Ok(Job {
        images,
        logits,
        losses: trained.losses,
        adapter,
        bytes,
        parameters: trained.adapter.parameters(),
    })
}

fn starting_point(gpu: &Gpu, base: &Base, args: &TrainArgs) -> Result<Adapter> {
    let side = base.transform.size;
    if let Some(folder) = &args.init_adapter {
        return adapter::load(gpu, folder, base.arch, side);
    }
    let choice = Choice {
        targets: args.targets.clone(),
        rank: args.rank,
        alpha: args.alpha,
        ranks: args.rank_pattern.clone(),
        alphas: args.alpha_pattern.clone(),
    };
    let targets = choice.resolve(base.arch, side)?;
    let init = |module: &str| match (args.init, module) {
        (Some(init), _) => init.into(),
        (None, PIXELS) => Init::Tutorial,
        (None, _) => Init::Kaiming,
    };
    Adapter::new(gpu, &targets, args.rslora, init, args.seed)
}

/// Reads every image, says what was left out, and pairs the rest with their labels.
fn read_images(
    dataset: &Dataset,
    base: &Base,
    args: &BaseArgs,
) -> Result<(Arc<ImageStore>, Vec<u32>)> {
    let paths: Vec<PathBuf> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (images, skipped) = super::predict::open_images(&paths, base, args)?;
    let mut kept = dataset
        .items
        .iter()
        .filter(|item| skipped.iter().all(|s| s.path != item.path));
    let labels: Vec<u32> = kept.by_ref().map(|item| item.label).collect();
    let mut categories = labels.clone();
    categories.sort_unstable();
    categories.dedup();
    eprintln!(
        "data     {} images in {} {}; unreadable: {}; left out: {}",
        images.len(),
        categories.len(),
        if categories.len() == 1 {
            "category"
        } else {
            "categories"
        },
        skipped.len(),
        dataset.left_out.len()
    );
    Ok((images, labels))
}

fn before_and_after(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    trained: &Adapter,
) -> Result<[Vec<Vec<f32>>; 2]> {
    let mut say = |adapter: &Adapter| {
        let mut all = Vec::new();
        predict(prefix, images, adapter, |_, logits| {
            all.push(logits.to_vec());
            Ok(())
        })?;
        Ok(all)
    };
    Ok([say(&Adapter::default())?, say(trained)?])
}
