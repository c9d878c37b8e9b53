//! Training: a frozen base, a tracked adapter, one loop.

mod frozen;
pub(crate) mod normalize;
mod rows;
mod run;
mod step;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use frozen::Prefix;
pub use rows::Room;
pub use run::{Run, StepRecord};

use crate::autograd::{Tape, Var};
use crate::data::ImageStore;
use crate::error::{Error, Result};
use crate::gpu::Readback;
use crate::nn::Adapter;
use crate::optim::Adam;
use crate::random::Stream;
use step::{Given, Network, Step};

/// Steps whose loss may still be on its way to the host. A software device works while it is handed its work: there is
/// nothing to overlap.
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
    /// Seed of the order of the images and of dropout.
    pub seed: u64,
    /// Share of what goes into each A that is dropped in training.
    pub dropout: f64,
    /// Keeps less for the gradient and computes it once more instead.
    pub checkpoint: bool,
}

impl Default for Plan {
    /// The tutorial's.
    fn default() -> Self {
        Plan {
            epochs: 20,
            batch_size: 5,
            lr: 1e-3,
            seed: 0,
            dropout: 0.0,
            checkpoint: false,
        }
    }
}

impl Plan {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if value == 0 {
                return Err(Error::setting(name, "must be at least 1"));
            }
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return Err(Error::setting(
                "lr",
                format!("must be a positive number, found {}", self.lr),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::setting(
                "dropout",
                format!("must lie between 0 and 1, found {}", self.dropout),
            ));
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
#[derive(Debug)]
pub struct Trained {
    /// The adapter.
    pub adapter: Adapter,
    /// The loss of every finished step.
    pub losses: Vec<f32>,
    /// The most bytes that a step kept of an image for its gradient.
    pub kept: u64,
    /// [`Error::NonFinite`] or [`Error::Interrupted`] where it did not run to its end.
    pub end: Result<()>,
}

/// Trains `adapter` on the labelled images with Adam on cross-entropy. `report` hears of every step in
/// order; `stop` ends the run after the current step.
///
/// # Errors
/// What the device or an image file reported, and [`Error::Usage`] where `adapter` has numbers that are not finite. What
/// diverges later and a stop are not errors here: see [`Trained::end`].
pub fn train(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    labels: &[u32],
    mut adapter: Adapter,
    plan: Plan,
    stop: &AtomicBool,
    mut report: impl FnMut(StepRecord) -> Result<()>,
) -> Result<Trained> {
    plan.check()?;
    if !finite(&adapter)? {
        return Err(Error::Usage(
            "the adapter to start from has numbers that are not finite: start from another one"
                .into(),
        ));
    }
    let start = Instant::now();
    let mut adam = Adam::new(plan.lr);
    let mut losses = Vec::new();
    let mut pending: VecDeque<Pending> = VecDeque::new();
    let mut end = Ok(());
    let steps_per_epoch = plan.steps_per_epoch(images.len());
    // Waits for the oldest step; what ends the run, if anything.
    let mut settle = |losses: &mut Vec<f32>, oldest: Pending| -> Result<Option<Error>> {
        let parts = oldest.losses.into_iter().map(Readback::wait);
        let loss = parts.sum::<Result<Loss>>()?.0;
        let step = losses.len() as u64 + 1;
        let lr = plan.lr;
        if let Some(error) = overflowed(oldest.lost, losses, lr)? {
            return Ok(Some(error));
        }
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
    let network = Network::after(prefix, images.transform().size, plan.checkpoint);
    let mut kept = 0;
    let in_flight = if prefix.base().gpu().is_software() {
        0
    } else {
        IN_FLIGHT
    };
    // The adapter of the last finite loss: an update after it may have gone to NaN.
    let mut good = adapter.clone();
    // Whether the update that made `adapter` overflowed, on its way.
    let mut lost = None;
    for input in prefix.inputs(images, plan.order(images.len())) {
        let input = input?;
        if stop.load(Ordering::Relaxed) {
            end = Err(Error::Interrupted { step: adam.steps });
            break;
        }
        let labels: Vec<u32> = input.indices.iter().map(|&i| labels[i]).collect();
        let dropout = (plan.dropout, plan.seed, adam.steps);
        let Step {
            losses: reading,
            gradients,
            kept: bytes,
        } = network.step(&input, &labels, &adapter, dropout)?;
        kept = kept.max(bytes);
        let used = adapter.clone();
        let mut factors = adapter.factors();
        adam.step(&mut factors, &gradients)?;
        adapter = adapter.with(&factors);

        pending.push_back(Pending {
            losses: reading,
            lost: std::mem::replace(&mut lost, adam.lost()?),
            used: used.clone(),
        });
        if pending.len() > in_flight
            && let Some(oldest) = pending.pop_front()
        {
            let used = oldest.used.clone();
            if let Some(error) = settle(&mut losses, oldest)? {
                end = Err(error);
                break;
            }
            good = used;
        }
    }
    if !matches!(end, Err(Error::NonFinite { .. })) {
        for oldest in pending {
            let used = oldest.used.clone();
            if let Some(error) = settle(&mut losses, oldest)? {
                end = Err(error);
                break;
            }
            good = used;
        }
    }
    // The last update has no loss behind it: it counts where its numbers are finite.
    if !matches!(end, Err(Error::NonFinite { .. })) {
        match overflowed(lost, &losses, plan.lr)? {
            Some(error) => end = Err(error),
            None => good = adapter,
        }
    }
    Ok(Trained {
        adapter: good,
        losses,
        kept,
        end,
    })
}

/// A step that the device may still work on.
struct Pending {
    /// The parts of its loss, on their way.
    losses: Vec<Readback>,
    /// Whether the update that made `used` overflowed, on its way; `None` for the first.
    lost: Option<Readback>,
    /// The adapter that it was computed with.
    used: Adapter,
}

/// The error where an update after `losses` made numbers that are not finite.
fn overflowed(lost: Option<Readback>, losses: &[f32], lr: f64) -> Result<Option<Error>> {
    let Some(lost) = lost else {
        return Ok(None);
    };
    let raised = lost.wait()?.iter().any(|word| word.to_bits() != 0);
    Ok(raised.then(|| Error::NonFinite {
        step: losses.len() as u64,
        loss: losses.last().copied().unwrap_or(f32::NAN),
        lr,
    }))
}

/// The parts of a step's loss, added.
struct Loss(f32);

impl std::iter::Sum<Vec<f32>> for Loss {
    fn sum<I: Iterator<Item = Vec<f32>>>(parts: I) -> Self {
        Loss(parts.flatten().sum())
    }
}

fn finite(adapter: &Adapter) -> Result<bool> {
    for factor in adapter.factors() {
        if factor.to_vec()?.iter().any(|v| !v.is_finite()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The logits of every image by a base with `adapter`, which may be empty: `each` is given them in order.
///
/// # Errors
/// What the device or an image file reported, and what `each` returned.
pub fn predict(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    adapter: &Adapter,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let side = images.transform().size;
    let network = Network::after(prefix, side, false);
    let at_once = network.base.batch(side).min(network.most);
    let order: Vec<usize> = (0..images.len()).collect();
    let order = order.chunks(at_once).map(<[usize]>::to_vec).collect();
    let factors = adapter.frozen();
    for input in prefix.inputs(images, order) {
        let input = input?;
        let (features, pixels) = (
            Var::frozen(&input.features),
            input.pixels.map(|p| Var::frozen(&p)),
        );
        let product = input.product.map(|p| Var::frozen(&p));
        let x = Given {
            features: &features,
            product: product.as_ref(),
            pixels: pixels.as_ref(),
        };
        let logits = network.logits(&mut Tape::new(), x, &factors)?;
        let (classes, logits) = (logits.tensor.shape()[1], logits.tensor.to_vec()?);
        for (&image, logits) in input.indices.iter().zip(logits.chunks(classes)) {
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(Error::data(
                    images.path(image),
                    "its logits are not finite: the numbers of the weights or of the adapter are too large",
                ));
            }
            each(image, logits)?;
        }
    }
    Ok(())
}
