//! Training: a frozen base, a tracked adapter, one loop.

mod frozen;
mod rows;
mod run;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use frozen::FrozenLogits;
pub use rows::Room;
pub use run::{Run, StepRecord};

use crate::data::ImageStore;
use crate::gpu::Readback;
use crate::nn::Lora;
use crate::ops::{self, Targets};
use crate::optim::Adam;
use crate::random::Stream;
use crate::{Error, Result, Tape, Tensor, Var};

/// Steps whose loss may still be on its way to the host.
const IN_FLIGHT: usize = 2;

/// What the loop needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Passes over the data.
    pub epochs: usize,
    /// Images a step; an epoch's last step takes the rest.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub lr: f64,
    /// Seed of the order of the images.
    pub seed: u64,
}

impl Plan {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("--epochs", self.epochs), ("--batch-size", self.batch_size)] {
            if value == 0 {
                return Err(Error::Usage(format!("{name} must be at least 1")));
            }
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return Err(Error::Usage(format!(
                "--lr must be a positive number, found {}",
                self.lr
            )));
        }
        Ok(())
    }

    /// The images of every step. Epoch `e` (from 0) is cut from [`Stream::permutation`] of the stream `shuffle <e>`;
    /// a step's images are sorted, since their order means nothing and steps of the same ones can share their data.
    pub fn order(&self, images: usize) -> Vec<Vec<usize>> {
        (0..self.epochs)
            .flat_map(|epoch| {
                let order = Stream::new(self.seed, &format!("shuffle {epoch}")).permutation(images);
                let batches = order.chunks(self.batch_size).map(|images| {
                    let mut images = images.to_vec();
                    images.sort_unstable();
                    images
                });
                batches.collect::<Vec<_>>()
            })
            .collect()
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size)
    }
}

/// How training ended. The adapter is the last one known to be good, whatever happened.
pub struct Trained {
    /// The adapter.
    pub lora: Lora,
    /// The loss of every finished step.
    pub losses: Vec<f32>,
    /// [`Error::NonFinite`] or [`Error::Interrupted`] where it did not run to its end.
    pub end: Result<()>,
}

/// Trains `lora` on the labelled images with Adam on cross-entropy. `report` hears of every step in
/// order; `stop` ends the run after the current step.
///
/// # Errors
/// What the device or an image file reported. A loss that is not finite and a stop are not errors here:
/// see [`Trained::end`].
pub fn train(
    base: &mut FrozenLogits,
    images: &Arc<ImageStore>,
    labels: &[u32],
    mut lora: Lora,
    plan: Plan,
    stop: &AtomicBool,
    mut report: impl FnMut(StepRecord) -> Result<()>,
) -> Result<Trained> {
    plan.check()?;
    let start = Instant::now();
    let mut adam = Adam::new(plan.lr);
    let mut losses = Vec::new();
    // Losses on their way, each with the adapter that it was computed with.
    let mut pending: VecDeque<(Readback, Lora)> = VecDeque::new();
    let mut end = Ok(());
    let steps_per_epoch = plan.steps_per_epoch(images.len());
    // Waits for the oldest loss; what ends the run, if anything.
    let mut settle = |loss: Readback| -> Result<Option<Error>> {
        let loss = loss.wait()?[0];
        let step = losses.len() as u64 + 1;
        let lr = plan.lr;
        if !loss.is_finite() {
            return Ok(Some(Error::NonFinite { step, loss, lr }));
        }
        losses.push(loss);
        let epoch = (losses.len() - 1) / steps_per_epoch + 1;
        let seconds = start.elapsed().as_secs_f64();
        Ok(report(StepRecord {
            step,
            epoch,
            loss,
            lr,
            seconds,
        })
        .err())
    };
    // The adapter of the last finite loss: an update after it may have gone to NaN.
    let mut good = lora.clone();
    for input in base.inputs(images, plan.order(images.len())) {
        let input = input?;
        if stop.load(Ordering::Relaxed) {
            end = Err(Error::Interrupted { step: adam.steps });
            break;
        }
        let labels: Vec<u32> = input.indices.iter().map(|&i| labels[i]).collect();
        let (x, base_logits) = (Var::frozen(&input.pixels), Var::frozen(&input.logits));

        let mut tape = Tape::new();
        let (a, b) = (tape.leaf(&lora.a), tape.leaf(&lora.b));
        let branch = lora.forward(&mut tape, &x, &a, &b)?;
        let logits = ops::add(&mut tape, &base_logits, &branch)?;
        let loss = ops::cross_entropy(&mut tape, &logits, Targets::Classes(&labels))?;
        let reading = loss.tensor.read()?;
        let gradients = tape.backward(&loss)?;
        let used = lora.clone();
        let mut parameters = [lora.a, lora.b];
        adam.step(
            &mut parameters,
            &[gradients.of(&a)?.clone(), gradients.of(&b)?.clone()],
        )?;
        [lora.a, lora.b] = parameters;

        pending.push_back((reading, used));
        if pending.len() > IN_FLIGHT
            && let Some((oldest, used)) = pending.pop_front()
        {
            if let Some(error) = settle(oldest)? {
                end = Err(error);
                break;
            }
            good = used;
        }
    }
    if !matches!(end, Err(Error::NonFinite { .. })) {
        for (oldest, used) in pending {
            if let Some(error) = settle(oldest)? {
                end = Err(error);
                break;
            }
            good = used;
        }
    }
    // The last update has no loss behind it: it counts where its numbers are finite.
    if !matches!(end, Err(Error::NonFinite { .. })) && finite(&lora.a)? && finite(&lora.b)? {
        good = lora;
    }
    Ok(Trained {
        lora: good,
        losses,
        end,
    })
}

fn finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_vec()?.iter().all(|v| v.is_finite()))
}

/// The logits of an adapted network: the base's, given, and the branch's on top.
///
/// # Errors
/// What the device reported.
pub fn adapted_logits(lora: &Lora, images: &Tensor, base_logits: &Tensor) -> Result<Tensor> {
    let mut tape = Tape::new();
    let (a, b) = (Var::frozen(&lora.a), Var::frozen(&lora.b));
    let branch = lora.forward(&mut tape, &Var::frozen(images), &a, &b)?;
    Ok(ops::add(&mut tape, &Var::frozen(base_logits), &branch)?.tensor)
}
