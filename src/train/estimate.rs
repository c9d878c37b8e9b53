//! What a run will take, from what a few of its images took: the frozen layers over a sample, and some steps on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Plan, Split};
use super::predict::answers;
use super::prefix::Prefix;
use super::recipe::Recipe;
use super::task::Task;
use super::train;
use super::watch::{StepRecord, Watch};
use crate::data::ImageStore;
use crate::error::{Error, Result};
use crate::nn::Adapter;

/// Steps before those that are timed: they compile kernels and make memory.
const WARM: usize = 2;
/// The least and the most steps that are timed.
const STEPS: [usize; 2] = [4, 40];
/// How long steps are timed beyond the least.
const LONG: Duration = Duration::from_secs(5);

/// Images of a sample that says enough of `images`: two steps, which take turns as those of a run do, and three turns of
/// the frozen layers, of which the first one compiles kernels.
pub fn sample_size(images: usize, plan: &Plan, at_once: usize) -> usize {
    let step = plan.batch_size.saturating_mul(plan.recipe.grad_accum);
    images.min(step.saturating_mul(2).max(at_once.saturating_mul(3)))
}

/// A time for something whose first time takes longer.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// What the first took more than others.
    more: f64,
    /// Of one.
    each: f64,
}

impl Pace {
    /// Of what `done` and seconds since the start were at the end of the first part and at the end of all.
    fn new(first: (usize, f64), all: (usize, f64)) -> Self {
        let between = all.0 - first.0;
        match between {
            // There is no second part to know better from.
            0 => Pace {
                more: 0.0,
                each: all.1 / all.0.max(1) as f64,
            },
            _ => {
                let each = (all.1 - first.1) / between as f64;
                Pace {
                    more: (first.1 - each * first.0 as f64).max(0.0),
                    each,
                }
            }
        }
    }

    fn of(self, count: f64) -> f64 {
        match count > 0.0 {
            true => self.more + self.each * count,
            false => 0.0,
        }
    }
}

/// What a sample took.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of an image through the frozen layers; none with the cache off.
    frozen: Option<Pace>,
    /// Of a step.
    step: Pace,
    /// Images of such a step.
    batch: usize,
    /// Of an image to validate with.
    validated: Pace,
    /// Steps that were timed.
    pub steps: usize,
}

/// Seconds of the parts of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds {
    /// The frozen layers over all images.
    pub frozen: f64,
    /// All steps.
    pub steps: f64,
    /// All validations, and the verdicts at the end.
    pub validation: f64,
}

impl Measured {
    /// What a run of `plan` takes that trains and validates with so many images, of which so many rows are kept, and looks
    /// `verdicts` times more at those to validate with at its end.
    pub fn whole(
        &self,
        plan: &Plan,
        [train, validation]: [usize; 2],
        rows: usize,
        verdicts: usize,
    ) -> Seconds {
        let an_epoch = plan.steps_per_epoch(train).max(1) as f64;
        let epochs = plan.steps(train) as f64 / an_epoch;
        // An epoch's last step has the rest of the images.
        let steps = train as f64 / self.batch.clamp(1, train.max(1)) as f64;
        Seconds {
            frozen: self.frozen.map_or(0.0, |pace| pace.of(rows as f64)),
            steps: self.step.of(steps * epochs),
            validation: self
                .validated
                .of(validation as f64 * (epochs.ceil() + verdicts as f64)),
        }
    }
}

/// Some of a run's images.
#[derive(Debug)]
pub struct Sample<'a> {
    /// They.
    pub images: &'a Arc<ImageStore>,
    /// The class of each.
    pub labels: &'a [u32],
    /// Which of them are trained on, and which are validated with.
    pub split: &'a Split,
}

/// Does to a sample what a run of `plan` does to all images: the frozen layers, where `prefix` keeps what they make, some
/// steps from `start`, which is left as it is, and a validation where there is one.
///
/// # Errors
/// What the device or an image file reported, and [`Error::Interrupted`] once `stop` is raised.
pub fn measure(
    prefix: &mut Prefix,
    sample: &Sample,
    start: &Adapter,
    plan: &Plan,
    stop: &AtomicBool,
) -> Result<Measured> {
    let Sample {
        images,
        labels,
        split,
    } = sample;
    let frozen = match prefix.keeps() {
        true => Some(fill(prefix, images, stop)?),
        false => None,
    };
    // Whole steps, as nearly all of a run's are.
    let batch = plan.batch_size.saturating_mul(plan.recipe.grad_accum);
    let taken = split.train.len();
    let batch = batch.min(taken).max(1);
    let task = Task {
        images,
        labels,
        split: &Split {
            train: split.train[..taken / batch * batch].to_vec(),
            validation: Vec::new(),
        },
        plan: Plan {
            epochs: WARM + STEPS[1],
            patience: None,
            recipe: Recipe {
                max_steps: None,
                ..plan.recipe
            },
            ..*plan
        },
        stop,
    };
    let mut clock = Clock::default();
    let trained = train(prefix, task, start.clone(), &mut clock)?;
    match trained.end {
        // A rate that is too high is the run's matter; what its steps take is known.
        Err(Error::NonFinite { .. }) if clock.times.len() > WARM => {}
        Err(Error::Interrupted { .. }) if !stop.load(Ordering::Relaxed) => {}
        end => end?,
    }
    let done = clock.times.len();
    let at = |steps: usize| {
        (
            steps,
            clock
                .times
                .get(steps.wrapping_sub(1))
                .copied()
                .unwrap_or(0.0),
        )
    };
    let step = Pace::new(at(WARM.min(done)), at(done));
    let validated = match split.validation.is_empty() {
        false => validation(prefix, images, &split.validation, start)?,
        true => Pace::default(),
    };
    Ok(Measured {
        frozen,
        step,
        batch,
        validated,
        steps: done,
    })
}

fn fill(prefix: &mut Prefix, images: &Arc<ImageStore>, stop: &AtomicBool) -> Result<Pace> {
    let (begun, mut first, mut last) = (Instant::now(), None, (0, 0.0));
    prefix.fill(images, |done| {
        last = (done, begun.elapsed().as_secs_f64());
        first.get_or_insert(last);
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted { step: 0 }),
            false => Ok(()),
        }
    })?;
    Ok(Pace::new(first.unwrap_or(last), last))
}

/// The second time through the same images: the first compiles kernels.
fn validation(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    which: &[usize],
    adapter: &Adapter,
) -> Result<Pace> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    for _ in 0..2 {
        answers(prefix, images, which, adapter, |_, _| Ok(()))?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(Pace::new(
        (which.len(), times[0]),
        (2 * which.len(), times[1]),
    ))
}

/// When each step was done, in seconds since the clock was made.
struct Clock {
    begun: Instant,
    times: Vec<f64>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            begun: Instant::now(),
            times: Vec::new(),
        }
    }
}

impl Watch for Clock {
    fn step(&mut self, record: StepRecord) -> Result<()> {
        self.times.push(self.begun.elapsed().as_secs_f64());
        let timed = self.times.len().saturating_sub(WARM);
        let warm = self.times.get(WARM - 1).copied().unwrap_or(f64::INFINITY);
        let long = self
            .times
            .last()
            .is_some_and(|last| last - warm > LONG.as_secs_f64());
        match timed >= STEPS[1] || (timed >= STEPS[0] && long) {
            // Enough is known.
            true => Err(Error::Interrupted { step: record.step }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Pace, sample_size};
    use crate::train::Plan;

    #[test]
    fn what_takes_longer_the_first_time_does_so_once() {
        let pace = Pace::new((8, 5.0), (24, 13.0));
        assert_eq!((pace.each, pace.more), (0.5, 1.0));
        assert_eq!((pace.of(0.0), pace.of(100.0)), (0.0, 51.0));
        // A first part that is faster is no reason to take time off.
        assert_eq!(Pace::new((8, 1.0), (16, 9.0)).more, 0.0);
        assert_eq!(Pace::new((6, 3.0), (6, 3.0)).of(60.0), 30.0);
    }

    #[test]
    fn a_run_is_its_images_and_its_epochs() {
        let pace = |each| Pace { more: 1.0, each };
        let measured = Measured {
            frozen: Some(pace(0.5)),
            step: pace(0.1),
            batch: 4,
            validated: pace(0.01),
            steps: 6,
        };
        let plan = Plan {
            epochs: 10,
            batch_size: 4,
            ..Plan::default()
        };
        let seconds = measured.whole(&plan, [30, 10], 40, 2);
        assert_eq!(seconds.frozen, 21.0);
        // Seven whole steps and half a one an epoch.
        assert!((seconds.steps - 8.5).abs() < 1e-9);
        // Ten epochs and two more.
        assert!((seconds.validation - 2.2).abs() < 1e-9);
        let less = measured.whole(&plan, [30, 0], 30, 2);
        assert_eq!(less.validation, 0.0);
        // A step has no more images than there are.
        assert!((measured.whole(&plan, [2, 0], 2, 0).steps - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_sample_has_two_of_everything_where_there_are_so_many() {
        let plan = Plan {
            batch_size: 5,
            ..Plan::default()
        };
        assert_eq!(sample_size(1000, &plan, 8), 24);
        assert_eq!(sample_size(1000, &plan, 1), 10);
        assert_eq!(sample_size(7, &plan, 8), 7);
    }
}
