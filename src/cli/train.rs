//! `goldfish train`: from a folder of images to an adapter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::data::{Dataset, ImageStore};
use goldfish::formats::adapter;
use goldfish::nn::lora::{Init, Lora};
use goldfish::train::{FrozenLogits, Plan, Room, Run, adapted_logits, train};
use goldfish::{Error, Gpu, Result};
use serde::Serialize;

use super::base::{Base, BaseArgs};
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
    /// What to adapt: pixels, the branch from the image straight to the logits
    #[arg(long, value_enum, default_value = "pixels")]
    targets: Targets,
    /// Rank of the adapter
    #[arg(long, default_value_t = 10)]
    rank: usize,
    /// Scale of the adapter times its rank [default: the rank, a scale of 1]
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// How A starts: tutorial (standard normal), kaiming (PEFT's default) or gaussian (deviation 1/rank)
    #[arg(long, value_enum, default_value = "tutorial")]
    init: InitArg,
    /// Passes over the images
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Images a step
    #[arg(long, default_value_t = 5)]
    batch_size: usize,
    /// Adam's learning rate
    #[arg(long, default_value_t = 1e-3, allow_negative_numbers = true)]
    lr: f64,
    /// Seed of the adapter's start and of the order of the images
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Start from the adapter in this folder; its rank and alpha are kept
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rank", "alpha", "init"])]
    init_adapter: Option<PathBuf>,
    /// Keep the base's answer for each image (auto), or compute it in every epoch (off); the adapter is the same
    #[arg(long, value_enum, default_value = "auto")]
    cache: Cache,
    /// Memory for what is kept, in MiB: on the device, as much again on the host, then a file beside the run
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    cache_memory: u64,
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Targets {
    Pixels,
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum InitArg {
    Tutorial,
    Kaiming,
    Gaussian,
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
    data: &'a Path,
    images: usize,
    arch: &'a str,
    weights: String,
    image_size: usize,
    exif: bool,
    targets: Targets,
    rank: usize,
    alpha: f64,
    init: InitArg,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_adapter: Option<&'a Path>,
    epochs: usize,
    batch_size: usize,
    lr: f64,
    seed: u64,
    cache: Cache,
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
    };
    plan.check()?;
    let dataset = Dataset::open(data)?;
    let gpu = super::open_device(device)?;
    let base = base_args.resolve()?;
    let lora = starting_point(&gpu, &base, args)?;
    let (images, labels) = read_images(&dataset, &base, base_args)?;
    let settings = Settings {
        goldfish: env!("CARGO_PKG_VERSION"),
        device: &gpu.info().name,
        data,
        images: images.len(),
        arch: base.arch.name,
        weights: base.weights.to_string(),
        image_size: base.transform.size,
        exif: base_args.exif,
        targets: args.targets,
        rank: lora.rank(),
        alpha: lora.alpha,
        init: args.init,
        init_adapter: args.init_adapter.as_deref(),
        epochs: args.epochs,
        batch_size: args.batch_size,
        lr: args.lr,
        seed: args.seed,
        cache: args.cache,
    };
    let mut run = Run::create(output, &settings, overwrite)?;
    let stop = stop_on_ctrl_c();

    let base_net = base.load(&gpu)?;
    let room = (args.cache == Cache::Auto).then(|| Room {
        bytes: args.cache_memory << 20,
        folder: output.to_path_buf(),
    });
    let mut frozen = FrozenLogits::new(&base_net, &images, room);
    if args.cache == Cache::Auto {
        let mut progress = Progress::new("frozen", "images", images.len() as u64);
        frozen.fill(&images, |done| {
            progress.set(done as u64, "");
            match stop.load(Ordering::Relaxed) {
                true => Err(Error::Interrupted { step: 0 }),
                false => Ok(()),
            }
        })?;
        progress.finish(", the base's answers");
    }
    let steps = plan.steps_per_epoch(images.len()) * plan.epochs;
    let mut progress = Progress::new("train", "it", steps as u64);
    let trained = train(&mut frozen, &images, &labels, lora, plan, stop, |record| {
        progress.set(
            record.step,
            &format!("epoch {} loss {:.4}", record.epoch, record.loss),
        );
        run.log(&record)
    })?;
    let (adapter, bytes) = run.finish(&trained.lora, &base.name())?;
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
    let logits = match args.cache {
        Cache::Auto => Some(before_and_after(&mut frozen, &images, &trained.lora)?),
        Cache::Off => None,
    };
    Ok(Job {
        images,
        logits,
        losses: trained.losses,
        adapter,
        bytes,
        parameters: trained.lora.parameters(),
    })
}

fn starting_point(gpu: &Gpu, base: &Base, args: &TrainArgs) -> Result<Lora> {
    if let Some(folder) = &args.init_adapter {
        return adapter::load(gpu, folder, base.sizes());
    }
    let init = match args.init {
        InitArg::Tutorial => Init::Tutorial,
        InitArg::Kaiming => Init::Kaiming,
        InitArg::Gaussian => Init::Gaussian,
    };
    let alpha = args.alpha.unwrap_or(args.rank as f64);
    Lora::new(gpu, base.sizes(), args.rank, alpha, init, args.seed)
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
        "data     {} images in {} {}; unreadable: {}; other files: {}",
        images.len(),
        categories.len(),
        if categories.len() == 1 {
            "category"
        } else {
            "categories"
        },
        skipped.len(),
        dataset.ignored
    );
    Ok((images, labels))
}

fn before_and_after(
    frozen: &mut FrozenLogits,
    images: &Arc<ImageStore>,
    lora: &Lora,
) -> Result<[Vec<Vec<f32>>; 2]> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for batch in images.batches((0..images.len()).map(|i| vec![i]).collect()) {
        let batch = batch?;
        let base = frozen.of(&batch)?;
        let pixels = batch.to_tensor(lora.a.gpu(), images.transform())?;
        before.push(base.to_vec()?);
        after.push(adapted_logits(lora, &pixels, &base)?.to_vec()?);
    }
    Ok([before, after])
}

/// A flag that Ctrl-C (or SIGTERM) raises; the second time ends the program at once.
fn stop_on_ctrl_c() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    // Where no handler can be set, Ctrl-C ends the program as it does any other.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step (once more to stop at once)");
    });
    &STOP
}
