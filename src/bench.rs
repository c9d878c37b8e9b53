//! What this device does in how long: peaks first, then ops, the forward pass, a training step, the tutorial's
//! whole job. Medians of repeated runs on random data. `goldfish bench` prints it.

mod lesson;
mod measure;
mod ops;
mod peak;
pub mod profile;

use std::path::Path;
use std::time::Instant;

pub use lesson::loading;
use lesson::{Lesson, store};
use measure::median;
pub use ops::{OpTime, ops};
pub(crate) use peak::kernels;
pub use peak::{Peak, peak};
use serde::Serialize;

use crate::error::Result;
use crate::gpu::{Compiled, Gpu};
use crate::nn::lora::PIXELS;
use crate::nn::{Arch, Loading, Source, Vgg};
use crate::random::Stream;

/// One forward pass of the base.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ForwardTime {
    /// Images at once.
    pub batch: usize,
    /// Median seconds, from pixels on the host to logits on the host.
    pub seconds: f64,
}

/// One training step of the pixels branch, rank 10.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepTime {
    /// Images in the step.
    pub batch: usize,
    /// Whether the base's answers were kept.
    pub cached: bool,
    /// Median seconds from one step's loss to the next one's.
    pub seconds: f64,
}

/// The tutorial's job by its parts, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct JobTime {
    /// Making or loading the weights.
    pub load: f64,
    /// Five images through the base.
    pub frozen: f64,
    /// Twenty steps.
    pub train: f64,
    /// The kernels compiled meanwhile, mostly beside the loading; the driver's cache decides what that takes.
    pub compiled: Compiled,
}

/// Measures the base's forward pass at each batch size.
///
/// # Errors
/// What the device reported.
pub fn forward(base: &Vgg, side: usize, batches: &[usize]) -> Result<Vec<ForwardTime>> {
    let times = batches.iter().map(|&batch| {
        let pixels = Stream::new(0, "pixels").normals(batch * 3 * side * side, 1.0);
        let image = 3 * side * side;
        let seconds = median(|| {
            // What does not fit the device at once goes in parts, as it does in training.
            pixels
                .chunks(base.batch(side) * image)
                .try_for_each(|part| base.logits(part, side).map(drop))
        })?;
        Ok(ForwardTime { batch, seconds })
    });
    times.collect()
}

/// Measures a training step on the given images, cached and not.
///
/// # Errors
/// What the device or an image file reported.
pub fn step(base: &Vgg, paths: &[std::path::PathBuf], side: usize) -> Result<Vec<StepTime>> {
    let images = store(paths, side)?;
    let mut times = Vec::new();
    for (cached, epochs) in [(true, 200), (false, 6)] {
        let mut lesson = Lesson::new(base, &images, &[PIXELS.into()], cached)?;
        // The first run warms the pipelines up.
        lesson.train(2)?;
        let seconds = lesson.train(epochs)?.each;
        times.push(StepTime {
            batch: images.len(),
            cached,
            seconds,
        });
    }
    Ok(times)
}

/// Does the tutorial's job once: weights, five images through the base, twenty steps.
///
/// # Errors
/// What the device or an image file reported.
pub fn job(
    gpu: &Gpu,
    arch: Arch,
    source: &Source,
    how: &Loading,
    paths: &[std::path::PathBuf],
    side: usize,
) -> Result<JobTime> {
    let before = gpu.compiled();
    let start = Instant::now();
    let base = Vgg::load(gpu, arch, source, how, |_| Ok(()))?;
    let load = start.elapsed().as_secs_f64();
    let images = store(paths, side)?;
    let mut lesson = Lesson::new(&base, &images, &[PIXELS.into()], true)?;
    Ok(JobTime {
        load,
        frozen: lesson.filled,
        train: lesson.train(20)?.all,
        compiled: since(gpu.compiled(), before),
    })
}

fn since(now: Compiled, before: Compiled) -> Compiled {
    Compiled {
        kernels: now.kernels - before.kernels,
        seconds: now.seconds - before.seconds,
    }
}

/// The five illustrations' paths below `folder`, for the step and the job.
///
/// # Errors
/// As [`crate::data::Dataset::open`].
pub fn illustrations(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let dataset = crate::data::Dataset::open(folder, &crate::data::Labels::ImageNet)?;
    Ok(dataset.items.into_iter().map(|item| item.path).collect())
}
