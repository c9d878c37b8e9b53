//! `goldfish sweep`: every combination of some learning rates and ranks trained on the same images, and which is the best.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{ArgMatches, Args as ClapArgs, Command, FromArgMatches};
use goldfish::data::Score;
use goldfish::files::write_atomic;
use goldfish::train::Run;
use goldfish::{Error, Result};
use serde::Serialize;
use toml::Value;

use super::base::BaseArgs;
use super::config::{self, Which};
use super::print;
use super::terminal::{json, note};
use super::train::{self, Shared, TrainArgs};

/// Where it goes unless somebody says otherwise.
const DEFAULT: &str = "runs/sweep";
/// The files beside the runs.
const TABLE: &str = "sweep.md";
const FACTS: &str = "sweep.json";
/// Settings that may have several values.
const SEVERAL: [&str; 2] = ["rank", "lr"];

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a class, as train takes it
    data: PathBuf,
    /// Folder for the runs, one folder each, and the table of them
    #[arg(short, long, value_name = "DIR", default_value = DEFAULT)]
    output: PathBuf,
    /// Replace runs that are in their folders
    #[arg(long)]
    overwrite: bool,
    /// Go on with a sweep that was stopped: runs that have begun are taken up, and those that have ended stay as they are
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Train each combination K times, each time without another part of the images, and compare the means
    #[arg(long, value_name = "K", conflicts_with_all = ["val", "val_split", "fold"])]
    kfold: Option<usize>,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

/// The flags of train of which a sweep takes several values, made such.
pub fn several(program: Command) -> Command {
    program.mut_subcommand("sweep", |sweep| {
        let list = |arg: clap::Arg| arg.value_delimiter(',').action(clap::ArgAction::Append);
        let sweep = sweep.mut_arg("lr", |arg| list(arg).value_name("RATE,..."));
        sweep.mut_arg("rank", |arg| list(arg).value_name("RANK,..."))
    })
}

/// One run.
#[derive(Serialize)]
struct Row {
    /// Of what was asked for.
    settings: toml::Table,
    #[serde(skip_serializing_if = "Option::is_none")]
    fold: Option<usize>,
    run: String,
    /// The best epoch, and how good it was on the images that were not trained on; absent where the run diverged.
    epoch: Option<usize>,
    score: Option<Score>,
    seconds: f64,
}

/// A combination: the mean of its runs.
#[derive(Clone, Serialize)]
struct Mean {
    settings: toml::Table,
    runs: usize,
    /// Absent where one of them diverged.
    score: Option<Score>,
    seconds: f64,
    /// The run, or the first of them.
    run: String,
}

#[derive(Serialize)]
struct Report {
    metric: String,
    seconds: f64,
    best: Option<Mean>,
    combinations: Vec<Mean>,
    runs: Vec<Row>,
}

/// Trains each combination; `matches` is what was typed for the sweep, and `program` the whole command line.
pub fn run(
    args: Args,
    program: &Command,
    matches: &ArgMatches,
    device: Option<String>,
) -> Result<()> {
    if !args.settings.validates() && args.kfold.is_none() {
        return Err(Error::Usage(
            "a sweep compares by images that are not trained on: add --val-split 0.2, --val DIR or --kfold 5".into(),
        ));
    }
    if args.kfold.is_some_and(|k| k < 2) {
        return Err(Error::setting("kfold", "must be at least 2"));
    }
    let (Some(train), Some(own)) = (
        program.find_subcommand("train"),
        program.find_subcommand("sweep"),
    ) else {
        return Err(Error::Usage("this program has no train".into()));
    };
    let mut typed = config::table(own, matches, Which::Typed);
    typed.remove("kfold");
    let combinations = combinations(&mut typed);
    let folds: Vec<Option<usize>> = match args.kfold {
        Some(k) => (1..=k).map(Some).collect(),
        None => vec![None],
    };
    let start = Instant::now();
    let of = combinations.len() * folds.len();
    let (mut rows, mut shared): (Vec<Row>, Shared) = Default::default();
    for settings in &combinations {
        for &fold in &folds {
            let output = args.output.join(name(settings, fold));
            let mut table = typed.clone();
            table.extend(settings.clone());
            if let (Some(fold), Some(k)) = (fold, args.kfold) {
                table.insert("fold".into(), format!("{fold}/{k}").into());
            }
            note!("sweep    {}/{of}: {}", rows.len() + 1, output.display());
            let began = Instant::now();
            if args.resume {
                Run::repair(&output)?;
            }
            let begun = args.resume.then(|| Run::settings(&output).ok()).flatten();
            let mut before = None;
            if let Some((path, mut settings)) = begun {
                train::unchanged(&settings, &table)?;
                // What is not typed again is as it was.
                settings.retain(|key, _| !table.contains_key(key) && key != "data");
                before = Some((path, settings));
            }
            let one = parsed(train, &table, before.as_ref(), &output, args.overwrite)?;
            let mut request = one.request(&args.data, device.clone());
            request.resume = before.is_some();
            let (score, epoch) = match train::job_after(request, &mut shared) {
                Ok(job) => {
                    let best = job.trained.best.as_ref();
                    let found = best.map(|best| (best.score, best.epoch));
                    shared = train::leave(job);
                    found.unzip()
                }
                // A rate that is too high is one of the answers.
                Err(error @ Error::NonFinite { .. }) => {
                    note!("notice   {}: {error}", output.display());
                    (None, None)
                }
                Err(error) => return Err(error),
            };
            rows.push(Row {
                settings: settings.clone(),
                fold,
                run: output.display().to_string(),
                epoch,
                score,
                seconds: began.elapsed().as_secs_f64(),
            });
        }
    }
    let metric = match matches.get_raw("metric").and_then(|mut raw| raw.next()) {
        Some(metric) => metric.to_string_lossy().into_owned(),
        None => "loss".into(),
    };
    let combinations = means(&combinations, &rows, &metric);
    let report = Report {
        seconds: start.elapsed().as_secs_f64(),
        best: combinations
            .first()
            .filter(|best| best.score.is_some())
            .cloned(),
        metric,
        combinations,
        runs: rows,
    };
    let table = report.table();
    write_atomic(&args.output.join(FACTS), json(&report).as_bytes())?;
    write_atomic(&args.output.join(TABLE), table.as_bytes())?;
    print(&table)
}

/// Every combination of what has several values in `typed`, where they are taken out, in an order in which neighbours have
/// the most in common.
fn combinations(typed: &mut toml::Table) -> Vec<toml::Table> {
    let mut all = vec![toml::Table::new()];
    for key in SEVERAL {
        let values = match typed.remove(key) {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => continue,
        };
        let with = |table: &toml::Table, value: &Value| {
            let mut table = table.clone();
            table.insert(key.into(), value.clone());
            table
        };
        let longer = all
            .iter()
            .map(|table| values.iter().map(|v| with(table, v)).collect());
        all = longer.collect::<Vec<Vec<_>>>().concat();
    }
    let mut different: Vec<toml::Table> = Vec::new();
    for table in all {
        if !different.contains(&table) {
            different.push(table);
        }
    }
    different
}

/// What a run's folder is called.
fn name(settings: &toml::Table, fold: Option<usize>) -> String {
    let settings = ["lr", "rank"]
        .iter()
        .filter_map(|key| Some(format!("{key}-{}", settings.get(*key)?)));
    let words: Vec<String> = settings
        .chain(fold.map(|fold| format!("fold-{fold}")))
        .collect();
    match words.is_empty() {
        true => "run".into(),
        false => words.join("_"),
    }
}

/// What `train` would have been given for one run.
fn parsed(
    train: &Command,
    table: &toml::Table,
    before: Option<&(PathBuf, toml::Table)>,
    output: &Path,
    overwrite: bool,
) -> Result<train::Args> {
    let mut words = vec![OsString::from("train")];
    let mut named = OsString::from("--output=");
    named.push(output);
    words.push(named);
    words.extend(overwrite.then(|| "--overwrite".into()));
    if let Some((path, before)) = before {
        words.extend(config::arguments(train, before, path)?);
    }
    words.extend(config::arguments(train, table, Path::new(""))?);
    let said = |error: clap::Error| Error::Usage(error.to_string());
    let matches = train.clone().try_get_matches_from(words).map_err(said)?;
    let mut args = train::Args::from_arg_matches(&matches).map_err(said)?;
    args.set_table(config::table(train, &matches, Which::All));
    Ok(args)
}

/// The combinations, the best first.
fn means(combinations: &[toml::Table], rows: &[Row], metric: &str) -> Vec<Mean> {
    let mean = |settings: &toml::Table| {
        let own: Vec<&Row> = rows
            .iter()
            .filter(|row| row.settings == *settings)
            .collect();
        let scores: Option<Vec<Score>> = own.iter().map(|row| row.score).collect();
        let mean = |scores: &[Score], of: fn(&Score) -> f64| {
            scores.iter().map(of).sum::<f64>() / scores.len() as f64
        };
        Mean {
            settings: settings.clone(),
            runs: own.len(),
            score: scores.map(|scores| Score {
                count: scores.iter().map(|score| score.count).sum(),
                top1: mean(&scores, |score| score.top1),
                top5: mean(&scores, |score| score.top5),
                loss: mean(&scores, |score| score.loss),
            }),
            seconds: own.iter().map(|row| row.seconds).sum(),
            run: own.first().map_or(String::new(), |row| row.run.clone()),
        }
    };
    let mut means: Vec<Mean> = combinations.iter().map(mean).collect();
    // What is the less the better.
    let key = |mean: &Mean| match (mean.score, metric) {
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

impl Report {
    /// As a person reads it, and Markdown shows it.
    fn table(&self) -> String {
        let mut text = format!(
            "| {:10} | {:6} | {:>8} | {:>7} | {:>7} | {:>7} | run |\n|---|---|---|---|---|---|---|\n",
            "lr", "rank", "loss", "top-1 %", "top-5 %", "seconds"
        );
        for mean in &self.combinations {
            let value = |key: &str| {
                mean.settings
                    .get(key)
                    .map_or("default".into(), Value::to_string)
            };
            let score = match mean.score {
                None => format!("{:>8} | {:>7} | {:>7}", "diverged", "", ""),
                Some(score) => format!(
                    "{:>8.4} | {:>7.1} | {:>7.1}",
                    score.loss,
                    score.top1 * 100.0,
                    score.top5 * 100.0
                ),
            };
            text += &format!(
                "| {:10} | {:6} | {score} | {:>7.1} | {} |\n",
                value("lr"),
                value("rank"),
                mean.seconds,
                mean.run
            );
        }
        if let Some(best) = &self.best {
            text += &format!(
                "\nThe best by {} on images that were not trained on{}: {}. All in {:.1} s.\n",
                self.metric,
                match best.runs {
                    1 => String::new(),
                    n => format!(" (the mean of {n} parts)"),
                },
                best.run,
                self.seconds
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_is_there_once() {
        let mut typed: toml::Table = "lr = [0.001, 0.0003, 0.001]\nrank = [4, 8]\nseed = 3"
            .parse()
            .expect("a table");
        let all = combinations(&mut typed);
        let names: Vec<String> = all.iter().map(|table| name(table, None)).collect();
        assert_eq!(
            names,
            [
                "lr-0.001_rank-4",
                "lr-0.0003_rank-4",
                "lr-0.001_rank-8",
                "lr-0.0003_rank-8"
            ]
        );
        assert_eq!(typed.len(), 1, "the rest is of all");
        assert_eq!(name(&all[0], Some(2)), "lr-0.001_rank-4_fold-2");
        assert_eq!(combinations(&mut toml::Table::new()).len(), 1);
    }
}
