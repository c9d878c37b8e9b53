//! What compares the runs of a sweep, as it is written: JSON, a table for the terminal and Markdown, and a page.

use goldfish::Result;
use goldfish::files::write_atomic;
use serde::Serialize;
use toml::Value;

use super::compared::{Mean, Report, Row, numbers};
use super::page::{page, setting};
use crate::cli::terminal::{json, plain};

/// The files beside the runs.
pub(super) const TABLE: &str = "sweep.md";
pub(super) const FACTS: &str = "sweep.json";

/// A report as JSON.
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

/// Writes all of it.
pub(super) fn write(report: &Report) -> Result<()> {
    let folder = report.asked.place.folder;
    let facts = Facts {
        metric: &report.metric,
        seconds: report.seconds(),
        complete: report.complete(),
        best: report.best(),
        combinations: report.means(),
        runs: &report.runs,
    };
    write_atomic(&folder.join(FACTS), json(&facts).as_bytes())?;
    write_atomic(&folder.join(TABLE), table(report).as_bytes())?;
    write_atomic(&report.page(), page(report).as_bytes())
}

/// As a person reads it, and Markdown shows it: each run of one combination, or each combination of several.
pub(super) fn table(report: &Report) -> String {
    let means = report.means();
    let mut text = match &report.asked.combinations[..] {
        [one] if report.asked.kfold.is_some() => parts(&report.of(one), means.first()),
        _ => combinations(&means),
    };
    if let Some(best) = report
        .best()
        .filter(|_| report.asked.combinations.len() > 1)
    {
        text += &format!(
            "\nThe best by {} on images that were not trained on{}: {}. All in {:.1} s.\n",
            report.metric,
            match best.runs {
                1 => String::new(),
                n => format!(" (the mean of {n} parts)"),
            },
            plain(&best.run.unwrap_or_else(|| setting(&best.settings))),
            report.seconds()
        );
    }
    if !report.complete() {
        text += &format!(
            "\n{} of {} runs have ended: `{}` goes on.\n",
            report.runs.len(),
            report.asked.runs().len(),
            plain(&report.asked.go_on())
        );
    }
    text
}

/// What may stand between the bars of a table.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
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
            cell(run)
        );
    };
    for one in runs {
        let (fold, epoch) = (one.fold.unwrap_or(0), one.epoch);
        row(
            &fold.to_string(),
            &epoch.map_or(String::new(), |epoch| epoch.to_string()),
            one.score.as_ref().map(numbers),
            &format!("{:.1}", one.seconds),
            &one.run.display().to_string(),
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
            mean.run.as_deref().map_or(String::new(), cell)
        );
    }
    text
}
