//! What decides an adapter, as flags and as the library's settings.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::Result;
use goldfish::data::Variants;
use goldfish::nn::lora::{Init, PIXELS};
use goldfish::nn::{Arch, Choice, HeadInit};
use goldfish::train::{Plan, Room};
use serde::Serialize;
use toml::Table;

use super::augment::AugmentArgs;
use super::recipe::{RecipeArgs, STEPS};
use super::shared::OfSweep;
use crate::cli::base::BaseArgs;
use crate::cli::store::StoreArgs;
use crate::cli::values::{BatchSize, Every, Fold, MetricArg};

/// What is asked of a training run.
#[derive(Clone)]
pub struct Request<'a> {
    pub data: &'a Path,
    pub output: &'a Path,
    pub overwrite: bool,
    /// Goes on with the run that is in the output folder.
    pub resume: bool,
    /// The sweep that it is one of.
    pub sweep: Option<OfSweep<'a>>,
    pub base: &'a BaseArgs,
    pub settings: &'a TrainArgs,
    pub device: Option<String>,
    /// Whether somebody looks at the training images as they are once the run is over: steps alone never do where those have
    /// variants.
    pub looks_again: bool,
}

/// The most parts of the images that are trained without in turn.
const MOST_PARTS: usize = 10_000;

/// So many parts of the images.
pub fn parts(text: &str) -> Result<usize, String> {
    let parts = text.parse().ok();
    let parts = parts.filter(|parts| (2..=MOST_PARTS).contains(parts));
    parts.ok_or_else(|| format!("K must be a number from 2 to {MOST_PARTS}"))
}

/// What decides the adapter, given base and data.
#[derive(ClapArgs, Clone)]
#[command(next_help_heading = ADAPTED)]
pub struct TrainArgs {
    /// What the folders are named by: ImageNet's categories where all are and classes of your own where none is (auto), or
    /// the one or the other whatever their names
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) classes: ClassesArg,
    /// Add your own classes behind ImageNet's 1000, whose part of the last layer stays as it is
    #[arg(long)]
    pub(super) keep_imagenet: bool,
    /// How the new last layer of your own classes starts: as PyTorch's Linear (linear) or all zero [default: linear]
    #[arg(long, value_enum)]
    pub(super) head: Option<HeadArg>,
    /// What to adapt, in any mix: head (with classes of your own alone: the new last layer, which is always trained), pixels
    /// (the branch from the image straight to the logits), classifier, features, all (every layer), or torchvision's names
    /// with * and ?, as in features.28,classifier.* [default: pixels; with classes of your own
    /// classifier.0,classifier.3 beside the head, and on a base without a classifier the head alone]
    #[arg(short, long, value_name = "NAME,...", value_delimiter = ',')]
    pub(super) targets: Vec<String>,
    /// Rank of the adapter [default: 10; with classes of your own 8]
    #[arg(long)]
    pub(super) rank: Option<usize>,
    /// Scale of the adapter times its rank [default: the rank, a scale of 1]
    #[arg(long, allow_negative_numbers = true)]
    pub(super) alpha: Option<f64>,
    /// Other ranks for some modules
    #[arg(long, value_name = "NAME=R,...", value_delimiter = ',', value_parser = named::<usize>)]
    pub(super) rank_pattern: Vec<(String, usize)>,
    /// Other alphas for some modules
    #[arg(long, value_name = "NAME=A,...", value_delimiter = ',', value_parser = named::<f64>)]
    pub(super) alpha_pattern: Vec<(String, f64)>,
    /// Divide alpha by the root of the rank (rsLoRA)
    #[arg(long)]
    pub(super) rslora: bool,
    /// Share of what goes into each A that is dropped in training
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(super) dropout: f64,
    /// How A starts: tutorial (standard normal), kaiming (PEFT's default) or gaussian (deviation 1/rank) [default:
    /// tutorial for pixels, kaiming for layers]
    #[arg(long, value_enum)]
    pub(super) init: Option<InitArg>,
    /// Passes over the images
    #[arg(short, long, default_value_t = 20, help_heading = STEPS)]
    pub(super) epochs: usize,
    /// Images at once, a step's where none are gathered; auto: the largest power of two whose step fits the device's memory
    #[arg(short, long, value_name = "IMAGES|auto", default_value = "5", help_heading = STEPS)]
    pub(in crate::cli) batch_size: BatchSize,
    /// Images of a part of a step, whose gradients are added in the order of the images: several ranks (mpirun) share a step
    /// by its parts, and however many they are the adapter is the same [default: a batch]
    #[arg(long, value_name = "IMAGES", help_heading = STEPS)]
    pub(super) micro_batch: Option<usize>,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3, allow_negative_numbers = true, help_heading = STEPS)]
    pub(super) lr: f64,
    /// Seed of the adapter's start, of the order of the images, of their augmentation and of dropout
    #[arg(long, default_value_t = 0, help_heading = STEPS)]
    pub(in crate::cli) seed: u64,
    /// Start from the adapter in this folder, or of this file; its modules, ranks and alphas are kept
    #[arg(long, value_name = "DIR", conflicts_with_all = ["classes", "keep_imagenet", "head", "targets", "rank", "alpha", "rank_pattern", "alpha_pattern", "rslora", "init"])]
    pub(in crate::cli) init_adapter: Option<PathBuf>,
    /// Keep what the layers below the lowest adapted one make of each image (auto), or compute it in every epoch (off);
    /// the adapter is the same
    #[arg(long, value_enum, default_value = "auto", help_heading = ONCE)]
    pub(super) cache: Cache,
    /// Memory for what is kept, in MiB: on the device, as much again on the host, then a file beside the run
    #[arg(long, value_name = "MIB", default_value_t = CACHE_MEMORY, help_heading = ONCE)]
    pub(super) cache_memory: u64,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Keep less of each step for its gradient and compute it once more instead
    #[arg(long, help_heading = ONCE)]
    pub(super) checkpoint_activations: bool,
    /// Folder with images of the same classes that are not trained on: each epoch ends with how good the adapter is on them
    #[arg(long, value_name = "DIR", conflicts_with = "val_split", help_heading = VALIDATION)]
    pub(in crate::cli) val: Option<PathBuf>,
    /// Share of each class's images that is not trained on, drawn by the seed: 0.2 is every fifth
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = VALIDATION)]
    pub(in crate::cli) val_split: Option<f64>,
    /// Part I of K of the images is not trained on, and the other parts are: 2/5 is the second of five. --kfold
    /// does all
    #[arg(long, value_name = "I/K", conflicts_with_all = ["val", "val_split"], help_heading = VALIDATION)]
    pub(in crate::cli) fold: Option<Fold>,
    /// What makes one epoch better than another: the best is kept in RUN/best
    #[arg(long, value_enum, default_value = "loss", help_heading = VALIDATION)]
    pub(super) metric: MetricArg,
    /// End after so many epochs in a row that were no better
    #[arg(long, value_name = "PATIENCE", help_heading = VALIDATION)]
    pub(super) early_stop: Option<usize>,
    /// Put the run down every so many epochs (10) or minutes (5m), so that --resume goes on from there whatever happens
    #[arg(long, value_name = "EPOCHS|Nm", default_value = "5m", help_heading = KEEPING)]
    pub(super) save_every: Every,
    /// States to go on from that are kept, the newest ones
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = KEEPING)]
    pub(super) keep: usize,
    #[command(flatten)]
    pub(super) recipe: RecipeArgs,
    #[command(flatten)]
    pub(super) augment: AugmentArgs,
    /// All of the above and the base's, as run.toml has them.
    #[arg(skip)]
    pub(in crate::cli) table: Table,
}

const ADAPTED: &str = "What is adapted";
/// MiB that are kept of the frozen layers on the device unless somebody says otherwise.
pub(super) const CACHE_MEMORY: u64 = 1024;
/// What is computed once and kept in memory.
pub(super) const ONCE: &str = "What is computed once";
const VALIDATION: &str = "How good it is";
const KEEPING: &str = "What is kept";

impl TrainArgs {
    /// Whether some images are not trained on.
    pub(in crate::cli) fn validates(&self) -> bool {
        self.val.is_some() || self.val_split.is_some() || self.fold.is_some()
    }

    /// States that are kept at the end of a run of so many seconds.
    pub(in crate::cli) fn states(&self, seconds: f64) -> usize {
        let put_down = match self.save_every {
            Every::Epochs(every) => self.epochs.div_ceil(every),
            Every::Time(time) => (seconds / time.as_secs_f64()) as usize + 1,
        };
        put_down.min(self.keep)
    }

    pub(in crate::cli) fn plan(&self) -> Plan {
        Plan {
            epochs: self.epochs,
            batch_size: match self.batch_size {
                BatchSize::Of(images) => images,
                // Until the images are counted.
                BatchSize::Auto => 1,
            },
            micro_batch: self.micro_batch,
            lr: self.lr,
            recipe: self.recipe.recipe(),
            seed: self.seed,
            dropout: self.dropout,
            checkpoint: self.checkpoint_activations,
            metric: self.metric.into(),
            patience: self.early_stop,
        }
    }

    /// How the pictures that are trained on are augmented, where they are.
    pub(in crate::cli) fn variants(&self, plan: &Plan) -> Result<Option<Variants>> {
        self.augment.variants(plan)
    }

    /// Where what the frozen layers make is kept; `folder` is for a file of what does not fit, and so many ranks share the memory.
    pub(in crate::cli) fn room(&self, folder: &Path, ranks: usize) -> Option<Room> {
        (self.cache == Cache::Auto).then(|| Room {
            bytes: self.cache_memory.saturating_mul(1 << 20) / ranks as u64,
            folder: folder.to_path_buf(),
        })
    }

    /// What is adapted for the classes of `arch`, with a new head or without one.
    pub(super) fn choice(&self, head: bool, arch: Arch) -> Choice {
        let classes = arch.classes;
        let (targets, rank): (&[&str], usize) = match (head, arch.hidden) {
            (true, 0) => (&["head"], 8),
            (true, _) => (&["classifier.0", "classifier.3"], 8),
            (false, _) => (&[PIXELS], 10),
        };
        Choice {
            targets: match self.targets.is_empty() {
                true => targets.iter().map(|name| name.to_string()).collect(),
                false => self.targets.clone(),
            },
            head,
            rank: self.rank.unwrap_or(rank),
            alpha: self.alpha,
            ranks: match self.rank {
                // A branch to fewer classes than the rank that nobody asked for can have has less.
                None if classes < rank => {
                    let pixels = (PIXELS.to_string(), classes);
                    std::iter::once(pixels)
                        .chain(self.rank_pattern.clone())
                        .collect()
                }
                _ => self.rank_pattern.clone(),
            },
            alphas: self.alpha_pattern.clone(),
        }
    }

    /// How the A of a module starts.
    pub(super) fn init(&self, module: &str) -> Init {
        match (self.init, module) {
            (Some(init), _) => init.into(),
            (None, PIXELS) => Init::Tutorial,
            (None, _) => Init::Kaiming,
        }
    }
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
pub(super) enum InitArg {
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
pub enum ClassesArg {
    Auto,
    Imagenet,
    Own,
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HeadArg {
    Linear,
    Zero,
}

impl From<HeadArg> for HeadInit {
    fn from(init: HeadArg) -> Self {
        match init {
            HeadArg::Linear => HeadInit::Linear,
            HeadArg::Zero => HeadInit::Zero,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cache {
    Auto,
    Off,
}
