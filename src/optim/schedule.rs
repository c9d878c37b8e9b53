//! The learning rate of each step, as a factor on the one that was set: a warm-up, then a curve. A pure function of the
//! step, so that a run that is taken up again needs nothing but its number.

use std::f64::consts::PI;

use crate::error::{Error, Result};

/// What the rate does once it is warm. `t` counts steps from the end of the warm-up, of `T` in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Curve {
    /// It stays.
    #[default]
    Constant,
    /// `(1 + cos(pi t / T)) / 2`: `torch.optim.lr_scheduler.CosineAnnealingLR(T_max=T)`.
    Cosine,
    /// `1 - t / T`: `LinearLR(start_factor=1, end_factor=0, total_iters=T)`.
    Linear,
    /// `gamma` to the power of `t / every`, rounded down: `StepLR(step_size=every, gamma)`.
    Step {
        /// Steps between two falls; `None`: a third of `T`, rounded up.
        every: Option<u64>,
        /// What each leaves of the rate.
        gamma: f64,
    },
}

/// A curve behind a warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Schedule {
    /// What follows the warm-up.
    pub curve: Curve,
    /// Steps over which the rate rises: step `s`, from 0, has `(s + 1) / warmup` of it
    /// (`LambdaLR(lambda s: (s + 1) / warmup)`, with the curve behind it in a `SequentialLR(milestones=[warmup])`).
    pub warmup: u64,
}

impl Schedule {
    /// One rate for all steps.
    pub const CONSTANT: Schedule = Schedule {
        curve: Curve::Constant,
        warmup: 0,
    };

    /// Refuses what is no schedule.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let Curve::Step { every, gamma } = self.curve else {
            return Ok(());
        };
        if every == Some(0) {
            return Err(Error::setting("step_every", "must be at least 1"));
        }
        if !(gamma > 0.0 && gamma <= 1.0) {
            let problem = format!("must be above 0 and at most 1, found {gamma}");
            return Err(Error::setting("step_gamma", problem));
        }
        Ok(())
    }

    /// The factor for `step`, from 0, of a run of `total`.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let (t, steps) = (step - self.warmup, total.saturating_sub(self.warmup));
        // Past its end a curve stays where it ends.
        let share = t.min(steps) as f64 / steps.max(1) as f64;
        match self.curve {
            Curve::Constant => 1.0,
            Curve::Cosine => (1.0 + (PI * share).cos()) / 2.0,
            Curve::Linear => 1.0 - share,
            Curve::Step { every, gamma } => {
                let every = every.unwrap_or(steps.div_ceil(3)).max(1);
                gamma.powf((t / every) as f64)
            }
        }
    }
}
