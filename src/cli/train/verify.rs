//! `train --verify-determinism`: the same run once more, from the images on, and whether it came to the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use goldfish::train::{FILES, TIMES, is_own, step_of};
use goldfish::{Error, Remedy, Result};

use super::args::Request;
use crate::cli::store::StoreArg;
use crate::cli::terminal::note;

/// What tells of where a run lies: paths in them are from there.
const PLACES: [&str; 2] = ["run.toml", "validation.jsonl"];

/// Does the run in `folder`, which is what `request` asked for, again beside it by `train`, and compares.
pub(super) fn again(
    request: &Request,
    folder: &Path,
    train: impl FnOnce(Request) -> Result<()>,
) -> Result<()> {
    let beside = tempfile::Builder::new()
        .prefix(".goldfish-again-")
        .tempdir_in(
            folder
                .parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )
        .map_err(Error::io(folder, "make a folder beside"))?;
    let mut settings = request.settings.clone();
    // What another run computed would be taken for what this one computes.
    settings.store.store = StoreArg::Off;
    note!("again    the same run once more, to compare");
    let output = beside.path().join("run");
    train(Request {
        output: &output,
        overwrite: false,
        resume: false,
        settings: &settings,
        ..request.clone()
    })?;
    let (same, other) = compared([folder, &output])?;
    if !other.is_empty() {
        let problem = format!(
            "two runs differ in {}: this device, or its driver, does not compute the same twice",
            other.join(", ")
        );
        return Err(Error::device(problem).with(Remedy::OtherDevice));
    }
    note!(
        "verified two runs came to the same bytes: {}",
        same.join(", ")
    );
    Ok(())
}

/// The files that two runs have in common, and those in which they differ.
fn compared(runs: [&Path; 2]) -> Result<(Vec<String>, Vec<String>)> {
    let mut names = BTreeSet::new();
    for run in runs {
        for name in FILES.iter().filter(|name| !of_the_moment(name)) {
            let below = below(run, Path::new(name))?;
            names.extend(below.into_iter().filter(|name| is_own(Path::new(name))));
        }
    }
    let is_state = |name: &str| step_of(Path::new(name)).is_some();
    // By name, those of later steps come later.
    let last = names.iter().rfind(|name| is_state(name)).cloned();
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for name in names {
        let [one, two] = runs.map(|run| fs::read(run.join(&name)).ok());
        match (one, two) {
            (Some(one), Some(two)) if one == two => same.push(name),
            // By the clock, a run is put down after other steps than another one; at its end after the same.
            (None, _) | (_, None) if is_state(&name) && Some(&name) != last.as_ref() => {}
            _ => other.push(name),
        }
    }
    Ok((same, other))
}

/// Whether two runs that are alike need not have it alike.
fn of_the_moment(name: &str) -> bool {
    TIMES.contains(&name) || PLACES.contains(&name)
}

/// The files of a run by this name, of a folder those in it.
fn below(run: &Path, name: &Path) -> Result<Vec<String>> {
    let path = run.join(name);
    if path.is_file() {
        return Ok(vec![name.to_string_lossy().into_owned()]);
    }
    let Ok(entries) = fs::read_dir(&path) else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(&path, "list"))?;
        all.extend(below(run, &name.join(entry.file_name()))?);
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run's folder with these files.
    fn run(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        folder
    }

    #[test]
    fn states_that_the_clock_put_down_are_not_missed_and_all_else_is() {
        let usual = [
            ("metrics.jsonl", "lines"),
            ("best/adapter_model.safetensors", "best"),
            ("state/step-00000009.safetensors", "end"),
            ("run.toml", "here"),
            ("cost.json", "1 s"),
        ];
        let one = run(&[&usual[..], &[("state/step-00000004.safetensors", "early")]].concat());
        let said = |files: &[(&str, &str)]| {
            let two = run(files);
            compared([one.path(), two.path()]).expect("folders")
        };
        let other = ("state/step-00000007.safetensors", "early");
        let (same, differ) = said(&[&usual[..4], &[other, ("cost.json", "2 s")]].concat());
        assert_eq!(same.len(), 3, "{same:?}");
        assert!(differ.is_empty(), "{differ:?}");
        // The end is the same or it is told, in whichever of the runs it is.
        for (at, name, text) in [
            (2, "state/step-00000009.safetensors", "other"),
            (2, "state/step-00000008.safetensors", "end"),
            (2, "state/step-00000010.safetensors", "end"),
            (1, "best/adapter_model.safetensors", "other"),
            (1, "classes.txt", "more"),
        ] {
            let mut files = usual;
            files[at] = (name, text);
            let (_, differ) = said(&files);
            assert!(differ.iter().any(|d| d.contains(".")), "{name} {text}");
        }
        // What people put there is not the device's.
        let own = [
            ("state/notes.txt", "mine"),
            ("best/mine/step-1.safetensors", "mine"),
        ];
        let (same, differ) = said(&[&usual[..], &own].concat());
        assert!(differ.is_empty() && same.len() == 3, "{same:?} {differ:?}");
        let early = ("state/step-00000004.safetensors", "other");
        let (_, differ) = said(&[&usual[..], &[early]].concat());
        assert_eq!(differ, ["state/step-00000004.safetensors"]);
    }
}
