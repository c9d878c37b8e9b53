//! The loop itself: epochs of steps, each closed by a look at the images that are not trained on.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::crew::{Crew, own_images, own_parts};
use super::ledger::{Ledger, Pending, Seen};
use super::plan::Plan;
use super::predict::answers_by;
use super::prefix::Prefix;
use super::snapshot::{Best, Snapshot};
use super::step::{Cut, Network, Step};
use super::task::{Task, Trained};
use super::watch::Watch;
use crate::data::{Score, Tally};
use crate::error::{Error, Result};
use crate::nn::Adapter;
use crate::optim::Optimizer;
use crate::world::World;

/// A run under way.
pub(super) struct Trainer<'a, W> {
    prefix: &'a mut Prefix,
    task: Task<'a>,
    crew: Crew,
    network: Network,
    /// Steps whose loss may still be on its way to the host.
    in_flight: usize,
    optimizer: Optimizer,
    /// What each class counts in the loss, where they differ.
    weights: Option<Vec<f32>>,
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
        let begun = begun(&start, plan, task.split.train.len())?;
        let mut optimizer = Optimizer::new(&plan.recipe.optimizer, plan.lr);
        let parameters = start.adapter.trained();
        optimizer.restore(start.position.steps, &parameters, &mut |name, _| {
            start.optimizer(name)
        })?;
        let weights = task.class_weights(start.adapter.classes(prefix.base().arch()));
        let crew = Crew::new(prefix.world(), plan.shares_steps(task.split.train.len()));
        let network = Network::after(prefix, task.images.transform().size, plan.checkpoint);
        let in_flight = prefix.base().gpu().most_pending();
        let Snapshot {
            adapter,
            position,
            best,
            ..
        } = start;
        Ok(Trainer {
            prefix,
            task,
            crew,
            network,
            in_flight,
            optimizer,
            weights,
            epochs: position.epochs,
            begun,
            ledger: Ledger::new(task, &adapter, position, watch),
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
        let last = plan.last_epoch(self.task.split.train.len());
        while !early && !self.ledger.ended() && self.epochs < last {
            let done = self.steps().and_then(|()| self.close());
            self.ledger.check(done);
            early = waited_enough(&self);
        }
        // What was handed over before something failed counts all the same.
        let settled = self.settle();
        self.ledger.check(settled);
        let ended = self.crew.end();
        self.ledger.check(ended);
        self.prefix.leave_world();
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
        let steps = self.task.steps(self.epochs, self.begun);
        let mut rest = &steps[..];
        while !rest.is_empty() && !self.ledger.ended() {
            // While it is measured who takes them, each step is made ready by itself.
            let at_once = if self.crew.tries() { 1 } else { rest.len() };
            let (next, after) = rest.split_at(at_once);
            self.some_steps(next, after.len())?;
            rest = after;
        }
        Ok(())
    }

    /// The next steps, of the images in `steps`; so many come after them before the epoch is closed.
    fn some_steps(&mut self, steps: &[Vec<usize>], after: usize) -> Result<()> {
        let Task {
            images,
            split,
            plan,
            stop,
            ..
        } = self.task;
        let (leader, crew) = (self.crew.world().clone(), &mut self.crew);
        let own = own_images(&leader, plan, steps, |parts| crew.shares_step_of(parts));
        let mut inputs = self.prefix.inputs(images, own);
        let mut left = steps.len() + after;
        for step in steps {
            let Trainer {
                network,
                optimizer,
                weights,
                adapter,
                ledger,
                ..
            } = self;
            let number = optimizer.steps();
            let cut = Cut::new(self.task, weights.as_deref(), step, number)?;
            let (parts, shared) = (cut.parts(), crew.shares_step_of(cut.parts()));
            let started = Instant::now();
            let stopped = || stop.load(Ordering::Relaxed);
            if shared && !stopped() {
                crew.begin(adapter, (number, self.epochs, self.begun))?;
            }
            let mut taken = Vec::new();
            for part in own_parts(&leader, shared, parts) {
                let Some(input) = inputs.next() else {
                    break;
                };
                let input = input?;
                // A step that others have begun is finished.
                if stopped() && !crew.is_amid() {
                    ledger.stop(Error::Interrupted { step: number });
                    return Ok(());
                }
                let asked = cut.asked(part, optimizer.lost());
                let step = network.step(&input, adapter, &asked)?;
                match taken.last_mut() {
                    Some(sum) if !shared => Step::add(sum, step)?,
                    _ => taken.push(step),
                }
            }
            let whole = match shared {
                true => Some(crew.gather(adapter, parts, taken)?),
                false => taken.pop(),
            };
            let Some(whole) = whole else {
                break;
            };
            if crew.tries() && parts > 1 {
                if let Some(gradient) = whole.gradients.first() {
                    gradient.dense()?.to_vec()?;
                }
                if let Some(tried) = crew.took(shared, started.elapsed().as_secs_f64()) {
                    ledger.watch.tried(tried);
                }
            }
            self.kept = self.kept.max(whole.kept);
            let mut factors = adapter.trained();
            optimizer.set_lr(plan.rate(number, split.train.len()));
            plan.recipe
                .update(optimizer, &mut factors, &whole.gradients)?;
            let next = adapter.with(&factors);
            let used = std::mem::replace(adapter, next);
            let pending = Pending::Step(used, whole.losses, cut.count);
            ledger.enter(pending, self.in_flight)?;
            self.begun += 1;
            left -= 1;
            // The last one's epoch is closed first.
            if left > 0 && !ledger.ended() && ledger.watch.due(None) {
                let (last, lost) = (adapter.clone(), optimizer.lost());
                ledger.settle_all(last, lost)?;
                save(ledger, optimizer, &self.best);
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
            step: self.optimizer.steps(),
            validation,
            better,
        };
        self.ledger.enter(Pending::Epoch(seen), self.in_flight)?;
        (self.epochs, self.begun) = (epoch, 0);
        if !self.ledger.ended() && self.ledger.watch.due(Some(epoch)) {
            self.settle()?;
            save(&mut self.ledger, &self.optimizer, &self.best);
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
        let (mut tally, mut done, step) = (Tally::default(), 0, self.optimizer.steps());
        let watch = &mut *self.ledger.watch;
        let world = match self.crew.looks() {
            true => {
                self.crew.look(&self.adapter)?;
                self.crew.world().clone()
            }
            false => World::alone(),
        };
        answers_by(
            &world,
            self.prefix,
            images,
            which,
            &self.adapter,
            |image, logits| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted { step });
                }
                if logits.iter().any(|logit| !logit.is_finite()) {
                    let lr = plan.rate(step.saturating_sub(1), split.train.len());
                    let loss = f32::NAN;
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
        self.ledger.settle_all(last, self.optimizer.lost())
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(&self.ledger, &self.optimizer, &self.best)
    }
}

/// Steps of the epoch that is under way where a run stands.
fn begun(start: &Snapshot, plan: Plan, images: usize) -> Result<usize> {
    let per_epoch = plan.steps_per_epoch(images);
    let (steps, epochs) = (start.steps(), start.epochs());
    // An epoch that the most steps cut short is closed too.
    if epochs > 0 && epochs == plan.last_epoch(images) && steps == plan.steps(images) {
        return Ok(0);
    }
    let closed = (epochs as u64).checked_mul(per_epoch as u64);
    let begun = closed.and_then(|closed| steps.checked_sub(closed));
    match begun.filter(|&begun| begun <= per_epoch as u64) {
        Some(begun) => Ok(begun as usize),
        None => Err(Error::Usage(format!(
            "a run of {per_epoch} steps an epoch has not made {steps} steps after {epochs} epochs: it is another one that is \
             taken up"
        ))),
    }
}

/// Where a run stands, all of its steps being settled.
fn snapshot<W: Watch>(
    ledger: &Ledger<'_, W>,
    optimizer: &Optimizer,
    best: &Option<Best>,
) -> Snapshot {
    let (_, optimizer) = optimizer.state();
    Snapshot {
        adapter: ledger.good.clone(),
        optimizer,
        position: ledger.position.clone(),
        best: best.clone(),
    }
}

/// Puts a run down here.
fn save<W: Watch>(ledger: &mut Ledger<'_, W>, optimizer: &Optimizer, best: &Option<Best>) {
    if !ledger.ended() {
        let snapshot = snapshot(ledger, optimizer, best);
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
