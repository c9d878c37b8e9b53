//! Runs of which nothing is left to do.

use std::path::Path;

use goldfish::train::Ended;
use toml::{Table, Value};

use crate::cli::report;
use crate::cli::terminal::plain;

/// How the run with these settings ended, as they say it.
pub(in crate::cli) fn ended(settings: &Table) -> Option<Ended> {
    let ended = settings.get("run")?.get("ended")?.clone();
    ended.try_into().ok()
}

/// Whether nothing is left to do of the run in `folder` with these settings, where it is to have so many epochs.
pub(in crate::cli) fn whole(folder: &Path, settings: &Table, epochs: usize) -> bool {
    let asked = settings.get("epochs").and_then(Value::as_integer);
    matches!(ended(settings), Some(Ended::Complete | Ended::EarlyStop))
        && asked == i64::try_from(epochs).ok()
        // What is written last.
        && folder.join(report::FILE).exists()
}

/// Says so.
pub(super) fn nothing_left(folder: &Path, settings: &Table) -> String {
    let count = |key: &str| {
        let count = settings.get("run").and_then(|run| run.get(key));
        count.and_then(Value::as_integer).unwrap_or(0)
    };
    let (epochs, steps) = (count("epochs"), count("steps"));
    let folder = plain(&folder.display().to_string());
    let why = match ended(settings) {
        Some(Ended::EarlyStop) => "no epoch was better any more".into(),
        _ => format!("another --epochs than {epochs} would go on"),
    };
    format!("complete {folder}: {epochs} epochs, {steps} steps; nothing is left to do ({why})\n")
}
