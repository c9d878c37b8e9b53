//! `goldfish weights list`: what is known, what is there, and which file is taken.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use goldfish::Result;
use serde::Serialize;

use super::{known, place};
use crate::cli::terminal::json;

#[derive(ClapArgs)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// What `GOLDFISH_WEIGHTS` names, where that is no folder: it is taken before all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    named: Option<String>,
    /// Where it is looked, in order.
    folders: Vec<String>,
    weights: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    arch: &'static str,
    /// Bytes and SHA-256 of torchvision's file, or the first digits of it.
    file: &'static str,
    bytes: Option<u64>,
    sha256: Option<String>,
    /// What is there, the file that is taken first.
    found: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    path: String,
    bytes: u64,
}

pub fn run(args: Args) -> Result<()> {
    let folders = place::folders();
    let weights = known::KNOWN.iter().map(|known| {
        let expected = known.expected();
        Listed {
            arch: known.arch,
            file: known.file,
            bytes: expected.size,
            sha256: expected.sha256,
            found: found(&folders, known.arch),
        }
    });
    let report = Report {
        named: named().map(|path| path.display().to_string()),
        weights: weights.collect(),
        folders: folders.iter().map(|f| f.display().to_string()).collect(),
    };
    super::print(&match args.json {
        true => json(&report),
        false => table(&report),
    })
}

/// What is taken in the place of every file that is found.
pub fn named() -> Option<PathBuf> {
    place::named().map(PathBuf::from).filter(|p| !p.is_dir())
}

/// Every file of `arch`, as it would be taken.
pub fn files(folders: &[PathBuf], arch: &str) -> Vec<PathBuf> {
    let names = known::names(arch);
    let all = folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.filter(|path| path.is_file()).collect()
}

fn found(folders: &[PathBuf], arch: &str) -> Vec<Found> {
    let files = files(folders, arch).into_iter();
    let found = files.map(|path| Found {
        path: path.display().to_string(),
        bytes: path.metadata().map_or(0, |about| about.len()),
    });
    found.collect()
}

fn table(report: &Report) -> String {
    let mut text = format!("{:<10} {:>8}  {}\n", "arch", "MB", "file");
    for listed in &report.weights {
        let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        if listed.found.is_empty() {
            let size = listed.bytes.map_or("?".into(), mb);
            let fetch = format!("- (goldfish weights fetch {})", listed.arch);
            text += &format!("{:<10} {size:>8}  {fetch}\n", listed.arch);
        }
        for (index, found) in listed.found.iter().enumerate() {
            let arch = if index == 0 { listed.arch } else { "" };
            text += &format!("{arch:<10} {:>8}  {}\n", mb(found.bytes), found.path);
        }
    }
    text += &format!("\nlooked for in {}\n", report.folders.join(", then "));
    if let Some(named) = &report.named {
        text += &format!(
            "{named} is taken before all of these, since {} names it\n",
            place::WEIGHTS
        );
    }
    text
}
