//! What a run's `metrics.jsonl` and `timing.jsonl` tell, read back: for a report, for spreadsheets as `metrics.csv`, and for
//! TensorBoard as event files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::outcome::Timing;
use super::watch::{EpochRecord, StepRecord};
use crate::data::Score;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::formats::events::{self, Scalar};

/// One line a step and one an epoch.
pub const METRICS: &str = "metrics.jsonl";
/// One line an epoch with the time when it was done.
pub const TIMING: &str = "timing.jsonl";
/// [`METRICS`] as a table.
pub const TABLE: &str = "metrics.csv";
/// The folder of [`METRICS`] as event files.
pub const EVENTS: &str = "events";
/// The most bytes that are read of a file: millions of steps.
const LARGEST: u64 = 1 << 30;

/// A run from its first step to its last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Every step.
    pub steps: Vec<StepRecord>,
    /// Every epoch that came to its end.
    pub epochs: Vec<EpochRecord>,
    /// The time of each; empty where nothing is known of it.
    pub times: Vec<Timing>,
}

/// A line of [`METRICS`], of either kind.
#[derive(Deserialize)]
struct Line {
    step: u64,
    epoch: usize,
    lr: f64,
    loss: Option<f32>,
    train_loss: Option<f64>,
    validation: Option<Score>,
    best: Option<bool>,
}

impl History {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// [`Error::Io`] where there are no metrics, [`Error::Data`] where a line is none.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut history = History::default();
        let path = folder.join(METRICS);
        for (number, line) in lines::<Line>(&path)? {
            let Line {
                step,
                epoch,
                lr,
                validation,
                best,
                ..
            } = line;
            match (line.loss, line.train_loss) {
                (Some(loss), _) => history.steps.push(StepRecord {
                    step,
                    epoch,
                    loss,
                    lr,
                }),
                (None, Some(train_loss)) => history.epochs.push(EpochRecord {
                    epoch,
                    step,
                    train_loss,
                    lr,
                    validation,
                    best,
                }),
                (None, None) => {
                    let problem = format!("line {number} has neither a loss nor a train_loss");
                    return Err(Error::data(&path, problem));
                }
            }
        }
        let path = folder.join(TIMING);
        if path.exists() {
            history.times = lines(&path)?.into_iter().map(|(_, time)| time).collect();
        }
        Ok(history)
    }

    /// Writes [`TABLE`] and the files of [`EVENTS`] into `folder`, whatever stood there.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full or the folder read-only.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomic(&folder.join(TABLE), self.table().as_bytes())?;
        let validated = self.epochs.iter().any(|epoch| epoch.validation.is_some());
        // Two folders are two runs in TensorBoard, whose curves of one name it draws together.
        let curves = [("train", self.training(), true)];
        let more = [("validation", self.validation(), validated)];
        for (name, scalars, wanted) in curves.into_iter().chain(more) {
            if wanted {
                let folder = folder.join(EVENTS).join(name);
                fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
                let path = folder.join(events::FILE);
                write_atomic(&path, &events::events(scalars))?;
            }
        }
        Ok(())
    }

    /// A row a step; what is known of an epoch stands in the row of its last step.
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<u64, [String; 7]> = BTreeMap::new();
        for step in &self.steps {
            let row = rows.entry(step.step).or_default();
            row[0] = step.epoch.to_string();
            row[1] = step.loss.to_string();
            row[2] = step.lr.to_string();
        }
        for epoch in &self.epochs {
            let row = rows.entry(epoch.step).or_default();
            row[0] = epoch.epoch.to_string();
            row[2] = epoch.lr.to_string();
            row[3] = epoch.train_loss.to_string();
            if let Some(score) = epoch.validation {
                row[4] = score.loss.to_string();
                row[5] = score.top1.to_string();
                row[6] = score.top5.to_string();
            }
        }
        let heading =
            "step,epoch,loss,lr,train_loss,validation_loss,validation_top1,validation_top5";
        let rows = rows.into_iter();
        let rows = rows.map(|(step, cells)| format!("{step},{}\n", cells.join(",")));
        format!("{heading}\n{}", rows.collect::<String>())
    }

    /// Seconds that the run took, all processes together. What one did after its last whole epoch is not in it.
    pub fn seconds(&self) -> f64 {
        (0..self.times.len()).map(|epoch| self.took(epoch)).sum()
    }

    /// Seconds that the epoch of a line of [`TIMING`] took: since the one before, or since a process took the run up.
    fn took(&self, line: usize) -> f64 {
        let seconds = self.times[line].seconds;
        let before = line.checked_sub(1).map(|before| self.times[before].seconds);
        seconds - before.filter(|&before| before <= seconds).unwrap_or(0.0)
    }

    /// When a step ended, in seconds since 1970: its epoch's time is shared out evenly. 0 where nothing is known of it.
    fn time(&self, step: u64) -> f64 {
        let after = self.times.partition_point(|time| time.step < step);
        let Some(end) = self.times.get(after) else {
            return self.times.last().map_or(0.0, |last| last.unix);
        };
        let before = after.checked_sub(1).map_or(0, |i| self.times[i].step);
        let steps = end.step.saturating_sub(before).max(1);
        end.unix - self.took(after) * end.step.saturating_sub(step) as f64 / steps as f64
    }

    /// Loss and learning rate of every step, and the mean loss of every epoch.
    fn training(&self) -> Vec<Scalar<'static>> {
        let mut points = Vec::new();
        for step in &self.steps {
            points.push(self.point("step/loss", step.step, step.loss));
            points.push(self.point("step/lr", step.step, step.lr as f32));
        }
        for epoch in &self.epochs {
            points.push(self.point("epoch/loss", epoch.step, epoch.train_loss as f32));
        }
        points
    }

    /// Loss and accuracy on the validation data.
    fn validation(&self) -> Vec<Scalar<'static>> {
        let scores = self
            .epochs
            .iter()
            .filter_map(|e| Some((e.step, e.validation?)));
        let points = scores.flat_map(|(step, score)| {
            [
                ("epoch/loss", score.loss),
                ("epoch/top1", score.top1),
                ("epoch/top5", score.top5),
            ]
            .map(|(tag, value)| self.point(tag, step, value as f32))
        });
        points.collect()
    }

    fn point(&self, tag: &'static str, step: u64, value: f32) -> Scalar<'static> {
        Scalar {
            tag,
            step,
            time: self.time(step),
            value,
        }
    }
}

/// The lines of a file with their numbers. What comes after the last line's end was being written when the run was cut.
pub(super) fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>> {
    let file = fs::File::open(path).map_err(Error::io(path, "open"))?;
    let mut text = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(Error::io(path, "read"))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::data(
            path,
            format!("is larger than {} MiB", LARGEST >> 20),
        ));
    }
    let whole = text.iter().rposition(|&byte| byte == b'\n');
    let text = &text[..whole.unwrap_or(0)];
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let parsed = lines.map(|(index, line)| {
        let number = index + 1;
        let wrong = |e| Error::data(path, format!("line {number}: {e}"));
        Ok((number, serde_json::from_slice(line).map_err(wrong)?))
    });
    parsed.collect()
}
