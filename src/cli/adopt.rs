//! `run.toml` for those who come after: the paths in it are written and read here, and the base and the images' size of a
//! run are taken over by the commands that use its adapter.

use std::path::{Component, Path, PathBuf};

use goldfish::formats::adapter;
use goldfish::nn::Arch;
use goldfish::train::{BEST, SETTINGS};
use goldfish::{Error, Result};
use serde::Deserialize;

use super::base::{BaseArgs, Weights, check_size};
use super::terminal::note;
use super::weights::place;

/// Where a run goes, and its adapter comes from, where nobody says.
pub const DEFAULT_RUN: &str = "runs/train";

/// What is taken over from an adapter's run.toml.
#[derive(Default, Deserialize)]
struct FromRun {
    arch: Option<String>,
    weights: Option<String>,
    image_size: Option<usize>,
    exif: Option<bool>,
    #[serde(default)]
    run: Came,
}

/// What came of the run.
#[derive(Default, Deserialize)]
struct Came {
    trained_on: Option<Vec<String>>,
}

/// The file with the settings of the run that made the adapter at `path`, and what is taken over from it.
fn from_run(path: &Path) -> Result<(PathBuf, Option<FromRun>)> {
    let folder = adapter::folder(path);
    let mut path = folder.join(SETTINGS);
    // The best adapter of a run lies in a folder of its own inside it.
    if folder.ends_with(BEST) && !path.exists() {
        path = folder.join("..").join(SETTINGS);
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((path, None)),
        Err(e) => return Err(Error::io(&path, "read")(e)),
    };
    let from = toml::from_str(&text);
    let from = from.map_err(|e| Error::data(&path, format!("not a run's settings ({e})")))?;
    Ok((path, Some(from)))
}

/// The names of the classes that the adapter at `path` was trained on, where its run says so.
pub fn trained(path: &Path) -> Result<Option<Vec<String>>> {
    let (_, from) = from_run(path)?;
    Ok(from.and_then(|from| from.run.trained_on))
}

/// The base of the run that made the adapter at `path`, where the command line leaves it open. What is wrong with it is told
/// of as the file's, since nobody typed it.
pub fn adopt(base: &mut BaseArgs, path: &Path) -> Result<()> {
    let (path, Some(from)) = from_run(path)? else {
        return Ok(());
    };
    let wrong = |why: String| Error::data(&path, why);
    if let (None, Some(size)) = (base.image_size, from.image_size) {
        check_size(size).map_err(|why| wrong(format!("image_size {why}")))?;
        base.image_size = Some(size);
    }
    base.exif |= from.exif.unwrap_or(false);
    let arch = match from.arch {
        Some(arch) => Some(Arch::named(&arch).map_err(|e| wrong(e.to_string()))?.name),
        None => None,
    };
    if let (None, Some(text)) = (&base.weights, &from.weights) {
        let named = text
            .parse()
            .map_err(|e: String| wrong(format!("weights: {e}")))?;
        base.weights = Some(match named {
            Weights::File(file) => Weights::File(there(&path, &file, arch)?),
            random => random,
        });
    }
    // A file tells itself which network it holds.
    if let (None, Some(Weights::Random(_)) | None) = (&base.arch, &base.weights) {
        base.arch = arch.map(str::to_string);
    }
    Ok(())
}

/// The base that the run.toml at `path` calls `file`: from the run's folder; from the working directory, as older runs wrote
/// it; or, where it is gone, one that is looked for. Whether that is the same, its numbers tell.
fn there(path: &Path, file: &Path, arch: Option<&str>) -> Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let places = [folder.join(file), file.to_path_buf()];
    if let Some(found) = places.into_iter().find(|place| place.exists()) {
        return Ok(found);
    }
    let Some(found) = arch.and_then(place::find) else {
        let problem = format!(
            "names the base {}, which is not there. Put it back, or name it with --weights",
            file.display()
        );
        return Err(Error::data(path, problem));
    };
    note!(
        "notice   {}, the base in {}, is not there: {} is taken in its place",
        file.display(),
        path.display(),
        found.display()
    );
    Ok(found)
}

/// A path as the run.toml of the run in the folder `run` has it: from there where both lie below the working directory, so
/// that they can be moved together; else from the root.
pub fn noted(path: &Path, run: &Path) -> String {
    let relative = || {
        let here = std::env::current_dir().ok()?.canonicalize().ok()?;
        let [path, run] = [path, run].map(|path| real(&here, path));
        let (path, run) = (path?, run?);
        let inside = path.strip_prefix(&here).ok()?.to_path_buf();
        let up = run.strip_prefix(&here).ok()?.components().count();
        let parts = std::iter::repeat_n("..".into(), up);
        let down = inside
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        Some(parts.chain(down).collect::<Vec<_>>().join("/"))
    };
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    relative().unwrap_or_else(|| absolute().to_string_lossy().into_owned())
}

/// A path without links, of which the end need not exist yet.
fn real(here: &Path, path: &Path) -> Option<PathBuf> {
    let whole = here.join(path);
    let (start, found) = whole
        .ancestors()
        .find_map(|start| Some((start, start.canonicalize().ok()?)))?;
    let rest = whole.strip_prefix(start).ok()?;
    let plain = rest
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| found.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_noted_from_the_run_where_both_can_be_moved() {
        // Tests run in the package's folder.
        assert_eq!(noted(Path::new("src"), Path::new("runs/new")), "../../src");
        assert_eq!(noted(Path::new("src/cli"), Path::new("src")), "../src/cli");
        assert_eq!(noted(Path::new("./src"), Path::new(".")), "src");
        let outside = noted(Path::new("src"), Path::new("/nowhere/run"));
        assert!(
            Path::new(&outside).is_absolute() && outside.ends_with("src"),
            "{outside}"
        );
        let outside = noted(Path::new("/nowhere/x"), Path::new("runs/new"));
        assert_eq!(outside, "/nowhere/x");
        let back = noted(Path::new("src"), Path::new("gone/../runs"));
        assert!(Path::new(&back).is_absolute(), "{back}");
    }
}
