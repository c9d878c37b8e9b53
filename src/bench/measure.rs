//! How a time is measured, and on what numbers.

use std::time::Instant;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::random::Stream;
use crate::tensor::Tensor;

/// Least repetitions of a measurement.
const RUNS: usize = 5;
/// Seconds that a measurement is repeated for where it is short.
const BUDGET: f64 = 1.0;

/// The median time of `work`, after one run that is not counted.
pub(super) fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < RUNS || (start.elapsed().as_secs_f64() < BUDGET && times.len() < 1000) {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(middle(times))
}

/// The median time of one `work` among several that a GPU is handed together: alone it would mostly wait.
pub(super) fn each(gpu: &Gpu, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let repeats = if gpu.is_software() { 1 } else { 10 };
    let all = median(|| {
        for _ in 0..repeats {
            work()?;
        }
        gpu.wait()
    })?;
    Ok(all / f64::from(repeats))
}

/// The median; NaN of nothing.
pub(super) fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(super) fn noise(gpu: &Gpu, name: &str, shape: &[usize]) -> Result<Tensor> {
    let stream = Stream::new(0, name);
    Tensor::from_fn(gpu, shape, |first, out| stream.fill_normal(first, 1.0, out))
}
