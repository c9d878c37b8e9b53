//! What a run leaves on the disk beside its numbers, and how long its page takes.

use std::time::Instant;

use goldfish::data::{Classes, Item};
use goldfish::nn::Adapter;
use goldfish::nn::lora::PIXELS;
use goldfish::train::Plan;
use rayon::prelude::*;

use crate::cli::base::Base;
use crate::cli::report::{PICTURES, POINTS, thumbnail};
use crate::cli::train::verdicts;

/// Bytes of a step in metrics.jsonl (60), metrics.csv (32) and the events (2 of 48).
const STEP: u64 = 188;
/// Of an epoch: 125, 60 and 48, and in timing.jsonl 85.
const EPOCH: u64 = 318;
/// More of one that is validated: 110, 60 and 3 of 48.
const VALIDATED: u64 = 314;
/// Of an image in state/images.tsv, without its name.
const IMAGE: u64 = 96;
/// Of settings, of headers, and of a page without curves and pictures; and more where there is a validation.
const REST: u64 = 19_000;
const FIGURES: u64 = 7_000;
/// In the page's curves, of a step and of an epoch; more of one that is validated.
const POINT: [u64; 3] = [200, 100, 300];
/// Of an image that is validated, in validation.jsonl and beside its picture in the page; of each answer about it; of each of
/// the first five classes in an answer.
const VERDICT: u64 = 100;
const CARD: u64 = 700;
const ANSWER: [u64; 2] = [60, 450];
const NAMED: u64 = 70;
/// In it, of a column of the branch from the pixels, and of as many classes of it, at 224 pixels.
const COLUMN: u64 = 62_000;

/// Bytes of a run's small files beside its page, of so many images to train and to validate with.
pub fn beside(
    plan: &Plan,
    [train, validation]: [usize; 2],
    classes: &Classes,
    adapter: &Adapter,
) -> u64 {
    let steps = plan.steps(train);
    let epochs = steps.div_ceil(plan.steps_per_epoch(train).max(1) as u64);
    let [step, mut point, more] = POINT;
    let (mut epoch, mut rest) = (EPOCH, REST);
    if validation > 0 {
        point += more;
        epoch += VALIDATED;
        rest += FIGURES;
    }
    // Neighbours are drawn as one where there are many.
    let drawn = |points: u64| points / points.div_ceil(POINTS as u64).max(1);
    let answer = ANSWER[0] + NAMED * classes.len().min(5) as u64;
    let verdict = VERDICT + verdicts(adapter) as u64 * answer;
    // The names stand in each adapter's file, in its list of classes and in run.toml.
    let own = match classes.is_imagenet() {
        true => 0,
        false => classes
            .names()
            .iter()
            .map(|name| name.len() as u64 + 4)
            .sum(),
    };
    let modules = 800 * adapter.loras.len() as u64;
    steps * STEP
        + epochs * epoch
        + (train + validation) as u64 * IMAGE
        + validation as u64 * verdict
        + 6 * own
        + modules
        + drawn(steps) * step
        + drawn(epochs) * point
        + rest
}

/// A run's page.
pub struct Page {
    /// Bytes of its pictures.
    pub bytes: u64,
    /// Seconds that they take.
    pub seconds: f64,
}

impl Page {
    /// Of a run that validates with `all` images, of which `sample` are some.
    pub fn measure(
        adapter: &Adapter,
        sample: &[&Item],
        all: usize,
        base: &Base,
        exif: bool,
    ) -> Self {
        let begun = Instant::now();
        let side = base.transform.size;
        let pictures = sample.par_iter();
        let pictures = pictures.filter_map(|item| thumbnail(&item.path, side, exif));
        let card = CARD + verdicts(adapter) as u64 * ANSWER[1];
        let bytes: u64 = pictures.map(|picture| picture.len() as u64 + card).sum();
        let share = all.min(PICTURES) as f64 / sample.len().max(1) as f64;
        let columns = match adapter.get(PIXELS) {
            Some(lora) => lora.rank().min(16) as u64 + (all as u64).min(8),
            None => 0,
        };
        let column = COLUMN * (side * side) as u64 / (224 * 224);
        Page {
            bytes: (bytes as f64 * share) as u64 + columns * column,
            seconds: begun.elapsed().as_secs_f64() * share,
        }
    }
}
