//! The steps that the device still works on, and those that are finished: the one place where a run's end is decided.

use std::collections::VecDeque;
use std::time::Instant;

use super::plan::Plan;
use super::run::StepRecord;
use crate::error::{Error, Result};
use crate::gpu::Readback;
use crate::nn::Adapter;

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

/// An adapter whose numbers are not known yet to be finite.
pub(super) struct Pending {
    pub(super) adapter: Adapter,
    pub(super) answers: Answers,
}

/// What the device says of an adapter, on its way.
pub(super) enum Answers {
    /// The loss of the step that it was used in, in terms to add: each term, and the word of [`overflowed`] after the first
    /// step.
    Step(Vec<Readback>),
    /// That word alone, of the adapter that no step has used; `None` where there was no step.
    Last(Option<Readback>),
}

/// Whether an update made numbers that are not finite, by the word that Adam's kernels raise.
fn overflowed(word: Option<&f32>) -> bool {
    word.is_some_and(|word| word.to_bits() != 0)
}

/// The books of a run.
pub(super) struct Ledger<F> {
    plan: Plan,
    steps_per_epoch: usize,
    start: Instant,
    report: F,
    pending: VecDeque<Pending>,
    losses: Vec<f32>,
    /// The last adapter that is known to be finite.
    good: Adapter,
    end: Result<()>,
}

impl<F: FnMut(StepRecord) -> Result<()>> Ledger<F> {
    pub(super) fn new(plan: Plan, images: usize, start: &Adapter, report: F) -> Self {
        Ledger {
            plan,
            steps_per_epoch: plan.steps_per_epoch(images),
            start: Instant::now(),
            report,
            pending: VecDeque::new(),
            losses: Vec::new(),
            good: start.clone(),
            end: Ok(()),
        }
    }

    /// Ends the run for a reason from outside.
    pub(super) fn stop(&mut self, reason: Error) {
        self.end = Err(reason);
    }

    pub(super) fn ended(&self) -> bool {
        self.end.is_err()
    }

    /// Enters a step, and waits for the oldest ones until at most `most` are pending.
    pub(super) fn enter(&mut self, step: Pending, most: usize) -> Result<()> {
        self.pending.push_back(step);
        // Nothing counts that is computed with numbers which are not finite.
        while self.pending.len() > most && !matches!(self.end, Err(Error::NonFinite { .. })) {
            let Some(oldest) = self.pending.pop_front() else {
                break;
            };
            let adapter = oldest.adapter.clone();
            match self.settle(oldest)? {
                Some(diverged) => self.end = Err(diverged),
                None => self.good = adapter,
            }
        }
        Ok(())
    }

    /// Waits for a step and reports it; [`Error::NonFinite`] where its adapter or its loss is not finite.
    fn settle(&mut self, step: Pending) -> Result<Option<Error>> {
        let lr = self.plan.lr;
        let (mut lost, mut loss) = (false, None);
        match step.answers {
            Answers::Step(terms) => {
                let mut sum = 0.0;
                for term in terms {
                    let words = term.wait()?;
                    sum += words[0];
                    lost |= overflowed(words.get(1));
                }
                loss = Some(sum);
            }
            Answers::Last(Some(word)) => lost = overflowed(word.wait()?.first()),
            Answers::Last(None) => {}
        }
        if lost {
            return Ok(Some(Error::NonFinite {
                step: self.losses.len() as u64,
                loss: self.losses.last().copied().unwrap_or(f32::NAN),
                lr,
            }));
        }
        let Some(loss) = loss else {
            return Ok(None);
        };
        let number = self.losses.len() as u64 + 1;
        if !loss.is_finite() {
            let step = number;
            return Ok(Some(Error::NonFinite { step, loss, lr }));
        }
        let record = StepRecord {
            step: number,
            epoch: self.losses.len() / self.steps_per_epoch + 1,
            loss,
            lr,
            seconds: self.start.elapsed().as_secs_f64(),
        };
        self.losses.push(loss);
        if let Err(error) = (self.report)(record) {
            self.stop(error);
        }
        Ok(None)
    }

    /// Closes the books on `last`, the adapter that no step has used: it counts where its numbers are finite.
    pub(super) fn close(mut self, last: Pending, kept: u64) -> Result<Trained> {
        self.enter(last, 0)?;
        Ok(Trained {
            adapter: self.good,
            losses: self.losses,
            kept,
            end: self.end,
        })
    }
}
