//! A training that is measured: some of a network's modules on some pictures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::measure::middle;
use crate::data::{ImageStore, Transform};
use crate::error::Result;
use crate::nn::lora::{Init, PIXELS};

use crate::nn::{Adapter, Arch, Choice, HEAD, Head, HeadInit, Loading, Vgg};
use crate::train::{Plan, Prefix, Room, Split, StepRecord, Task, train};

/// Outputs of a head: enough that none of its kernels is one for a few.
const CLASSES: usize = 10;

/// How the base of a lesson on `targets` is loaded.
///
/// # Errors
/// As [`Choice::resolve`].
pub fn loading(arch: Arch, side: usize, targets: &[String]) -> Result<Loading> {
    let modules = choice(targets).resolve(arch, side)?.into_iter();
    Ok(Loading {
        ranks: modules
            .filter(|module| module.module != PIXELS)
            .map(|module| (module.module, module.rank))
            .collect(),
        trained: true,
        headless: choice(targets).head,
        ..Loading::default()
    })
}

fn choice(targets: &[String]) -> Choice {
    Choice {
        targets: targets.to_vec(),
        head: targets.iter().any(|target| target == HEAD),
        rank: if targets == [PIXELS] { 10 } else { 4 },
        ..Choice::default()
    }
}

/// A training that is ready to run.
pub(super) struct Lesson<'a> {
    images: &'a Arc<ImageStore>,
    frozen: Prefix,
    adapter: Adapter,
    /// Seconds that the frozen layers took.
    pub(super) filled: f64,
}

/// How long a run of steps took, in seconds.
pub(super) struct Steps {
    /// All steps.
    pub(super) all: f64,
    /// The median from one step's loss to the next one's.
    pub(super) each: f64,
}

impl<'a> Lesson<'a> {
    /// On `base`, which was loaded for it, with what lies below kept where it is `cached`.
    pub(super) fn new(
        base: &Vgg,
        images: &'a Arc<ImageStore>,
        targets: &[String],
        cached: bool,
    ) -> Result<Self> {
        let (gpu, choice) = (base.gpu(), choice(targets));
        let modules = choice.resolve(base.arch(), images.transform().size)?;
        let init = |module: &str| match module == PIXELS {
            true => Init::Tutorial,
            false => Init::Kaiming,
        };
        let mut adapter = Adapter::new(gpu, &modules, false, init, 0)?;
        if choice.head {
            adapter.head = Some(Head::new(gpu, base.arch(), CLASSES, HeadInit::Linear, 0)?);
        }
        let room = cached.then(|| Room::of(1 << 30));
        let mut frozen = Prefix::new(base.clone(), &adapter, images, room);
        let start = Instant::now();
        if cached {
            frozen.fill(images, |_| Ok(()))?;
        }
        Ok(Lesson {
            images,
            frozen,
            adapter,
            filled: start.elapsed().as_secs_f64(),
        })
    }

    /// Trains for so many epochs, all images in one step; every time from the same start.
    pub(super) fn train(&mut self, epochs: usize) -> Result<Steps> {
        let plan = Plan {
            epochs,
            batch_size: self.images.len(),
            ..Plan::default()
        };
        let labels = vec![1; self.images.len()];
        let gpu = self.frozen.base().gpu().clone();
        let start = Instant::now();
        let mut ends = Vec::new();
        train(
            &mut self.frozen,
            Task {
                images: self.images,
                labels: &labels,
                split: &Split::all(self.images.len()),
                plan,
                stop: &AtomicBool::new(false),
            },
            self.adapter.clone(),
            &mut |_: StepRecord| {
                ends.push(Instant::now());
                Ok(())
            },
        )?;
        gpu.wait()?;
        let all = start.elapsed().as_secs_f64();
        let between = ends.windows(2).map(|w| (w[1] - w[0]).as_secs_f64());
        Ok(Steps {
            all,
            each: middle(between.collect()),
        })
    }
}

/// The pictures of `paths` for images of `side`.
pub(super) fn store(paths: &[PathBuf], side: usize) -> Result<Arc<ImageStore>> {
    let transform = Transform { size: side };
    Ok(ImageStore::open(paths, transform, false, 1 << 30, false, |_| Ok(()))?.0)
}
