//! What compares the runs of a sweep: as JSON, as a table for the terminal and Markdown, and as a page.

use std::path::{Path, PathBuf};

use goldfish::Result;
use goldfish::data::Score;
use goldfish::files::write_atomic;
use serde::Serialize;
use toml::{Table, Value};

use super::asked::Asked;
use super::page::page;
use crate::cli::terminal::{json, plain};

/// The files beside the runs.
const TABLE: &str = "sweep.md";
const FACTS: &str = "sweep.json";
const PAGE: &str = "sweep.html";

/// One run.
#[derive(Serialize)]
pub(super) struct Row {
    /// Of what was asked for.
    pub(super) settings: Table,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fold: Option<usize>,
    pub(super) run: String,
    /// The best epoch, and how good it was on the images that were not trained on; absent where the run diverged.
    pub(super) epoch: Option<usize>,
    pub(super) score: Option<Score>,
    /// Of this process; of a run that had ended before, those of its training.
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
    /// The run, or the first of them.
    pub(super) run: String,
}

/// All that is known of the runs.
pub(super) struct Report<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) metric: String,
    pub(super) seconds: f64,
    /// In the order in which they were trained.
    pub(super) runs: Vec<Row>,
}

/// The same as it is written.
#[derive(Serialize)]
struct Facts<'a> {
    metric: &'a str,
    seconds: f64,
    /// Whether all runs that were asked for have ended.
    complete: bool,
    best: Option<Mean>,
    combinations: Vec<Mean>,
    runs: &'a [Row],
}

impl<'a> Report<'a> {
    /// Of no run yet.
    pub(super) fn new(asked: &'a Asked<'a>) -> Self {
        let metric = asked.common.get("metric").and_then(Value::as_str);
        Report {
            asked,
            metric: metric.unwrap_or("loss").into(),
            seconds: 0.0,
            runs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.runs.push(row);
    }

    /// The page.
    pub(super) fn page(&self) -> PathBuf {
        self.asked.place.folder.join(PAGE)
    }

    /// Writes all of it, after so many seconds.
    pub(super) fn write(&mut self, seconds: f64) -> Result<()> {
        self.seconds = seconds;
        let folder = self.asked.place.folder;
        let facts = Facts {
            metric: &self.metric,
            seconds,
            complete: self.complete(),
            best: self.best(),
            combinations: self.means(),
            runs: &self.runs,
        };
        write_atomic(&folder.join(FACTS), json(&facts).as_bytes())?;
        write_atomic(&folder.join(TABLE), self.table().as_bytes())?;
        write_atomic(&self.page(), page(self).as_bytes())
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
            run: own.first()?.run.clone(),
        })
    }

    /// As a person reads it, and Markdown shows it: each run of one combination, or each combination of several.
    pub(super) fn table(&self) -> String {
        let means = self.means();
        let mut text = match &self.asked.combinations[..] {
            [one] if self.asked.kfold.is_some() => parts(&self.of(one), means.first()),
            _ => combinations(&means),
        };
        let folder = |run: &str| plain(run);
        if let Some(best) = self.best().filter(|_| self.asked.combinations.len() > 1) {
            text += &format!(
                "\nThe best by {} on images that were not trained on{}: {}. All in {:.1} s.\n",
                self.metric,
                match best.runs {
                    1 => String::new(),
                    n => format!(" (the mean of {n} parts)"),
                },
                folder(&best.run),
                self.seconds
            );
        }
        if !self.complete() {
            text += &format!(
                "\n{} of {} runs have ended: `{}` goes on.\n",
                self.runs.len(),
                self.asked.runs().len(),
                plain(&self.asked.go_on())
            );
        }
        text
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

/// A score in three columns; what is in its place where there is none.
fn columns(score: Option<[f64; 3]>) -> String {
    match score {
        None => format!("{:>8} | {:>7} | {:>7}", "diverged", "", ""),
        Some([loss, top1, top5]) => {
            format!(
                "{loss:>8.4} | {:>7.1} | {:>7.1}",
                top1 * 100.0,
                top5 * 100.0
            )
        }
    }
}

/// The columns of a score.
fn numbers(score: &Score) -> [f64; 3] {
    [score.loss, score.top1, score.top5]
}

/// A row a part of the images, and what they are together.
fn parts(runs: &[&Row], mean: Option<&Mean>) -> String {
    let mut text = format!(
        "| {:9} | {:>5} | {:>8} | {:>7} | {:>7} | {:>7} | run |\n|---|---|---|---|---|---|---|\n",
        "fold", "epoch", "loss", "top-1 %", "top-5 %", "seconds"
    );
    let mut row = |name: &str, epoch: &str, score: Option<[f64; 3]>, seconds: &str, run: &str| {
        text += &format!(
            "| {name:9} | {epoch:>5} | {} | {seconds:>7} | {} |\n",
            columns(score),
            plain(run)
        );
    };
    for one in runs {
        let (fold, epoch) = (one.fold.unwrap_or(0), one.epoch);
        row(
            &fold.to_string(),
            &epoch.map_or(String::new(), |epoch| epoch.to_string()),
            one.score.as_ref().map(numbers),
            &format!("{:.1}", one.seconds),
            &one.run,
        );
    }
    if let Some(mean) = mean {
        let all = format!("{:.1}", mean.seconds);
        row("mean", "", mean.score.as_ref().map(numbers), &all, "");
        if let Some(apart) = mean.deviation {
            let apart = [apart.loss, apart.top1, apart.top5];
            row("deviation", "", Some(apart), "", "");
        }
    }
    text
}

/// A row a combination, with how far apart its runs are where there are several.
fn combinations(means: &[Mean]) -> String {
    let apart = means.iter().any(|mean| mean.of > 1);
    let more = |cell: [String; 3]| match apart {
        true => format!(" {:>8} | {:>7} | {:>7} |", cell[0], cell[1], cell[2]),
        false => String::new(),
    };
    let mut text = format!(
        "| {:10} | {:6} | {:>8} | {:>7} | {:>7} |{} {:>7} | run |\n|---|---|---|---|---|{}---|---|\n",
        "lr",
        "rank",
        "loss",
        "top-1 %",
        "top-5 %",
        more(["± loss", "± top-1", "± top-5"].map(String::from)),
        "seconds",
        if apart { "---|---|---|" } else { "" }
    );
    for mean in means {
        let value = |key: &str| {
            let value = mean.settings.get(key);
            value.map_or("default".into(), Value::to_string)
        };
        let deviation = mean.deviation.map(|apart| {
            [
                format!("{:.4}", apart.loss),
                format!("{:.1}", apart.top1 * 100.0),
                format!("{:.1}", apart.top5 * 100.0),
            ]
        });
        text += &format!(
            "| {:10} | {:6} | {} |{} {:>7.1} | {} |\n",
            value("lr"),
            value("rank"),
            columns(mean.score.as_ref().map(numbers)),
            more(deviation.unwrap_or_default()),
            mean.seconds,
            plain(&mean.run)
        );
    }
    text
}

/// The folder of a run as the page links it.
pub(super) fn beside(run: &str) -> String {
    let name = Path::new(run).file_name().unwrap_or_default();
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
