//! What came of the runs of a sweep, and of each combination.

use std::path::{Path, PathBuf};

use goldfish::data::Score;
use serde::{Serialize, Serializer};
use toml::{Table, Value};

use super::asked::Asked;

/// The page that compares them.
pub(super) const PAGE: &str = "sweep.html";

/// One run.
#[derive(Serialize)]
pub(super) struct Row {
    /// Of what was asked for.
    pub(super) settings: Table,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fold: Option<usize>,
    #[serde(serialize_with = "text")]
    pub(super) run: PathBuf,
    /// The best epoch, and how good it was on the images that were not trained on; absent where the run diverged.
    pub(super) epoch: Option<usize>,
    pub(super) score: Option<Score>,
    /// Of this process, and before it of its training.
    pub(super) seconds: f64,
}

/// How far apart the runs of a combination are: the standard deviation of a sample of so many.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Deviation {
    pub(super) loss: f64,
    pub(super) top1: f64,
    pub(super) top5: f64,
}

/// A combination: the mean of its runs.
#[derive(Clone, Serialize)]
pub(super) struct Mean {
    pub(super) settings: Table,
    /// Runs that have ended, of so many.
    pub(super) runs: usize,
    pub(super) of: usize,
    /// Of these, the ones that diverged.
    pub(super) diverged: usize,
    /// Absent where one of them diverged.
    pub(super) score: Option<Score>,
    /// Of two runs or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deviation: Option<Deviation>,
    pub(super) seconds: f64,
    /// The run, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
}

/// All that is known of the runs.
pub(super) struct Report<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) metric: String,
    /// In the order in which they were trained.
    pub(super) runs: Vec<Row>,
}

impl<'a> Report<'a> {
    /// Of no run yet.
    pub(super) fn new(asked: &'a Asked<'a>) -> Self {
        let metric = asked.common.get("metric").and_then(Value::as_str);
        Report {
            asked,
            metric: metric.unwrap_or("loss").into(),
            runs: Vec::new(),
        }
    }

    /// Of all runs together.
    pub(super) fn seconds(&self) -> f64 {
        self.runs.iter().map(|row| row.seconds).sum()
    }

    pub(super) fn add(&mut self, row: Row) {
        self.runs.push(row);
    }

    /// The page.
    pub(super) fn page(&self) -> PathBuf {
        self.asked.place.folder.join(PAGE)
    }

    /// Whether all runs have ended.
    pub(super) fn complete(&self) -> bool {
        self.runs.len() == self.asked.runs().len()
    }

    /// The best combination of those all of whose runs have ended.
    pub(super) fn best(&self) -> Option<Mean> {
        let means = self.means().into_iter();
        let mut whole = means.filter(|mean| mean.runs == mean.of && mean.score.is_some());
        whole.next()
    }

    /// The combinations of which a run has ended, the best first.
    pub(super) fn means(&self) -> Vec<Mean> {
        let all = self.asked.combinations.iter();
        let mut means: Vec<Mean> = all.filter_map(|settings| self.mean(settings)).collect();
        // What is the less the better.
        let key = |mean: &Mean| match (mean.score, &*self.metric) {
            (None, _) => (f64::INFINITY, f64::INFINITY),
            (Some(score), "top1") => (-score.top1, score.loss),
            (Some(score), "top5") => (-score.top5, score.loss),
            (Some(score), _) => (score.loss, score.loss),
        };
        means.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        means
    }

    /// The runs of a combination.
    pub(super) fn of(&self, settings: &Table) -> Vec<&Row> {
        let all = self.runs.iter();
        all.filter(|row| row.settings == *settings).collect()
    }

    fn mean(&self, settings: &Table) -> Option<Mean> {
        let own = self.of(settings);
        let scores: Vec<Score> = own.iter().filter_map(|row| row.score).collect();
        let diverged = own.len() - scores.len();
        let column = |number: usize| scores.iter().map(move |score| numbers(score)[number]);
        Some(Mean {
            settings: settings.clone(),
            runs: own.len(),
            of: self.asked.kfold.unwrap_or(1),
            diverged,
            score: (diverged == 0).then(|| Score {
                count: scores.iter().map(|score| score.count).sum(),
                loss: mean(column(0)),
                top1: mean(column(1)),
                top5: mean(column(2)),
            }),
            deviation: (diverged == 0 && scores.len() > 1).then(|| Deviation {
                loss: deviation(column(0)),
                top1: deviation(column(1)),
                top5: deviation(column(2)),
            }),
            seconds: own.iter().map(|row| row.seconds).sum(),
            run: match self.asked.kfold {
                Some(_) => None,
                None => Some(own.first()?.run.display().to_string()),
            },
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The standard deviation of a sample of two or more.
fn deviation(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let (count, mean) = (values.len(), mean(values.clone()));
    let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>();
    (squares / (count as f64 - 1.0)).sqrt()
}

/// The columns of a score.
pub(super) fn numbers(score: &Score) -> [f64; 3] {
    [score.loss, score.top1, score.top5]
}

/// A path as JSON has it: what cannot be written is replaced there.
fn text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// The folder of a run as the page links it.
pub(super) fn beside(run: &Path) -> String {
    let name = run.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_that_of_a_sample() {
        // statistics.stdev([2, 4, 4, 4, 5, 5, 7, 9])
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert!((deviation(values.into_iter()) - 2.138_089_935_299_395).abs() < 1e-12);
        assert_eq!(mean(values.into_iter()), 5.0);
    }
}
