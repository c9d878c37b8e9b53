//! What stands in deploy/ for people to take: its words are the program's. That its scripts do what they say is shown with an MPI,
//! in tests/mpi/deploy.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::cli::{goldfish, stdout};
use crate::support::{root, trial};

/// Options of other programs that these files name.
const OTHERS: [&str; 25] = [
    "--allow-run-as-root",
    "--bind-to",
    "--cpus-per-task",
    "--create-home",
    "--features",
    "--gpus-per-node",
    "--gpus-per-task",
    "--job-name",
    "--kill-on-bad-exit",
    "--locked",
    "--mca",
    "--mpi",
    "--no-install-recommends",
    "--nodes",
    "--ntasks-per-node",
    "--open-mode",
    "--oversubscribe",
    "--quiet",
    "--release",
    "--requeue",
    "--shell",
    "--signal",
    "--time",
    "--uid",
    "--from",
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("deploy::every_flag_is_one", flags),
        trial("deploy::every_variable_is_read", variables),
    ]
}

/// The files, and what is said of them on paper.
fn texts() -> Vec<String> {
    let folder = fs::read_dir(root().join("deploy")).expect("the folder");
    let files = folder.map(|entry| entry.expect("an entry").path());
    let files = files.chain([root().join("docs/scaling.md")]);
    let texts = files.map(|path| fs::read_to_string(path).expect("text"));
    let texts: Vec<String> = texts.collect();
    assert!(texts.len() > 4, "they are there");
    texts
}

/// What of `text` begins with `start` and goes on as long as `goes_on` says.
fn words<'t>(text: &'t str, start: &'t str, goes_on: fn(char) -> bool) -> Vec<&'t str> {
    let found = text.match_indices(start).filter(|&(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
    });
    let found = found.map(|(at, _)| {
        let rest = &text[at + start.len()..];
        let end = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        &text[at..at + start.len() + end]
    });
    found.collect()
}

fn flag(text: &str) -> Vec<&str> {
    let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut all = words(text, "--", goes_on);
    all.retain(|flag| !flag.trim_matches('-').is_empty());
    all
}

fn flags() {
    let help = stdout(
        &goldfish(root())
            .args(["train", "--help"])
            .assert()
            .success(),
    );
    let own: BTreeSet<&str> = flag(&help).into_iter().collect();
    let texts = texts();
    let said: BTreeSet<&str> = texts.iter().flat_map(|text| flag(text)).collect();
    for flag in &said {
        let one = own.contains(flag) || OTHERS.contains(flag);
        assert!(one, "{flag} is none of goldfish train");
    }
    for flag in OTHERS {
        assert!(said.contains(flag), "{flag} is named nowhere");
    }
}

fn variables() {
    let mut sources = String::new();
    read_all(&root().join("src"), &mut sources);
    let texts = texts();
    let goes_on = |c: char| c.is_ascii_uppercase() || c == '_';
    let said = texts
        .iter()
        .flat_map(|text| words(text, "GOLDFISH_", goes_on));
    let said: BTreeSet<&str> = said.collect();
    assert!(said.contains("GOLDFISH_CACHE"), "{said:?}");
    for name in said {
        let read = sources.contains(&format!("\"{name}\""));
        assert!(read, "{name} is read nowhere");
    }
}

/// The text of every file in `folder`.
fn read_all(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *all += &fs::read_to_string(&path).expect("text");
        }
    }
}
