//! The steps that the device still works on, and those that are finished: the one place where a run's end is decided.

use std::collections::VecDeque;

use super::snapshot::Position;
use super::step::Term;
use super::task::Task;
use super::watch::{EpochRecord, StepRecord, Watch};
use crate::data::Score;
use crate::error::{Error, Result};
use crate::gpu::Readback;
use crate::nn::Adapter;
use crate::tensor::Tensor;

/// What the device has not said yet.
pub(super) enum Pending {
    /// A step with this adapter, and what its images count together: its loss in terms to add, each the term and, after the
    /// first step, the word of [`overflowed`].
    Step(Adapter, Vec<Term>, f64),
    /// That word alone, of an adapter that no step has used; `None` where there was no step.
    Last(Adapter, Option<Readback>),
    /// The steps of an epoch are done, and what was seen of it.
    Epoch(Seen),
}

/// What is known of an epoch beside its losses.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Steps done at its end.
    pub(super) step: u64,
    pub(super) validation: Option<Score>,
    /// Whether it is better than all before.
    pub(super) better: Option<bool>,
}

/// Whether an update made numbers that are not finite, by the word that the optimiser's kernels raise.
fn overflowed(word: Option<&f32>) -> bool {
    word.is_some_and(|word| word.to_bits() != 0)
}

/// The books of a run.
pub(super) struct Ledger<'w, W> {
    task: Task<'w>,
    pub(super) watch: &'w mut W,
    pending: VecDeque<Pending>,
    pub(super) losses: Vec<f32>,
    /// How far the steps are that are finished.
    pub(super) position: Position,
    /// The last adapter that is known to be finite.
    pub(super) good: Adapter,
    pub(super) end: Result<()>,
}

impl<'w, W: Watch> Ledger<'w, W> {
    pub(super) fn new(
        task: Task<'w>,
        start: &Adapter,
        position: Position,
        watch: &'w mut W,
    ) -> Self {
        Ledger {
            task,
            watch,
            pending: VecDeque::new(),
            losses: Vec::new(),
            position,
            good: start.clone(),
            end: Ok(()),
        }
    }

    /// Ends the run for a reason from outside.
    pub(super) fn stop(&mut self, reason: Error) {
        if self.end.is_ok() {
            self.end = Err(reason);
        }
    }

    /// Goes on where that went well.
    pub(super) fn check(&mut self, done: Result<()>) {
        if let Err(error) = done {
            self.stop(error);
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.end.is_err()
    }

    /// Enters what was handed over, and waits for the oldest steps until at most `most` are pending.
    pub(super) fn enter(&mut self, pending: Pending, most: usize) -> Result<()> {
        self.pending.push_back(pending);
        let waits = |pending: &&Pending| !matches!(pending, Pending::Epoch(_));
        // Nothing counts that is computed with numbers which are not finite.
        while !matches!(self.end, Err(Error::NonFinite { .. })) {
            let first = self.pending.front();
            if first.is_none_or(|first| waits(&first))
                && self.pending.iter().filter(waits).count() <= most
            {
                break;
            }
            let Some(oldest) = self.pending.pop_front() else {
                break;
            };
            self.settle(oldest)?;
        }
        Ok(())
    }

    /// Waits for all steps; `last`, which no step has used yet, counts where its numbers are finite: `lost` is
    /// the optimiser's word on its updates.
    pub(super) fn settle_all(&mut self, last: Adapter, lost: Option<&Tensor>) -> Result<()> {
        let lost = lost.map(Tensor::read).transpose()?;
        self.enter(Pending::Last(last, lost), 0)
    }

    /// Waits for what is pending and reports it. Where an adapter or a loss is not finite, the run ends.
    fn settle(&mut self, pending: Pending) -> Result<()> {
        let step = self.position.steps;
        let lr = self.rate(step.saturating_sub(1));
        let last = self.losses.last().copied().unwrap_or(f32::NAN);
        let overflow = Error::NonFinite {
            step,
            loss: last,
            lr,
        };
        match pending {
            Pending::Step(adapter, terms, count) => {
                let (mut loss, mut lost) = (0.0, false);
                for term in terms {
                    let words = term.wait()?;
                    loss += words[0];
                    lost |= overflowed(words.get(1));
                }
                if lost {
                    self.end = Err(overflow);
                } else if !loss.is_finite() {
                    let lr = self.rate(step);
                    let step = step + 1;
                    self.end = Err(Error::NonFinite { step, loss, lr });
                } else {
                    self.good = adapter;
                    self.done(loss, count);
                }
            }
            Pending::Last(adapter, word) => {
                let word = word.map(Readback::wait).transpose()?;
                match overflowed(word.as_ref().and_then(|word| word.first())) {
                    true => self.end = Err(overflow),
                    false => self.good = adapter,
                }
            }
            Pending::Epoch(seen) => self.close(seen),
        }
        Ok(())
    }

    /// Learning rate of a step, counted from 0.
    fn rate(&self, step: u64) -> f64 {
        self.task.plan.rate(step, self.task.split.train.len())
    }

    /// A step is done.
    fn done(&mut self, loss: f32, count: f64) {
        let record = StepRecord {
            step: self.position.steps + 1,
            epoch: self.position.epochs + 1,
            loss,
            lr: self.rate(self.position.steps),
        };
        self.losses.push(loss);
        self.position.enter(loss, count);
        let heard = self.watch.step(record);
        self.check(heard);
    }

    /// An epoch is done.
    fn close(&mut self, seen: Seen) {
        let train_loss = self.position.close(seen.better);
        let record = EpochRecord {
            epoch: self.position.epochs,
            step: seen.step,
            train_loss,
            lr: self.rate(seen.step.saturating_sub(1)),
            validation: seen.validation,
            best: seen.better,
        };
        let heard = self.watch.epoch(record);
        self.check(heard);
    }
}
