//! The loop itself: epochs of steps, each closed by a look at the images that are not trained on.

use std::sync::atomic::Ordering;

use super::frozen::Prefix;
use super::ledger::{Ledger, Pending, Seen};
use super::predict::answers;
use super::snapshot::{Best, Snapshot};
use super::step::Network;
use super::task::{Task, Trained};
use super::watch::Watch;
use crate::data::{Score, Tally};
use crate::error::{Error, Result};
use crate::nn::Adapter;
use crate::optim::Adam;

/// Steps whose loss may still be on its way to the host. A software device works while it is handed its work: there is
/// nothing to overlap.
const IN_FLIGHT: usize = 2;

/// A run under way.
pub(super) struct Trainer<'a, W> {
    prefix: &'a mut Prefix,
    task: Task<'a>,
    network: Network,
    in_flight: usize,
    adam: Adam,
    /// Epochs whose steps have all been handed over.
    epochs: usize,
    /// Steps of the epoch that is under way that have been.
    begun: usize,
    /// As the last step made it, finite or not.
    adapter: Adapter,
    best: Option<Best>,
    /// The most bytes that a step kept of an image.
    kept: u64,
    ledger: Ledger<'a, W>,
}

impl<'a, W: Watch> Trainer<'a, W> {
    pub(super) fn new(
        prefix: &'a mut Prefix,
        task: Task<'a>,
        start: Snapshot,
        watch: &'a mut W,
    ) -> Result<Self> {
        let plan = task.plan;
        plan.check()?;
        if !finite(&start.adapter)? {
            return Err(Error::Usage(
                "the adapter to start from has numbers that are not finite: start from another one"
                    .into(),
            ));
        }
        let mut adam = Adam::new(plan.lr);
        let parameters = start.adapter.trained();
        adam.restore(start.position.steps, &parameters, &mut |name, _| {
            start.optimizer(name)
        })?;
        let network = Network::after(prefix, task.images.transform().size, plan.checkpoint);
        let in_flight = match prefix.base().gpu().is_software() {
            true => 0,
            false => IN_FLIGHT,
        };
        let Snapshot {
            adapter,
            position,
            best,
            ..
        } = start;
        Ok(Trainer {
            prefix,
            task,
            network,
            in_flight,
            adam,
            epochs: position.epochs,
            begun: position.steps as usize
                - position.epochs * plan.steps_per_epoch(task.split.train.len()),
            ledger: Ledger::new(plan, &adapter, position, watch),
            adapter,
            best,
            kept: 0,
        })
    }

    /// Runs to the end, whatever that is.
    pub(super) fn run(mut self) -> Result<Trained> {
        let plan = self.task.plan;
        let waited_enough = |trainer: &Self| plan.waited_enough(trainer.ledger.position.waited);
        let mut early = waited_enough(&self);
        while !early && !self.ledger.ended() && self.epochs < plan.epochs {
            let done = self.steps().and_then(|()| self.close());
            self.ledger.check(done);
            early = waited_enough(&self);
        }
        // What was handed over before something failed counts all the same.
        let settled = self.settle();
        self.ledger.check(settled);
        let snapshot = match self.ledger.end {
            // A step may have stopped half way through its update.
            Err(
                Error::NonFinite { .. }
                | Error::Device { .. }
                | Error::Memory(_)
                | Error::Kernel { .. },
            ) => None,
            _ => Some(self.snapshot()),
        };
        Ok(Trained {
            adapter: self.ledger.good,
            best: self.best,
            snapshot,
            steps: self.ledger.position.steps,
            epochs: self.ledger.position.epochs,
            losses: self.ledger.losses,
            kept: self.kept,
            early,
            end: self.ledger.end,
        })
    }

    /// What is left of the epoch that is under way.
    fn steps(&mut self) -> Result<()> {
        let Task {
            images,
            labels,
            split,
            plan,
            stop,
        } = self.task;
        let order = plan.order(self.epochs, &split.train).into_iter();
        let order: Vec<Vec<usize>> = order.skip(self.begun).collect();
        let mut left = order.len();
        for input in self.prefix.inputs(images, order) {
            let input = input?;
            let Trainer {
                network,
                adam,
                adapter,
                ledger,
                ..
            } = self;
            if stop.load(Ordering::Relaxed) {
                ledger.stop(Error::Interrupted { step: adam.steps });
                break;
            }
            let labels: Vec<u32> = input.indices.iter().map(|&i| labels[i]).collect();
            let dropout = (plan.dropout, plan.seed, adam.steps);
            let step = network.step(&input, &labels, adapter, adam.lost(), dropout)?;
            self.kept = self.kept.max(step.kept);
            let mut factors = adapter.trained();
            adam.step(&mut factors, &step.gradients)?;
            let next = adapter.with(&factors);
            let used = std::mem::replace(adapter, next);
            let pending = Pending::Step(used, step.losses, labels.len());
            ledger.enter(pending, self.in_flight)?;
            self.begun += 1;
            left -= 1;
            // The last one's epoch is closed first.
            if left > 0 && !ledger.ended() && ledger.watch.due(None) {
                let (last, lost) = (adapter.clone(), adam.lost());
                ledger.settle_all(last, lost)?;
                save(ledger, adam, &self.best);
            }
            if ledger.ended() {
                break;
            }
        }
        Ok(())
    }

    /// Closes the epoch, unless it is left open by a stop.
    fn close(&mut self) -> Result<()> {
        if self.ledger.ended() {
            return Ok(());
        }
        let plan = self.task.plan;
        let mut validation = None;
        if !self.task.split.validation.is_empty() {
            // Its numbers must be known to be finite.
            self.settle()?;
            if self.ledger.ended() {
                return Ok(());
            }
            validation = Some(self.validate()?);
        }
        let epoch = self.epochs + 1;
        let better = validation.map(|score| {
            let best = self.best.as_ref();
            let better = best.is_none_or(|best| plan.metric.better(&score, &best.score));
            if better {
                self.best = Some(Best {
                    adapter: self.adapter.clone(),
                    epoch,
                    score,
                });
            }
            better
        });
        let seen = Seen {
            step: self.adam.steps,
            lr: plan.lr,
            validation,
            better,
        };
        self.ledger.enter(Pending::Epoch(seen), self.in_flight)?;
        (self.epochs, self.begun) = (epoch, 0);
        if !self.ledger.ended() && self.ledger.watch.due(Some(epoch)) {
            self.settle()?;
            save(&mut self.ledger, &self.adam, &self.best);
        }
        Ok(())
    }

    /// How good the adapter is on the images that it was not trained on.
    fn validate(&mut self) -> Result<Score> {
        let Task {
            images,
            labels,
            split,
            plan,
            stop,
        } = self.task;
        let which = &split.validation;
        let (mut tally, mut done, step) = (Tally::default(), 0, self.adam.steps);
        let watch = &mut *self.ledger.watch;
        answers(
            self.prefix,
            images,
            which,
            &self.adapter,
            |image, logits| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted { step });
                }
                if logits.iter().any(|logit| !logit.is_finite()) {
                    let (loss, lr) = (f32::NAN, plan.lr);
                    return Err(Error::NonFinite { step, loss, lr });
                }
                tally.add(logits, labels[image] as usize);
                done += 1;
                watch.validated(done, which.len());
                Ok(())
            },
        )?;
        Ok(tally.score())
    }

    fn settle(&mut self) -> Result<()> {
        let last = self.adapter.clone();
        self.ledger.settle_all(last, self.adam.lost())
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(&self.ledger, &self.adam, &self.best)
    }
}

/// Where a run stands, all of its steps being settled.
fn snapshot<W: Watch>(ledger: &Ledger<'_, W>, adam: &Adam, best: &Option<Best>) -> Snapshot {
    let (_, optimizer) = adam.state();
    Snapshot {
        adapter: ledger.good.clone(),
        optimizer,
        position: ledger.position.clone(),
        best: best.clone(),
    }
}

/// Puts a run down here.
fn save<W: Watch>(ledger: &mut Ledger<'_, W>, adam: &Adam, best: &Option<Best>) {
    if !ledger.ended() {
        let snapshot = snapshot(ledger, adam, best);
        let saved = ledger.watch.save(&snapshot);
        ledger.check(saved);
    }
}

fn finite(adapter: &Adapter) -> Result<bool> {
    for factor in adapter.trained() {
        if factor.to_vec()?.iter().any(|v| !v.is_finite()) {
            return Ok(false);
        }
    }
    Ok(true)
}
