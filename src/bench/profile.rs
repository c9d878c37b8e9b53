//! Where the time of a forward pass and of a training step goes: how long each kernel takes on the device.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::lesson::{Lesson, store};
use super::measure::median;
use crate::error::Result;
use crate::gpu::KernelTime;
use crate::nn::Vgg;
use crate::random::Stream;
use crate::tensor::Tensor;

/// Stamped repetitions.
const RUNS: usize = 5;
/// Steps whose median is taken.
const STEPS: usize = 30;
/// Seconds of steps before anything is measured.
const WARM_UP: f64 = 0.5;

/// A piece of work by its kernels.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// What was done.
    pub work: String,
    /// Median seconds of it whole, without stamps.
    pub seconds: f64,
    /// Median seconds of bringing its images to the device, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<f64>,
    /// What its kernels took on the device, the longest first.
    pub kernels: Vec<KernelTime>,
    /// The same by what they do, their sizes apart.
    pub kinds: Vec<KindTime>,
}

/// What the kernels of one kind took together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindTime {
    /// As the kernels' names begin: `winograd.product`.
    pub kind: String,
    /// Seconds.
    pub seconds: f64,
    /// Of all kernels.
    pub share: f64,
}

/// What a kernel does: its name without sizes.
fn kind(kernel: &str) -> String {
    let words = kernel.split('.');
    let words = words.take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
    // F(4x4) and F(6x6) do the same.
    let words = words.map(|word| match word {
        "winograd4" | "winograd6" => "winograd",
        word => word,
    });
    words.collect::<Vec<_>>().join(".")
}

/// The longest first.
fn kinds(kernels: &[KernelTime]) -> Vec<KindTime> {
    let mut seconds: BTreeMap<String, f64> = BTreeMap::new();
    for time in kernels {
        *seconds.entry(kind(&time.kernel)).or_default() += time.seconds;
    }
    let all: f64 = seconds.values().sum();
    let times = seconds.into_iter().map(|(kind, seconds)| KindTime {
        kind,
        seconds,
        share: seconds / all,
    });
    let mut times: Vec<KindTime> = times.collect();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    times
}

impl Profile {
    /// Seconds of all kernels together.
    pub fn on_device(&self) -> f64 {
        self.kernels.iter().map(|time| time.seconds).sum()
    }
}

/// The kernels of one of `runs` repetitions of `work`.
fn stamped(base: &Vgg, runs: usize, work: impl FnOnce() -> Result<()>) -> Result<Vec<KernelTime>> {
    base.gpu().start_stamps()?;
    work()?;
    let mut times = base.gpu().end_stamps()?;
    for time in &mut times {
        time.runs /= runs as f64;
        time.seconds /= runs as f64;
    }
    Ok(times)
}

/// The forward pass of `batch` images of `side`.
///
/// # Errors
/// What the device reported; [`crate::Error::Usage`] where it was not opened with [`crate::GpuOptions::stamps`].
pub fn forward(base: &Vgg, side: usize, batch: usize) -> Result<Profile> {
    let pixels = Stream::new(0, "pixels").normals(batch * 3 * side * side, 1.0);
    let pass = || base.logits(&pixels, side).map(drop);
    let upload = || {
        let images = Tensor::from_slice(base.gpu(), [batch, 3, side, side], &pixels)?;
        base.gpu().wait()?;
        drop(images);
        Ok(())
    };
    let kernels = stamped(base, RUNS, || (0..RUNS).try_for_each(|_| pass()))?;
    Ok(Profile {
        work: format!("forward, batch {batch}"),
        seconds: median(pass)?,
        upload: Some(median(upload)?),
        kinds: kinds(&kernels),
        kernels,
    })
}

/// A step on `targets` of `batch` images, those of `paths` over and over. What lies below is kept. `base` was loaded as
/// [`super::loading`] says.
///
/// # Errors
/// As [`forward`]; what an image file reported.
pub fn step(
    base: &Vgg,
    paths: &[PathBuf],
    side: usize,
    batch: usize,
    targets: &[String],
) -> Result<Profile> {
    let paths: Vec<PathBuf> = paths.iter().cycle().take(batch).cloned().collect();
    let images = store(&paths, side)?;
    let mut lesson = Lesson::new(base, &images, targets, true)?;
    // A device that was idle takes a while until it is as fast as it can be.
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < WARM_UP {
        lesson.train(2)?;
    }
    let seconds = lesson.train(STEPS)?.each;
    let kernels = stamped(base, RUNS, || lesson.train(RUNS).map(drop))?;
    Ok(Profile {
        work: format!("step on {}, batch {batch}", targets.join(",")),
        seconds,
        upload: None,
        kinds: kinds(&kernels),
        kernels,
    })
}

#[cfg(test)]
mod tests {
    use super::kinds;
    use crate::gpu::KernelTime;

    #[test]
    fn kernels_of_one_kind_are_added_up_whatever_their_sizes() {
        let time = |kernel: &str, seconds| KernelTime {
            kernel: kernel.into(),
            groups: 1,
            runs: 1.0,
            seconds,
        };
        let found = kinds(&[
            time("winograd.product.8x32x7", 3.0),
            time("winograd6.input.8", 1.0),
            time("winograd4.input.8", 1.0),
            time("winograd6.output.8.pool", 1.0),
            time("conv3x3.forward.64x64x16.8x8", 2.0),
            time("conv_planes.8x16x3x3", 0.0),
        ]);
        let found: Vec<(&str, f64)> = found.iter().map(|k| (&*k.kind, k.share)).collect();
        let expected = [
            ("winograd.product", 0.375),
            ("conv3x3.forward", 0.25),
            ("winograd.input", 0.25),
            ("winograd.output", 0.125),
            ("conv_planes", 0.0),
        ];
        assert_eq!(found, expected);
    }
}
