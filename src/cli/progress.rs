//! Progress on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::terminal::{is_silent, note};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One task of a known number of steps.
pub struct Progress {
    bar: Option<ProgressBar>,
    label: &'static str,
    unit: &'static str,
    total: u64,
    /// Steps that were done before.
    before: u64,
    done: u64,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// A task of `total` steps, counted in `unit`; 0 where nobody knows.
    pub fn new(label: &'static str, unit: &'static str, total: u64) -> Self {
        Self::from(0, label, unit, total)
    }

    /// The same of which `before` steps were done another time.
    pub fn from(before: u64, label: &'static str, unit: &'static str, total: u64) -> Self {
        let shown = std::io::stderr().is_terminal() && !is_silent();
        let bar = shown.then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let template = "{prefix:8} [{bar:32}] {pos}/{len} {msg} {per_sec} ETA {eta}";
            let style = ProgressStyle::with_template(template)
                .expect("the template is valid")
                .with_key(
                    "per_sec",
                    move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                        // The bar is drawn all the same where this fails.
                        let _ = write!(out, "{:.1} {unit}/s", state.per_sec());
                    },
                )
                .progress_chars("=> ");
            bar.set_style(style);
            bar.set_prefix(label);
            bar.set_position(before);
            bar.reset_eta();
            bar
        });
        // A terminal that cannot move its cursor has no bar.
        let bar = bar.filter(|bar| !bar.is_hidden());
        let now = Instant::now();
        Progress {
            bar,
            label,
            unit,
            total,
            before,
            done: before,
            start: now,
            last_line: now,
        }
    }

    /// `done` steps are finished; `message` says how it goes.
    pub fn set(&mut self, done: u64, message: &str) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_string());
            bar.set_position(done);
        } else if done < self.total && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let Progress {
                label,
                unit,
                total,
                before,
                ..
            } = self;
            let pace = pace(
                done.saturating_sub(*before),
                *total - *before,
                unit,
                self.start.elapsed(),
            );
            note!("{label:8} {done}/{total} {message} {pace}");
        }
    }

    /// Says how it goes, on a bar.
    pub fn say(&mut self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_string());
        }
    }

    /// One more step is finished.
    pub fn one(&mut self) {
        self.set(self.done + 1, "");
    }

    /// Runs `work`, which prints, while no bar is in its way.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// The task is over and nothing stays of it.
    pub fn clear(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The task is over; one line stays.
    pub fn finish(self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let Progress { label, unit, .. } = self;
        // Of some tasks the total is not known before they are done.
        let total = self.total.max(self.done);
        // A clock may not have moved since the start.
        let rate = total.saturating_sub(self.before) as f64 / seconds.max(1e-3);
        let unit_of_total = if unit == "it" { "steps" } else { unit };
        note!("{label:8} {total} {unit_of_total} in {seconds:.1} s ({rate:.1} {unit}/s){message}");
    }
}

/// The measuring of a device's kernels, whose number is known with the first.
#[derive(Default)]
pub struct Tuning(Option<Progress>);

impl Tuning {
    /// `done` are measured of so many.
    pub fn set(&mut self, done: usize, of: usize) {
        let bar = self
            .0
            .get_or_insert_with(|| Progress::new("tuning", "kernels", of as u64));
        bar.set(done as u64, "");
        if done == of
            && let Some(bar) = self.0.take()
        {
            bar.finish("");
        }
    }
}

/// How fast it goes and when it ends, which nobody knows before something is done.
fn pace(done: u64, total: u64, unit: &str, elapsed: Duration) -> String {
    if done == 0 {
        return "ETA unknown".into();
    }
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = (total - done) as f64 / rate;
    format!("{rate:.1} {unit}/s ETA {left:.0} s")
}

#[cfg(test)]
mod tests {
    use super::{Duration, pace};

    #[test]
    fn the_end_is_a_number_or_unknown() {
        let at = |done, seconds| pace(done, 10, "it", Duration::from_secs(seconds));
        assert_eq!(at(0, 12), "ETA unknown");
        assert_eq!(at(0, 0), "ETA unknown");
        assert_eq!(at(4, 2), "2.0 it/s ETA 3 s");
        assert!(!at(1, 0).contains("inf"), "{}", at(1, 0));
    }
}
