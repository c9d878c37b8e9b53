//! The runs of a sweep as a page: which is the best, how each went, and a link to each one's own.

use goldfish::data::Score;
use goldfish::train::history::History;
use maud::{Markup, html};
use toml::Table;

use super::compared::{Deviation, Mean, Report, Row, beside};
use crate::cli::report::{self, Chart, Curve, chart, duration, frame, percent, said, shown};

/// Colours in the style.
const COLOURS: [&str; 8] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];

/// Everything of the runs that have ended, as HTML.
pub(super) fn page(report: &Report) -> String {
    let means = report.means();
    let folder = report.asked.place.folder;
    let name = folder.canonicalize().ok();
    let name = name.as_deref().unwrap_or(folder).file_name();
    let name = shown(&name.unwrap_or_default().to_string_lossy());
    let body = html! {
        header {
            h1 { (name) }
            p.lead { (lead(report)) }
            @if !report.complete() {
                p.warning {
                    (report.runs.len()) " of " (report.asked.runs().len()) " runs have ended. "
                    code { (shown(&report.asked.go_on())) } " goes on."
                }
            }
            div.tiles { @for (value, what) in tiles(report) { div { b { (value) } span { (what) } } } }
        }
        main {
            section #runs { h2 { "Runs" } (table(report, &means)) }
            (curves(report, &means))
            section #settings {
                h2 { "What all have in common" }
                div.wide {
                    table.settings {
                        tbody {
                            @for (key, value) in &report.asked.common {
                                tr { th scope="row" { (shown(key)) } td { (said(value)) } }
                            }
                        }
                    }
                }
            }
        }
    };
    frame(&name, body).into_string()
}

/// What was done, in one line.
fn lead(report: &Report) -> String {
    let (combinations, metric) = (report.asked.combinations.len(), &report.metric);
    match (combinations, report.asked.kfold) {
        (1, Some(k)) => {
            format!("Trained {k} times, each time without another of {k} parts of the images.")
        }
        (n, Some(k)) => format!(
            "{n} combinations, each trained {k} times without another of {k} parts of the images; the best by {metric} first."
        ),
        (1, None) => {
            "Trained once; how good it is, images that were not trained on say.".to_string()
        }
        (n, None) => format!(
            "{n} combinations on the same images, the best by {metric} on those not trained on first."
        ),
    }
}

/// The figures that are looked for first.
fn tiles(report: &Report) -> Vec<(String, String)> {
    let mut tiles = Vec::new();
    if let Some(best) = report.best() {
        let of = match report.asked.combinations.len() {
            1 => "on images that were not trained on".to_string(),
            _ => format!("the best: {}", setting(&best.settings)),
        };
        if let Some(score) = best.score {
            let apart = |value: fn(&Deviation) -> f64, scale: f64, digits: usize| {
                let apart = best.deviation.as_ref().map(value);
                apart.map_or(String::new(), |apart| {
                    format!(" ± {:.*}", digits, apart * scale)
                })
            };
            let top1 = format!(
                "{:.1}{}\u{a0}%",
                score.top1 * 100.0,
                apart(|d| d.top1, 100.0, 1)
            );
            tiles.push((top1, format!("right (top-1), {of}")));
            let loss = format!("{:.4}{}", score.loss, apart(|d| d.loss, 1.0, 4));
            tiles.push((loss, "validation loss".into()));
        }
    }
    tiles.push((report.runs.len().to_string(), "runs".into()));
    tiles.push((duration(report.seconds()), "all together".into()));
    tiles
}

/// A combination in words.
pub(super) fn setting(settings: &Table) -> String {
    let words = settings
        .iter()
        .map(|(key, value)| format!("{key} {}", said(value)));
    words.collect::<Vec<_>>().join(", ")
}

/// What a run is called.
fn called(row: &Row) -> String {
    let fold = row.fold.map(|fold| format!("fold {fold}"));
    let words: Vec<String> = [Some(setting(&row.settings)).filter(|s| !s.is_empty()), fold]
        .into_iter()
        .flatten()
        .collect();
    match words.is_empty() {
        true => "run".into(),
        false => words.join(", "),
    }
}

/// The colour of a run: its combination's where there are several, its own where there is one.
fn colour(report: &Report, row: &Row) -> &'static str {
    let combinations = &report.asked.combinations;
    let number = match combinations.len() {
        1 => row.fold.unwrap_or(1) - 1,
        _ => combinations
            .iter()
            .position(|own| *own == row.settings)
            .unwrap_or(0),
    };
    COLOURS[number % COLOURS.len()]
}

fn table(report: &Report, means: &[Mean]) -> Markup {
    let best = report.best().map(|best| best.settings);
    let several = report.asked.combinations.len() > 1;
    html! {
        div.wide {
            table.figures {
                thead {
                    tr {
                        th { "run" } th.number { "loss" } th.number { "top-1" } th.number { "top-5" }
                        th.number { "best epoch" } th.number { "time" } th { "page" }
                    }
                }
                tbody {
                    @for mean in means {
                        @let rows = report.of(&mean.settings);
                        @if report.asked.kfold.is_some() {
                            tr.best[several && best.as_ref() == Some(&mean.settings)] {
                                th scope="row" { (together(mean)) }
                                (figures(mean.score.as_ref(), mean.deviation.as_ref()))
                                td {} td.number { (duration(mean.seconds)) } td {}
                            }
                        }
                        @for row in rows {
                            tr.part[row.fold.is_some()].best[row.fold.is_none() && several && best.as_ref() == Some(&row.settings)] {
                                th scope="row" {
                                    span.key.(colour(report, row)) {}
                                    @match row.fold { Some(fold) => { "fold " (fold) }, None => (called(row)) }
                                }
                                (figures(row.score.as_ref(), None))
                                td.number { @if let Some(epoch) = row.epoch { (epoch) } }
                                td.number { (duration(row.seconds)) }
                                td { (link(row)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A link to a run's own page, where it has one.
fn link(row: &Row) -> Markup {
    let name = beside(&row.run);
    match row.run.join(report::FILE).exists() {
        true => html! { a href=(format!("{name}/{}", report::FILE)) { (name) } },
        false => html! { (name) },
    }
}

/// What the runs of a combination are called together.
fn together(mean: &Mean) -> String {
    let name = match mean.settings.is_empty() {
        true => "mean ± standard deviation".into(),
        false => setting(&mean.settings),
    };
    match mean.runs == mean.of {
        true => name,
        false => format!("{name} ({} of {})", mean.runs, mean.of),
    }
}

fn figures(score: Option<&Score>, apart: Option<&Deviation>) -> Markup {
    let share = |value: f64, apart: Option<f64>| match apart {
        Some(apart) => format!("{:.1} ± {}", value * 100.0, percent(apart)),
        None => percent(value),
    };
    html! {
        @match score {
            Some(score) => {
                td.number { (format!("{:.4}", score.loss)) @if let Some(apart) = apart { (format!(" ± {:.4}", apart.loss)) } }
                td.number { (share(score.top1, apart.map(|a| a.top1))) }
                td.number { (share(score.top5, apart.map(|a| a.top5))) }
            },
            None => { td.number { "diverged" } td {} td {} },
        }
    }
}

/// A line a run: what was lost on the images that were not trained on, and how often it was right, epoch by epoch.
fn curves(report: &Report, means: &[Mean]) -> Markup {
    let rows = means.iter().flat_map(|mean| report.of(&mean.settings));
    let told: Vec<(&Row, History)> = rows
        .filter_map(|row| Some((row, History::read(&row.run).ok()?)))
        .collect();
    let keys = told.len() <= COLOURS.len();
    let drawn = |value: fn(&Score) -> f64| {
        let curves = told.iter().map(|(row, history)| Curve {
            name: called(row),
            class: colour(report, row),
            key: keys,
            points: points(history, value),
        });
        curves.filter(|curve| !curve.points.is_empty()).collect()
    };
    // What the worst lose would leave nothing to be seen of the others.
    let of_best = told.iter().find(|(row, _)| row.score.is_some());
    let lost = of_best.map(|(_, history)| points(history, |score| score.loss));
    let most = lost.into_iter().flatten().map(|(_, loss)| 2.0 * loss);
    let most = most.reduce(f64::max).unwrap_or(f64::INFINITY);
    let chart_of = |title, shares, most, value| Chart {
        title,
        x: "epoch",
        shares,
        curves: drawn(value),
        most,
        mark: None,
    };
    html! {
        section #curves {
            h2 { "How they went" }
            div.charts {
                (chart(&chart_of("Validation loss", false, most, |score| score.loss)))
                (chart(&chart_of("Right (top-1)", true, 1.0, |score| score.top1)))
            }
        }
    }
}

fn points(history: &History, value: fn(&Score) -> f64) -> Vec<(f64, f64)> {
    let epochs = history.epochs.iter();
    let points = epochs.filter_map(|epoch| Some((epoch.epoch as f64, value(&epoch.validation?))));
    points.collect()
}
