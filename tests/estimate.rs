//! What a run is said to take against what it takes. Times are not held to anything here: the machine has other work.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::support::gpu_trial;

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("estimate::memory_and_disk_are_what_the_run_takes", taken),
        gpu_trial("estimate::a_dry_run_says_it_and_writes_nothing", dry),
    ]
}

fn estimated(folder: &Path, more: &[&str]) -> Value {
    let mut command = goldfish(folder);
    command.args(["estimate", "data", "--json"]).args(TINY);
    let run = command.args(more).assert().success();
    serde_json::from_str(&stdout(&run)).expect("JSON")
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder");
    let sizes = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => size(&path),
            false => path.metadata().expect("a file").len(),
        }
    });
    sizes.sum()
}

fn taken() {
    let folder = dataset();
    for (run, more) in [
        ("pixels", &["--epochs", "4"][..]),
        (
            "layers",
            &[
                "--targets",
                "features.28,classifier",
                "--epochs",
                "3",
                "--batch-size",
                "2",
            ],
        ),
        (
            "off",
            &[
                "--targets",
                "classifier.0",
                "--cache",
                "off",
                "--epochs",
                "2",
            ],
        ),
    ] {
        let said = estimated(folder.path(), more);
        assert_eq!(said["images"], 5, "{run}");
        let epochs = said["epochs"].as_u64().expect("a number");
        let seconds = said["seconds"]["all"].as_f64().expect("a number");
        assert!(seconds > 0.0 && seconds.is_finite(), "{run}");
        let assert = train(folder.path(), &[&["-o", run], more].concat()).success();
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        let lines = stdout(&assert);
        let steps = said["steps"].as_u64().expect("a number");
        assert!(
            lines.contains(&format!("steps    {steps}\n")),
            "{run}: {lines}"
        );
        assert_eq!(steps % epochs, 0);
        // What the run says of itself is in whole MiB.
        let (_, mib) = stderr.split_once("memory   ").expect("it says so");
        let mib: f64 = mib
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let device = said["device_bytes"].as_f64().expect("a number") / f64::from(1 << 20);
        assert!(
            (device - mib).abs() <= 0.15 * mib + 1.0,
            "{run}: {device} and {mib} MiB"
        );
        let disk = said["disk"]["folder"].as_f64().expect("a number");
        let took = size(&folder.path().join(run)) as f64;
        // Names and settings beside the numbers are a few KB.
        assert!(
            (disk - took).abs() <= 0.15 * took + 20_000.0,
            "{run}: {disk} and {took}"
        );
    }
}

fn dry() {
    let folder = dataset();
    let before = size(folder.path());
    train(folder.path(), &["--dry-run", "-o", "run"])
        .success()
        .stdout(contains("time     ").and(contains(
            "5 images, 0 of them to validate with; 20 steps in 20 epochs",
        )));
    assert!(!folder.path().join("run").exists());
    assert_eq!(size(folder.path()), before);
    // What cannot be trained is refused as it is there.
    train(folder.path(), &["--dry-run", "--lr", "0"]).code(2);
}
