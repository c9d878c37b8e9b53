//! Names that are more than names, wherever they are shown: formulas for spreadsheets, characters that turn a line around.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use goldfish::data::Labels;
use goldfish::data::doctor::{Checks, Fault, doctor};
use libtest_mimic::Trial;

use crate::cli::{TINY, goldfish, stdout};
use crate::support::{gpu_trial, pictures, trial};

const FORMULA: &str = "=1+1";
const TURNED: &str = "gnp.\u{202e}fish";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("names::doctor_says_what_is_not_seen", examined)];
    // Not every system has such files.
    if cfg!(unix) {
        trials.push(gpu_trial(
            "names::nothing_is_run_or_turned_by_a_name",
            shown,
        ));
    }
    trials
}

fn data(at: &Path) {
    for class in [FORMULA, TURNED] {
        pictures(at, class, &[(40, 50), (60, 40), (50, 44)]);
    }
}

fn shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    data(&at.join("@data"));
    let train = [
        "train",
        "@data",
        "--targets",
        "head",
        "-e",
        "1",
        "--val",
        "@data",
        "-o",
        "run",
    ];
    let done = goldfish(at).args(train).args(TINY).assert().success();
    let mut said = vec![
        String::from_utf8(done.get_output().stderr.clone()).expect("text"),
        stdout(&done),
        std::fs::read_to_string(at.join("run/report.html")).expect("a page"),
    ];
    let eval = ["eval", "@data", "--adapter", "run"];
    let predict = ["predict", "@data", "--adapter", "run"];
    for words in [&eval[..], &predict, &["inspect", "run"]] {
        said.push(stdout(&goldfish(at).args(words).assert().success()));
    }
    for text in said {
        assert!(!text.contains('\u{202e}'), "{text}");
    }
    let files = [
        "--format",
        "csv",
        "--confusion",
        "matrix.csv",
        "--list-wrong",
        "wrong.csv",
    ];
    let csv = [
        stdout(&goldfish(at).args(eval).args(files).assert().success()),
        stdout(
            &goldfish(at)
                .args(predict)
                .args(&files[..2])
                .assert()
                .success(),
        ),
        std::fs::read_to_string(at.join("matrix.csv")).expect("a matrix"),
        std::fs::read_to_string(at.join("wrong.csv")).expect("a list"),
    ];
    for text in &csv {
        for cell in text.lines().flat_map(|line| line.split(',')) {
            let text = cell.parse::<f64>().is_err() && cell.starts_with(['=', '+', '-', '@']);
            assert!(!text, "{cell}");
        }
        assert!(text.contains("'=1+1"), "{text}");
    }
    assert!(csv[1].contains("'@data/"), "{}", csv[1]);
    // Programs have it as it is.
    let json = stdout(
        &goldfish(at)
            .args(predict)
            .args(["--format", "json"])
            .assert()
            .success(),
    );
    assert!(
        json.contains("\"=1+1\"") && json.contains("\"@data/"),
        "{json}"
    );
}

fn examined() {
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path());
    let checks = Checks {
        data: folder.path(),
        validation: None,
        labels: Labels::Own,
        exif: false,
        size: 32,
        world: None,
    };
    let found = doctor(&checks, |_, _| (), &AtomicBool::new(false))
        .expect("it goes on")
        .findings;
    let odd: Vec<_> = found
        .iter()
        .filter(|one| one.fault == Fault::OddNames)
        .collect();
    assert_eq!(odd.len(), 1);
    assert_eq!(odd[0].places.len(), 1);
    assert_eq!(odd[0].places[0].says, "has U+202E");
}
