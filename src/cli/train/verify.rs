//! `train --verify-determinism`: the same run once more, from the images on, and whether it came to the same bytes.

use std::fs;
use std::path::Path;

use goldfish::train::{FILES, TIMES};
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
    let (mut same, mut other) = (Vec::new(), Vec::new());
    let of_the_moment = |name: &&str| TIMES.contains(name) || PLACES.contains(name);
    for name in FILES.iter().filter(|name| !of_the_moment(name)) {
        for name in below(folder, Path::new(name))? {
            let read = |folder: &Path| fs::read(folder.join(&name)).ok();
            match read(folder) == read(&output) {
                true => same.push(name),
                false => other.push(name),
            }
        }
    }
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
