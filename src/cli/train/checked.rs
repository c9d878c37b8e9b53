//! Everything that a training run needs, read and found sound before the run's folder is opened.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldfish::data::{Classes, Dataset, ImageStore, Labels};
use goldfish::formats::adapter;
use goldfish::nn::{Adapter, Arch, Head, Identity};
use goldfish::train::Plan;
use goldfish::{Error, Gpu, Precision, Result};
use serde::Serialize;

use super::args::{Cache, ClassesArg, HeadArg, InitArg, TrainArgs};
use crate::cli::adopt::noted;
use crate::cli::base::{Base, BaseArgs, Kernels, Weights};
use crate::cli::{images, open_device};

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
    pub(super) identity: Identity,
    /// The adapter to start from.
    pub(super) start: Adapter,
    pub(super) images: Arc<ImageStore>,
    pub(super) labels: Vec<u32>,
    /// What the labels and the logits mean.
    pub(super) classes: Classes,
}

impl Checked {
    pub(super) fn new(request: &Request) -> Result<Self> {
        let plan = request.settings.plan();
        plan.check()?;
        let args = request.settings;
        // The folders' names are known before anything costly is done, but for those of an adapter's classes.
        let (gpu, base, mut dataset, start);
        match &args.init_adapter {
            Some(folder) => {
                gpu = open_device(request.device.clone(), request.base.precision)?;
                base = request.base.resolve()?;
                base.check(folder)?;
                let stored = adapter::load(&gpu, folder, base.arch, base.transform.size)?;
                let classes = stored.classes_on(folder, &base.classes)?;
                dataset = Dataset::open(request.data, &Labels::Of(classes))?;
                start = stored.adapter;
            }
            None => {
                base = request.base.resolve()?;
                dataset = labelled(request.data, args, &base)?;
                gpu = open_device(request.device.clone(), request.base.precision)?;
                start = fresh(&gpu, &base, args, &dataset.classes)?;
            }
        }
        start.check_trainable()?;
        images::tell(&dataset.left_out);
        let images = read_images(request.data, &mut dataset, &base, request.base)?;
        Ok(Checked {
            plan,
            gpu,
            identity: base.identity()?,
            base,
            start,
            images,
            labels: dataset.items.iter().map(|item| item.label).collect(),
            classes: dataset.classes,
        })
    }

    /// The classes that have images, by name.
    fn trained_on(&self) -> Vec<String> {
        let labels: BTreeSet<u32> = self.labels.iter().copied().collect();
        let names = labels.into_iter();
        names.map(|l| self.classes.name(l as usize)).collect()
    }

    /// What `run.toml` says.
    pub(super) fn settings<'a>(&'a self, request: &'a Request) -> Settings<'a> {
        let (base, args) = (&self.base, request.settings);
        let modules = self
            .start
            .loras
            .iter()
            .map(|(module, lora)| ModuleSettings {
                module,
                rank: lora.rank(),
                alpha: lora.alpha,
                rslora: lora.rslora,
            });
        Settings {
            goldfish: env!("CARGO_PKG_VERSION"),
            device: &self.gpu.info().name,
            data: noted(request.data, request.output),
            images: self.images.len(),
            arch: base.arch.name,
            weights: match &base.weights {
                Weights::File(path) => noted(path, request.output),
                random => random.to_string(),
            },
            image_size: base.transform.size,
            exif: request.base.exif,
            base: &self.identity,
            precision: base.precision,
            kernels: base.kernels,
            classes: (!self.classes.is_imagenet()).then(|| self.classes.names()),
            trained_on: self.trained_on(),
            head: self.start.head.as_ref().map(|head| HeadSettings {
                classes: head.outputs() - head.frozen(),
                behind: head.frozen(),
                init: args
                    .init_adapter
                    .is_none()
                    .then_some(args.head.unwrap_or(HeadArg::Linear)),
            }),
            init: args.init,
            init_adapter: args
                .init_adapter
                .as_ref()
                .map(|path| noted(path, request.output)),
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

/// The data with the classes that are asked for.
fn labelled(data: &Path, args: &TrainArgs, base: &Base) -> Result<Dataset> {
    let imagenet = base.classes.is_imagenet();
    let wrong = |problem: &str| Err(Error::setting("classes", problem));
    match (args.classes, args.keep_imagenet) {
        (_, true) if !imagenet => Err(Error::setting(
            "keep_imagenet",
            "goes with a base that has ImageNet's categories, and this one has others",
        )),
        (ClassesArg::Imagenet, true) => wrong("imagenet leaves no class to add behind ImageNet's"),
        (ClassesArg::Imagenet, _) if !imagenet => wrong(
            "imagenet goes with a base that has ImageNet's categories, and this one has others",
        ),
        (ClassesArg::Auto, true) => Dataset::open(data, &Labels::BehindImageNet),
        (ClassesArg::Own, true) => {
            let mut dataset = Dataset::open(data, &Labels::Own)?;
            let behind = dataset.put_behind_imagenet();
            behind.map_err(|e| Error::data(data, e.to_string()))?;
            Ok(dataset)
        }
        (ClassesArg::Imagenet, false) => Dataset::open(data, &Labels::ImageNet),
        (ClassesArg::Own, false) => Dataset::open(data, &Labels::Own),
        (ClassesArg::Auto, false) => Dataset::open(data, &Labels::Auto(base.classes.clone())),
    }
}

/// The adapter that a run starts with: LoRAs, and for other classes than the base's a head.
fn fresh(gpu: &Gpu, base: &Base, args: &TrainArgs, classes: &Classes) -> Result<Adapter> {
    let own = *classes != base.classes;
    let arch = Arch {
        classes: classes.len(),
        ..base.arch
    };
    if let (false, Some(_)) = (own, args.head) {
        return Err(Error::setting(
            "head",
            "says how a new last layer starts, and these classes are the base's: there is none",
        ));
    }
    let choice = args.choice(own, arch);
    let targets = choice.resolve(arch, base.transform.size)?;
    let init = |module: &str| args.init(module);
    let mut adapter = Adapter::new(gpu, &targets, args.rslora, init, args.seed)?;
    if own {
        let kept = classes.from_imagenet();
        let new = classes.len() - kept;
        let head = Head::new(
            gpu,
            base.arch,
            new,
            args.head.unwrap_or(HeadArg::Linear).into(),
            args.seed,
        )?;
        adapter.head = Some(match kept {
            0 => head,
            _ => base.with_source(|source| head.behind(base.arch, source))?,
        });
    }
    Ok(adapter)
}

/// Reads every image, says what was left out and leaves it out of the data.
fn read_images(
    folder: &Path,
    dataset: &mut Dataset,
    base: &Base,
    args: &BaseArgs,
) -> Result<Arc<ImageStore>> {
    let paths: Vec<PathBuf> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (images, skipped) = images::open_images(&paths, base, args)?;
    let left_out: HashSet<&Path> = skipped.iter().map(|s| s.path.as_path()).collect();
    dataset.retain(folder, |path| !left_out.contains(path))?;
    let classes = &dataset.classes;
    let (found, kind) = (
        dataset.counts().len(),
        match classes.is_imagenet() {
            true => ["category", "categories"],
            false => ["class", "classes"],
        },
    );
    eprintln!(
        "data     {} images in {found} {}{}; unreadable: {}; left out: {}",
        images.len(),
        kind[usize::from(found != 1)],
        match classes.from_imagenet() {
            0 => " of your own",
            _ if classes.is_imagenet() => "",
            _ => ", your own behind ImageNet's",
        },
        skipped.len(),
        dataset.left_out.len()
    );
    Ok(images)
}

/// `run.toml`: everything that is needed to do the run again.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    goldfish: &'a str,
    device: &'a str,
    data: String,
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
    init_adapter: Option<String>,
    dropout: f64,
    epochs: usize,
    batch_size: usize,
    lr: f64,
    seed: u64,
    cache: Cache,
    checkpoint_activations: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<&'a [String]>,
    /// Those that have images.
    trained_on: Vec<String>,
    base: &'a Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<HeadSettings>,
    targets: Vec<ModuleSettings<'a>>,
}

/// The new last layer in `run.toml`.
#[derive(Serialize)]
struct HeadSettings {
    /// Outputs that are trained.
    classes: usize,
    /// Outputs of the base's own in front of them.
    behind: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<HeadArg>,
}

/// One adapted module in `run.toml`.
#[derive(Serialize)]
struct ModuleSettings<'a> {
    module: &'a str,
    rank: usize,
    alpha: f64,
    rslora: bool,
}
