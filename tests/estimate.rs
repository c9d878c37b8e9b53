//! What a run is said to take against what it takes. Times are not held to anything here: the machine has other work.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::support::{gpu_trial, pictures};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("estimate::memory_and_disk_are_what_the_run_takes", taken),
        gpu_trial(
            "estimate::what_a_part_of_the_images_says_holds_for_all",
            extrapolated,
        ),
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

/// Estimates a run with `more`, does it, and holds what it took against that.
fn held(folder: &Path, run: &str, more: &[&str]) {
    let said = estimated(folder, more);
    let epochs = said["epochs"].as_u64().expect("a number");
    let seconds = said["seconds"]["all"].as_f64().expect("a number");
    assert!(seconds > 0.0 && seconds.is_finite(), "{run}");
    // As if no run before had kept anything.
    let assert = train(folder, &[&["-o", run, "--store", "off"], more].concat()).success();
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
    let took = size(&folder.join(run)) as f64;
    assert!(
        (disk - took).abs() <= 0.15 * took,
        "{run}: {disk} and {took} bytes on the disk"
    );
}

fn taken() {
    let folder = dataset();
    let layers = "--targets features.28,classifier --epochs 3 --batch-size 2";
    for (run, more) in [
        ("pixels", "--epochs 4"),
        ("layers", layers),
        ("off", "--targets classifier.0 --cache off --epochs 2"),
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        let said = estimated(folder.path(), &more);
        assert_eq!(said["images"], 5, "{run}");
        held(folder.path(), run, &more);
    }
}

/// Of sixty pictures a third is measured.
fn extrapolated() {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc", "ddd"] {
        let sizes: Vec<_> = (0..20).map(|at| (33 + 3 * at, 90 - 2 * at)).collect();
        pictures(&folder.path().join("data"), class, &sizes);
    }
    for (run, more) in [
        ("head", "--targets head -e 30"),
        ("split", "-e 3 --val-split 0.2"),
        ("apart", "-e 2 --val data"),
        ("fold", "-e 2 --fold 2/5 --grad-accum 2"),
        ("auto", "-e 2 -b auto"),
        ("augment", "-e 2 --augment standard --val-split 0.2"),
        (
            "variants",
            "-e 4 --augment light --cache-variants 2 --targets head",
        ),
        ("states", "-e 4 --save-every 1 --keep 3 --targets head"),
        ("little", "-e 3 --cache-memory 0 --targets classifier.0"),
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        let said = estimated(folder.path(), &more);
        let taken = said["measured"]["images"].as_u64().expect("a number");
        // A batch as large as fits may take them all.
        assert!(taken < 60 || run == "auto", "{run}: {taken}");
        held(folder.path(), run, &more);
    }
    // A file with the settings of a run says the same as what was typed.
    let said = estimated(folder.path(), &["-e", "3", "--val-split", "0.2"]);
    let mut command = goldfish(folder.path());
    command.args(["estimate", "--json", "--config", "split/run.toml"]);
    let filed: Value = serde_json::from_str(&stdout(&command.assert().success())).expect("JSON");
    for name in ["images", "validation", "steps", "batch_size", "parameters"] {
        assert_eq!(filed[name], said[name], "{name}");
    }
    let mut command = goldfish(folder.path());
    command.args(["estimate", "--config", "split/run.toml", "-e", "5"]);
    command.assert().success().stdout(contains("in 5 epochs"));
    fs::write(folder.path().join("set.toml"), "epochs = 3\n").expect("a file");
    let mut command = goldfish(folder.path());
    command.args(["estimate", "--config", "set.toml"]);
    command
        .assert()
        .code(3)
        .stderr(contains("set.toml: names no data"));
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
