//! Everything that a training run needs, read and found sound before the run's folder is opened.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldfish::data::{Dataset, ImageStore};
use goldfish::formats::adapter;
use goldfish::nn::Adapter;
use goldfish::train::Plan;
use goldfish::{Gpu, Precision, Result};
use serde::Serialize;

use super::args::{Cache, InitArg, TrainArgs};
use crate::cli::base::{Base, BaseArgs, Kernels};
use crate::cli::{open_device, predict};

/// What is asked of a training run.
pub struct Request<'a> {
    pub data: &'a Path,
    pub output: &'a Path,
    pub overwrite: bool,
    pub base: &'a BaseArgs,
    pub settings: &'a TrainArgs,
    pub device: Option<String>,
}

/// A request whose parts are known to go together.
pub(super) struct Checked {
    pub(super) plan: Plan,
    pub(super) gpu: Gpu,
    pub(super) base: Base,
    /// The adapter to start from.
    pub(super) start: Adapter,
    pub(super) images: Arc<ImageStore>,
    pub(super) labels: Vec<u32>,
}

impl Checked {
    pub(super) fn new(request: &Request) -> Result<Self> {
        let plan = request.settings.plan();
        plan.check()?;
        let dataset = Dataset::open(request.data)?;
        predict::tell(&dataset.left_out);
        let gpu = open_device(request.device.clone(), request.base.precision)?;
        let base = request.base.resolve()?;
        let start = starting_point(&gpu, &base, request.settings)?;
        let (images, labels) = read_images(&dataset, &base, request.base)?;
        Ok(Checked {
            plan,
            gpu,
            base,
            start,
            images,
            labels,
        })
    }

    /// What `run.toml` says.
    pub(super) fn settings<'a>(&'a self, request: &'a Request) -> Settings<'a> {
        let (base, args) = (&self.base, request.settings);
        let modules = self.start.0.iter().map(|(module, lora)| ModuleSettings {
            module,
            rank: lora.rank(),
            alpha: lora.alpha,
            rslora: lora.rslora,
        });
        Settings {
            goldfish: env!("CARGO_PKG_VERSION"),
            device: &self.gpu.info().name,
            data: request.data.to_string_lossy(),
            images: self.images.len(),
            arch: base.arch.name,
            weights: base.weights.to_string(),
            image_size: base.transform.size,
            exif: request.base.exif,
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
        }
    }
}

fn starting_point(gpu: &Gpu, base: &Base, args: &TrainArgs) -> Result<Adapter> {
    let side = base.transform.size;
    if let Some(folder) = &args.init_adapter {
        return adapter::load(gpu, folder, base.arch, side);
    }
    let targets = args.choice().resolve(base.arch, side)?;
    let init = |module: &str| args.init(module);
    Adapter::new(gpu, &targets, args.rslora, init, args.seed)
}

/// Reads every image, says what was left out, and pairs the rest with their labels.
fn read_images(
    dataset: &Dataset,
    base: &Base,
    args: &BaseArgs,
) -> Result<(Arc<ImageStore>, Vec<u32>)> {
    let paths: Vec<PathBuf> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (images, skipped) = predict::open_images(&paths, base, args)?;
    let left_out: HashSet<&PathBuf> = skipped.iter().map(|s| &s.path).collect();
    let mut kept = dataset
        .items
        .iter()
        .filter(|item| !left_out.contains(&item.path));
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

/// `run.toml`: everything that is needed to do the run again.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
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
