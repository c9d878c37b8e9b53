//! Training: a frozen base, a tracked adapter, one loop.

mod cache;
mod embed;
mod frozen;
pub mod history;
pub mod judged;
mod kept;
mod ledger;
mod look;
pub(crate) mod normalize;
mod plan;
mod run;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use embed::embed;
pub use frozen::Prefix;
pub use kept::Room;
pub use ledger::Trained;
pub use look::{SIDE, look};
pub use plan::Plan;
pub use run::{Run, StepRecord};

use crate::autograd::{Tape, Var};
use crate::data::ImageStore;
use crate::error::{Error, Result};
use crate::nn::Adapter;
use crate::optim::Adam;
use crate::tensor::Tensor;
use ledger::{Answers, Ledger, Pending};
use step::{Given, Network};

/// Steps whose loss may still be on its way to the host. A software device works while it is handed its work: there is
/// nothing to overlap.
const IN_FLIGHT: usize = 2;

/// What [`train`] trains on, how and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The images.
    pub images: &'a Arc<ImageStore>,
    /// The category of each.
    pub labels: &'a [u32],
    /// The settings.
    pub plan: Plan,
    /// Ends the run after the current step.
    pub stop: &'a AtomicBool,
}

/// Trains `adapter` on the labelled images with Adam on cross-entropy. `report` hears of every step in order.
///
/// # Errors
/// What the device or an image file reported, and [`Error::Usage`] where `adapter` has numbers that are not finite. What
/// diverges later and a stop are not errors here: see [`Trained::end`].
pub fn train(
    prefix: &mut Prefix,
    task: Task,
    mut adapter: Adapter,
    report: impl FnMut(StepRecord) -> Result<()>,
) -> Result<Trained> {
    let Task {
        images,
        labels,
        plan,
        stop,
    } = task;
    plan.check()?;
    if !finite(&adapter)? {
        return Err(Error::Usage(
            "the adapter to start from has numbers that are not finite: start from another one"
                .into(),
        ));
    }
    let mut ledger = Ledger::new(plan, images.len(), &adapter, report);
    let network = Network::after(prefix, images.transform().size, plan.checkpoint);
    let in_flight = match prefix.base().gpu().is_software() {
        true => 0,
        false => IN_FLIGHT,
    };
    let mut adam = Adam::new(plan.lr);
    let mut kept = 0;
    for input in prefix.inputs(images, plan.order(images.len())) {
        let input = input?;
        if stop.load(Ordering::Relaxed) {
            ledger.stop(Error::Interrupted { step: adam.steps });
            break;
        }
        let labels: Vec<u32> = input.indices.iter().map(|&i| labels[i]).collect();
        let dropout = (plan.dropout, plan.seed, adam.steps);
        let step = network.step(&input, &labels, &adapter, adam.lost(), dropout)?;
        kept = kept.max(step.kept);
        let mut factors = adapter.trained();
        adam.step(&mut factors, &step.gradients)?;
        let next = adapter.with(&factors);
        let pending = Pending {
            adapter: std::mem::replace(&mut adapter, next),
            answers: Answers::Step(step.losses),
        };
        ledger.enter(pending, in_flight)?;
        if ledger.ended() {
            break;
        }
    }
    let last = Pending {
        adapter,
        answers: Answers::Last(adam.lost().map(Tensor::read).transpose()?),
    };
    ledger.close(last, kept)
}

fn finite(adapter: &Adapter) -> Result<bool> {
    for factor in adapter.trained() {
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
            embed::finite(images, image, logits)?;
            each(image, logits)?;
        }
    }
    Ok(())
}
