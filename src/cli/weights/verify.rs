//! `goldfish weights verify`: are these files what they should be?

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use goldfish::{Error, Result};
use serde::Serialize;

use super::check::{self, Expected};
use super::{known, list, place};
use crate::cli::terminal::{json, plain};

#[derive(ClapArgs)]
pub struct Args {
    /// Files, or networks, whose files are checked [default: all that are found]
    #[arg(value_name = "FILE|ARCH")]
    what: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    files: Vec<Verified>,
}

#[derive(Serialize)]
struct Verified {
    path: String,
    bytes: u64,
    sha256: String,
    verdict: Verdict,
    /// What is wrong, or how far it is known.
    note: String,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As published, or as it was fetched.
    Sound,
    /// Nothing is known of it.
    Unknown,
    /// Not what it should be.
    Damaged,
}

pub fn run(args: Args) -> Result<()> {
    let paths = paths(&args.what)?;
    let files = paths.iter().map(|path| verify(path));
    let files = files.collect::<Result<Vec<Verified>>>()?;
    let bad = files.iter().filter(|file| file.verdict == Verdict::Damaged);
    let bad: Vec<&str> = bad.map(|file| &*file.path).collect();
    let problem = (!bad.is_empty()).then(|| {
        let problem = match bad.len() {
            1 => "is damaged: fetch it again with goldfish weights fetch --overwrite".to_string(),
            n => format!(
                "and {} more are damaged: fetch them again with goldfish weights fetch --overwrite",
                n - 1
            ),
        };
        Error::data(Path::new(bad[0]), problem)
    });
    let report = Report { files };
    super::print(&match args.json {
        true => json(&report),
        false => table(&report),
    })?;
    problem.map_or(Ok(()), Err)
}

/// Files as given, networks as the files that are found.
fn paths(what: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let folders = place::folders();
    let arch = |what: &Path| {
        let what = what.to_str()?;
        known::of_arch(what).map(|known| known.arch)
    };
    let mut paths = Vec::new();
    for what in what {
        match arch(what).filter(|_| !what.exists()) {
            Some(arch) => {
                let found = list::files(&folders, arch);
                if found.is_empty() {
                    return Err(Error::data(
                        what,
                        format!("{}: goldfish weights fetch {arch}", place::sought(arch)),
                    ));
                }
                paths.extend(found);
            }
            None => paths.push(what.clone()),
        }
    }
    if what.is_empty() {
        paths.extend(list::named().filter(|path| path.is_file()));
        let all = known::KNOWN.iter();
        paths.extend(all.flat_map(|known| list::files(&folders, known.arch)));
    }
    Ok(paths)
}

fn verify(path: &Path) -> Result<Verified> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = Expected {
        size: None,
        sha256: check::kept(path),
    };
    let expected = known::expected(&name).or(kept);
    let (bytes, sha256) = check::hash(path)?;
    let (verdict, note) = match (expected.fault(bytes, &sha256), &expected.sha256) {
        (Some(fault), _) => (Verdict::Damaged, fault),
        (None, Some(_)) if expected.full() => (Verdict::Sound, "all of its SHA-256 agrees".into()),
        (None, Some(digits)) => (
            Verdict::Sound,
            format!("the first {} digits of its SHA-256 agree", digits.len()),
        ),
        (None, None) => (Verdict::Unknown, "no checksum of it is known".into()),
    };
    Ok(Verified {
        path: path.display().to_string(),
        bytes,
        sha256,
        verdict,
        note,
    })
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for file in &report.files {
        let verdict = match file.verdict {
            Verdict::Sound => "sound",
            Verdict::Unknown => "unknown",
            Verdict::Damaged => "damaged",
        };
        text += &format!(
            "{verdict:<8} {} ({}; {})\n",
            plain(&file.path),
            plain(&file.note),
            file.sha256
        );
    }
    if report.files.is_empty() {
        text += "no weights are there (goldfish weights fetch)\n";
    }
    text
}
