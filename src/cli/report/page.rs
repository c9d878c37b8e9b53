//! The page: what it says at a glance, then its parts. It holds all that it shows and asks for nothing.

use goldfish::{Error, Result};
use maud::{Markup, html};
use toml::Value;

use super::branch::branch;
use super::classes::{classes, confusion, percent};
use super::curves::curves;
use super::frame::{duration, frame};
use super::look::Seen;
use super::pictures::pictures;
use super::told::{Told, said, shown};

/// The most bytes of a page: more than a browser shows with pleasure.
const LARGEST: usize = 256 << 20;

/// Everything of the run, as HTML.
pub fn page(told: &Told, chosen: &[usize], seen: &[Seen]) -> Result<String> {
    let name = told.folder.canonicalize().ok();
    let name = name.as_deref().unwrap_or(&told.folder).file_name();
    let name = shown(&name.unwrap_or_default().to_string_lossy());
    let after = told.figures(|one| Some(&one.after));
    let before = told.figures(|one| one.before.as_ref());
    let page = frame(
        &name,
        html! {
            header {
                h1 { (name) }
                p.lead { (lead(told)) }
                @if let Some(note) = note(told) { p.warning { (note) } }
                div.tiles { @for (value, what) in tiles(told) { div { b { (value) } span { (what) } } } }
            }
            main {
                (curves(&told.history, told.whole("best_epoch")))
                @match &after {
                    Some(figures) => {
                        (classes(figures, before.as_ref()))
                        (confusion(figures))
                        (pictures(told, chosen, seen))
                    },
                    None => section {
                        h2 { "Pictures" }
                        p { (unasked(told)) }
                    },
                }
                (branch(told))
                (settings(told))
            }
        },
    );
    let page = page.into_string();
    match page.len() > LARGEST {
        true => Err(Error::data(
            &told.folder,
            format!(
                "its page would have {} MiB: show fewer pictures",
                page.len() >> 20
            ),
        )),
        false => Ok(page),
    }
}

/// One line on what was trained, and how it ended.
fn lead(told: &Told) -> Markup {
    let targets = told.word("targets");
    let images = told.whole("images");
    let ended = told.word("ended").map(|ended| match &*ended {
        "complete" => "ran to its end".into(),
        "early-stop" => "stopped as no epoch was better any more".into(),
        "interrupted" => "was interrupted".into(),
        "diverged" => "ended as its numbers were no longer finite".into(),
        "not-yet" => "has not ended".to_string(),
        other => other.replace('-', " "),
    });
    html! {
        @if let Some(arch) = told.word("arch") { (arch) }
        @if let Some(targets) = targets { ", trained " (targets) }
        @if let Some(images) = images { ", on " (images) (if images == 1 { " picture" } else { " pictures" }) }
        "."
        @if let Some(ended) = ended { " The run " (ended) "." }
    }
}

/// A base that is not trained.
fn note(told: &Told) -> Option<String> {
    let base = told.settings.get("base")?.as_table()?;
    let random = base.get("trained").and_then(Value::as_bool) == Some(false);
    random.then(|| "On a random base: this shows the mechanics, not a classifier.".into())
}

/// The figures that are looked for first.
fn tiles(told: &Told) -> Vec<(String, String)> {
    let mut tiles = Vec::new();
    let after = told.figures(|one| Some(&one.after));
    let before = told.figures(|one| one.before.as_ref());
    if let Some(after) = &after {
        let was = before.map_or(String::new(), |was| {
            format!(", {} before", percent(was.score.top1))
        });
        let count = after.score.count;
        tiles.push((
            percent(after.score.top1),
            format!("of {count} validation pictures right{was}"),
        ));
        tiles.push((format!("{:.3}", after.score.loss), "validation loss".into()));
        tiles.push((
            percent(after.macro_average.f1),
            "F1, mean of the classes".into(),
        ));
        tiles.push((
            percent(after.calibration_error),
            "expected calibration error".into(),
        ));
    }
    let history = &told.history;
    if let (Some(last), Some(step)) = (history.epochs.last(), history.steps.last()) {
        let asked = told.settings.get("epochs").and_then(Value::as_integer);
        let done = match asked {
            Some(asked) if usize::try_from(asked) != Ok(last.epoch) => {
                format!("{} of {asked}", last.epoch)
            }
            _ => last.epoch.to_string(),
        };
        tiles.push((done, format!("epochs, {} steps", step.step)));
    }
    if !history.times.is_empty() {
        tiles.push((duration(history.seconds()), "in training".into()));
    }
    if let Some(bytes) = told.bytes {
        tiles.push((format!("{:.2} MB", bytes as f64 / 1e6), "adapter".into()));
    }
    tiles
}

/// Why nothing is said of any picture.
fn unasked(told: &Told) -> Markup {
    match told.whole("validation_images").unwrap_or(0) {
        0 => {
            html! { "The run had no validation pictures: how good it is on others, nobody has asked." }
        }
        _ => html! {
            "What is said of each validation picture is asked when a run has come to its end, and this one has not."
            @if told.word("ended").as_deref() != Some("diverged") {
                " " code { "goldfish train --resume " (shown(&told.folder.display().to_string())) } " goes on with it."
            }
        },
    }
}

/// Every setting as run.toml has it, and what the run took.
fn settings(told: &Told) -> Markup {
    let mut took = Vec::new();
    for (key, what) in [
        ("device", "device"),
        ("ended", "ended"),
        ("best_epoch", "best epoch"),
    ] {
        if let Some(value) = told.word(key) {
            took.push((what.to_string(), value));
        }
    }
    if !told.history.times.is_empty() {
        took.push(("time".into(), duration(told.history.seconds())));
    }
    let cost = [
        ("memory", &told.cost.memory),
        ("kernels", &told.cost.kernels),
    ];
    took.extend(cost.into_iter().filter_map(|(what, value)| {
        let value = value.as_ref()?;
        Some((what.to_string(), shown(value)))
    }));
    let rows = |rows: &[(String, String)]| {
        html! {
            div.wide { table.settings { tbody { @for (key, value) in rows { tr { th scope="row" { (key) } td { (value) } } } } } }
        }
    };
    let set: Vec<(String, String)> = told
        .settings
        .iter()
        .filter(|(key, _)| *key != "run")
        .map(|(key, value)| (shown(key), said(value)))
        .collect();
    html! {
        section #settings {
            h2 { "The run" }
            (rows(&took))
            details open {
                summary { "Settings" }
                (rows(&set))
            }
        }
    }
}
