//! Files of a run, damaged at random: what reads them refuses them or makes do, and never panics. `GOLDFISH_DAMAGES` says how
//! many; the suite tries a few. `fuzz/` does the same to the readers of what others wrote, guided by what they execute.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use goldfish::data::decode_bytes;
use goldfish::random::Stream;
use libtest_mimic::Trial;

use crate::cli::{TINY, dataset};
use crate::support::{gpu_trial, root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("damaged::what_fuzzing_found", found),
        trial("damaged::settings", settings),
        gpu_trial("damaged::a_run_that_is_taken_up", state),
    ]
}

/// Each was a panic once.
fn found() {
    let folder = root().join("tests/fixtures/fuzzed");
    let mut seen = 0;
    for path in files(&folder.join("image")) {
        let bytes = fs::read(&path).expect("a file");
        for exif in [false, true] {
            let problem = decode_bytes(&path, &bytes, exif)
                .map(|_| ())
                .expect_err("it is damaged");
            assert!(problem.to_string().contains("damaged"), "{problem}");
        }
        seen += 1;
    }
    assert!(seen > 0);
}

fn count(few: u64) -> u64 {
    let wanted = std::env::var("GOLDFISH_DAMAGES").ok();
    wanted.map_or(few, |count| count.parse().expect("a number of damages"))
}

/// Words that mean something to what reads a run's files.
const WORDS: [&str; 28] = [
    "\n",
    "\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    " = ",
    "#",
    "'''",
    "-1",
    "0",
    "1e999",
    "nan",
    "18446744073709551615",
    "true",
    "null",
    "\\u0000",
    "\u{202e}",
    "\t",
    ",",
    ":",
    "data",
    "epochs",
    "targets",
    "../",
    "\0",
    "9223372036854775807",
];

/// Numbers one after the other.
struct Dice {
    stream: Stream,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.thrown += 1;
        self.stream.word(self.thrown) as usize % most.max(1)
    }
}

/// `bytes` with one to four damages.
fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(20)).min(bytes.len());
        match dice.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => {
                let word = WORDS[dice.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            3 => {
                let word = WORDS[dice.below(WORDS.len())];
                bytes.splice(at.min(end)..end, word.bytes());
            }
            4 => {
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            _ if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            _ => {}
        }
    }
    bytes
}

/// The program, which has a minute.
fn goldfish(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    let run = command.current_dir(folder).args(words);
    run.env("GOLDFISH_CACHE", folder.join(".cache"));
    run.timeout(Duration::from_secs(60));
    run.output().expect("it runs")
}

fn sound(output: &Output, case: &str, bytes: &[u8]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let codes = [Some(0), Some(2), Some(3)];
    assert!(
        codes.contains(&output.status.code()) && !said.contains("panicked"),
        "{case}: {:?}: {said}\n{:?}",
        output.status,
        String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
    );
}

/// Of data that is not there, so that whatever is left of the settings ends soon.
fn settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = "data = \"nowhere\"\nepochs = 3\nbatch_size = 2\nlr = 1e-3\nseed = 7\ntargets = [\"pixels\", \"features.*\"]\n\
                rank_pattern = [\"features.28=2\"]\nrslora = true\ndropout = 0.1\narch = \"vgg19-tiny\"\nweights = \"random:3\"\n\
                image_size = 32\ncache = \"auto\"\n\n[run]\nended = \"complete\"\nsteps = 3\n";
    for number in 0..count(60) {
        let stream = Stream::new(number, "damaged settings");
        let mut dice = Dice { stream, thrown: 0 };
        let bytes = damaged(seed.as_bytes(), &mut dice);
        fs::write(folder.path().join("x.toml"), &bytes).expect("a file");
        let output = goldfish(folder.path(), &["train", "--config", "x.toml", "-o", "run"]);
        sound(&output, &format!("settings {number}"), &bytes);
        assert_ne!(output.status.code(), Some(0), "there is no data");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).expect("below"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::copy(&file, &path).expect("a copy");
    }
}

fn state() {
    let folder = dataset();
    let train = [
        "train",
        "data",
        "-o",
        "run",
        "--epochs",
        "2",
        "--keep",
        "2",
        "--val-split",
        "0.4",
    ];
    let first = goldfish(folder.path(), &[&train[..], &TINY].concat());
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let run = folder.path().join("run");
    let parts = files(&run);
    for number in 0..count(20) {
        let again = folder.path().join("again");
        copy(&run, &again);
        let stream = Stream::new(number, "damaged state");
        let mut dice = Dice { stream, thrown: 0 };
        let part = &parts[dice.below(parts.len())];
        let bytes = damaged(&fs::read(part).expect("a file"), &mut dice);
        let name = part.strip_prefix(&run).expect("below");
        fs::write(again.join(name), &bytes).expect("a file");
        let output = goldfish(
            folder.path(),
            &["train", "--resume", "again", "--epochs", "3"],
        );
        sound(&output, &format!("{} {number}", name.display()), &bytes);
        fs::remove_dir_all(&again).expect("it goes");
    }
}
