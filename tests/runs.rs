//! A run's folder and its life: what is there stays until there is something better, a run goes on where it was put down with
//! the same bytes, and what it is made of is not changed under it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::cli::{TINY, dataset, goldfish, stdout, train};
#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{gpu_trial, pictures, run_files, slashed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("runs::nothing_takes_the_place_of_what_is_no_run", no_place),
        #[cfg(unix)]
        gpu_trial(
            "runs::a_run_that_is_killed_or_stopped_goes_on_to_the_same_bytes",
            resumes,
        ),
        gpu_trial(
            "runs::what_decides_a_run_is_not_changed_when_it_goes_on",
            refuses,
        ),
        gpu_trial(
            "runs::until_it_is_put_in_place_a_run_leaves_the_one_before_as_it_is",
            stays_whole,
        ),
        #[cfg(unix)]
        gpu_trial("runs::two_runs_do_not_share_a_folder", locked),
        gpu_trial("runs::run_toml_alone_does_the_run_again", configured),
        gpu_trial(
            "runs::done_twice_a_run_is_compared_and_has_the_memory_of_one",
            twice,
        ),
        gpu_trial("runs::validation_keeps_the_best_and_ends_early", validated),
        trial(
            "runs::what_is_wrong_with_a_file_of_settings_is_said_of_it",
            wrong_settings,
        ),
        trial("runs::a_run_does_not_go_into_its_own_images", inside),
        trial("runs::a_run_that_fails_leaves_nothing", leaves_nothing),
    ]
}

/// `data/` with three classes of six images.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc", "ddd"] {
        let sizes = [(40, 50), (60, 40), (33, 90), (48, 37), (35, 35), (70, 44)];
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

/// Every file below a folder but the times in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = run_files(folder).into_iter();
    files
        .map(|(name, bytes)| (name.to_string_lossy().into_owned(), bytes))
        .collect()
}

#[cfg(unix)]
fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

const RUN: [&str; 12] = [
    "train",
    "data",
    "--val-split",
    "0.3",
    "--dropout",
    "0.2",
    "--epochs",
    "60",
    "--save-every",
    "2",
    "--batch-size",
    "4",
];

fn spawn(at: &Path, words: &[&str]) -> Child {
    let program = goldfish(at);
    let mut command = std::process::Command::new(program.get_program());
    command
        .current_dir(at)
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.spawn().expect("the program")
}

/// Waits until the metrics in `run` have so many bytes, or the program has ended.
fn wait_for(child: &mut Child, metrics: &Path, bytes: u64) {
    let start = Instant::now();
    while fs::metadata(metrics).map_or(0, |about| about.len()) < bytes {
        let ended = child.try_wait().expect("a program").is_some();
        if ended || start.elapsed() > Duration::from_secs(60) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(unix)]
fn resumes() {
    let folder = data();
    let at = folder.path();
    let words = [&RUN[..], &TINY].concat();
    goldfish(at)
        .args([&words[..], &["-o", "whole"]].concat())
        .assert()
        .success();
    let whole = files(&at.join("whole"));
    assert!(
        whole.contains_key("best/adapter_model.safetensors"),
        "{:?}",
        whole.keys()
    );
    let length = whole["metrics.jsonl"].len() as u64;
    let words = [&words[..], &["-o", "run"]].concat();
    // Killed early, killed late, stopped.
    let mut child = spawn(at, &words);
    wait_for(&mut child, &at.join("run/metrics.jsonl"), length / 5);
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(at.join("run/run.lock").exists());
    for (share, kill) in [(2, true), (3, false)] {
        let mut child = spawn(at, &["train", "--resume", "run"]);
        wait_for(
            &mut child,
            &at.join("run/metrics.jsonl"),
            length * share / 5,
        );
        match kill {
            true => child.kill().expect("killed"),
            false => interrupt(&child),
        }
        let code = child.wait().expect("gone").code();
        assert_eq!(code, if kill { None } else { Some(130) });
    }
    let settings = fs::read_to_string(at.join("run/run.toml")).expect("settings");
    assert!(settings.contains("ended = \"interrupted\""), "{settings}");
    // It can be looked at.
    let page = fs::read_to_string(at.join("run/report.html")).expect("a page");
    assert!(
        page.contains("was interrupted") && page.contains("goldfish train --resume"),
        "{page}"
    );
    assert!(at.join("run/events/validation").exists());
    let rows = fs::read_to_string(at.join("run/metrics.csv")).expect("a table");
    let lines = fs::read_to_string(at.join("run/metrics.jsonl")).expect("lines");
    let steps = lines
        .lines()
        .filter(|line| line.contains("\"loss\""))
        .count();
    assert!(
        rows.lines().count() > 1 && rows.lines().count() <= steps + 1,
        "{rows}"
    );
    goldfish(at)
        .args(["train", "--resume", "run"])
        .assert()
        .success();
    let run = files(&at.join("run"));
    assert!(
        whole.keys().eq(run.keys()),
        "{:?} {:?}",
        whole.keys(),
        run.keys()
    );
    for (name, bytes) in &whole {
        assert!(*bytes == run[name], "{name}");
    }
    // It is complete: once more changes nothing, and more epochs are added.
    let times = || {
        ["cost.json", "report.html", "run.toml", "metrics.csv"].map(|name| {
            let about = fs::metadata(at.join("run").join(name));
            about.and_then(|about| about.modified()).expect("a time")
        })
    };
    let written = times();
    goldfish(at)
        .args(["train", "--resume", "run"])
        .assert()
        .success()
        .stdout(contains("complete run: 60 epochs"));
    assert!(files(&at.join("run")) == whole);
    assert!(written == times(), "nothing was touched");
    // What was not written yet is.
    fs::remove_file(at.join("run/report.html")).expect("removed");
    goldfish(at)
        .args(["train", "--resume", "run"])
        .assert()
        .success();
    assert!(at.join("run/report.html").exists() && files(&at.join("run")) == whole);
    goldfish(at)
        .args(["train", "--resume", "run", "-e", "62"])
        .assert()
        .success();
    let settings = fs::read_to_string(at.join("run/run.toml")).expect("settings");
    assert!(settings.contains("epochs = 62"), "{settings}");
}

fn refuses() {
    let folder = data();
    let at = folder.path();
    let words = [&RUN[..6], &TINY, &["--epochs", "2", "-o", "run"]].concat();
    goldfish(at).args(&words).assert().success();
    let resume = |more: &[&str]| {
        goldfish(at)
            .args(["train", "--resume", "run", "--epochs", "3"])
            .args(more)
            .assert()
    };
    resume(&["--lr", "0.5", "--seed=1"])
        .code(2)
        .stderr(contains("lr was 0.001 and is 0.5").and(contains("seed was 0 and is 1")));
    resume(&["--weights", "random:4"])
        .code(3)
        .stderr(contains("random:3").and(contains("random:4")));
    let image = at.join("data/b/0.png");
    let bytes = fs::read(&image).expect("an image");
    fs::copy(at.join("data/b/1.png"), &image).expect("another image");
    fs::copy(at.join("data/b/1.png"), at.join("data/cc/9.png")).expect("one more");
    resume(&[])
        .code(3)
        .stderr(contains("1 new (cc/9.png)").and(contains("1 of other content (b/0.png)")));
    fs::write(&image, bytes).expect("as it was");
    fs::remove_file(at.join("data/cc/9.png")).expect("removed");
    // A state that is damaged is said to be, and is not gone on with.
    let state = at.join("run/state/step-00000006.safetensors");
    let mut bytes = fs::read(&state).expect("a state");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&state, bytes).expect("written");
    resume(&[]).code(3).stderr(contains("is damaged"));
    goldfish(at)
        .args(["train", "--resume", "data"])
        .assert()
        .code(3)
        .stderr(contains("holds no run"));
}

fn stays_whole() {
    let folder = data();
    let at = folder.path();
    let words = [&["train", "data", "-o", "run"][..], &TINY].concat();
    goldfish(at)
        .args([&words[..], &["-e", "1"]].concat())
        .assert()
        .success();
    for mine in ["notes.txt", "state/notes.txt", "events/more/notes.txt"] {
        let path = at.join("run").join(mine);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "mine").expect("a file");
    }
    let before = files(&at.join("run"));
    goldfish(at)
        .args(&words)
        .assert()
        .code(3)
        .stderr(contains("holds an adapter already"));
    assert!(files(&at.join("run")) == before);
    // Weights that are none, and an end before anything was put in place.
    let bad = [
        "train",
        "data",
        "-o",
        "run",
        "--overwrite",
        "--weights",
        "data/b/0.png",
    ];
    goldfish(at).args(bad).assert().code(3);
    assert!(files(&at.join("run")) == before);
    let long = [&words[..], &["--overwrite", "-e", "100000"]].concat();
    let mut child = spawn(at, &long);
    wait_for(&mut child, &at.join("run/.goldfish-new/metrics.jsonl"), 500);
    child.kill().expect("killed");
    child.wait().expect("gone");
    let old = |files: BTreeMap<String, Vec<u8>>| {
        let mut files = files;
        files.retain(|name, _| !name.starts_with(".goldfish") && name != "run.lock");
        files
    };
    assert!(old(files(&at.join("run"))) == before);
    // The next one takes its place, and what is nobody's stays.
    goldfish(at)
        .args([&words[..], &["-e", "2", "--overwrite"]].concat())
        .assert()
        .success();
    let after = files(&at.join("run"));
    assert!(
        after.keys().all(|name| !name.starts_with(".goldfish")),
        "{:?}",
        after.keys()
    );
    assert_eq!(after["notes.txt"], b"mine");
    assert_eq!(after["state/notes.txt"], b"mine");
    let events = at.join("run/events/more/notes.txt");
    assert_eq!(fs::read(events).expect("it is there"), b"mine");
    assert!(after["metrics.jsonl"] != before["metrics.jsonl"]);
}

#[cfg(unix)]
fn locked() {
    let folder = data();
    let at = folder.path();
    let words = [
        &["train", "data", "-o", "run", "--overwrite", "-e", "100000"][..],
        &TINY,
    ]
    .concat();
    let mut child = spawn(at, &words);
    wait_for(&mut child, &at.join("run/.goldfish-new/metrics.jsonl"), 100);
    let said = format!("process {} on ", child.id());
    goldfish(at)
        .args(&words)
        .assert()
        .code(3)
        .stderr(contains(said));
    interrupt(&child);
    assert_eq!(child.wait().expect("gone").code(), Some(130));
    assert!(
        !at.join("run/run.lock").exists(),
        "{:?}",
        names(&at.join("run"))
    );
}

fn configured() {
    let folder = data();
    let at = folder.path();
    let words = [&RUN[..], &TINY, &["-e", "3", "--rank", "3", "-o", "one"]].concat();
    let words: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "60" && *word != "--epochs")
        .collect();
    goldfish(at).args(&words).assert().success();
    goldfish(at)
        .args(["train", "--config", "one/run.toml", "-o", "deep/er/two"])
        .assert()
        .success();
    let (one, two) = (files(&at.join("one")), files(&at.join("deep/er/two")));
    assert!(one.keys().eq(two.keys()));
    // Paths are from the run's folder.
    let with_paths = ["run.toml", "validation.jsonl", "state/images.tsv"];
    for (name, bytes) in one
        .iter()
        .filter(|(name, _)| !with_paths.contains(&name.as_str()))
    {
        assert!(*bytes == two[name], "{name}");
    }
    // What is typed goes before the file.
    goldfish(at)
        .args([
            "train",
            "--config",
            "one/run.toml",
            "-o",
            "three",
            "--rank",
            "2",
        ])
        .assert()
        .success();
    let settings = fs::read_to_string(at.join("three/run.toml")).expect("settings");
    assert!(
        settings.contains("rank = 2") && settings.contains("epochs = 3"),
        "{settings}"
    );
}

fn wrong_settings() {
    let folder = data();
    let at = folder.path();
    for (text, said) in [
        ("epoch = 3", "epoch is no setting: did you mean epochs?"),
        ("epochs = \"many\"", "'many'"),
        ("epochs = [1, 2]", "epochs is [1, 2]"),
        ("rslora = 3", "rslora is 3"),
        ("epochs = ", "is not TOML"),
        ("zzzzzzzzzzzz = 1", "zzzzzzzzzzzz is no setting"),
    ] {
        fs::write(at.join("set.toml"), text).expect("a file");
        let asked = goldfish(at)
            .args(["train", "data", "--config", "set.toml"])
            .assert();
        asked
            .code(3)
            .stderr(contains("set.toml: ").and(contains(said)));
    }
    fs::write(at.join("set.toml"), "epochs = 0\n[run]\nwhatever = 1\n").expect("a file");
    let asked = goldfish(at)
        .args(["train", "--config", "set.toml"])
        .assert();
    asked.code(3).stderr(contains("names no data"));
    let asked = goldfish(at)
        .args(["train", "data", "--config", "set.toml"])
        .assert();
    asked
        .code(2)
        .stderr(contains("--epochs must be at least 1"));
}

fn inside() {
    let folder = data();
    let at = folder.path();
    for run in ["data/run", "data", "data/b/deep/run"] {
        let words = [&["train", "data", "-o", run][..], &TINY].concat();
        goldfish(at)
            .args(words)
            .assert()
            .code(3)
            .stderr(contains("folder of the images"));
    }
    assert!(!at.join("data/run").exists());
}

fn leaves_nothing() {
    let folder = data();
    let at = folder.path();
    let words = [
        "train",
        "data",
        "-o",
        "run",
        "--weights",
        "nowhere.safetensors",
    ];
    goldfish(at).args(words).assert().code(3);
    assert!(!at.join("run").exists());
}

fn validated() {
    let folder = data();
    let at = folder.path();
    // A rate of nothing: no epoch is better than the first.
    let words = [
        &[
            "train",
            "data",
            "-o",
            "run",
            "--val",
            "data",
            "--lr",
            "1e-30",
            "--early-stop",
            "3",
        ][..],
        &TINY,
    ];
    let said = goldfish(at).args(words.concat()).assert().success();
    let leaks = "18 of the 18 images to validate with are trained on too";
    assert!(String::from_utf8_lossy(&said.get_output().stderr).contains(leaks));
    assert!(
        stdout(&said).contains("best     epoch 1 "),
        "{}",
        stdout(&said)
    );
    let metrics = fs::read_to_string(at.join("run/metrics.jsonl")).expect("metrics");
    let epochs: Vec<serde_json::Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &serde_json::Value| !line["validation"].is_null())
        .collect();
    assert_eq!(epochs.len(), 4);
    assert_eq!(epochs[0]["best"], true);
    assert_eq!(epochs[3]["best"], false);
    assert_eq!(epochs[3]["validation"]["count"], 18);
    let settings = fs::read_to_string(at.join("run/run.toml")).expect("settings");
    assert!(settings.contains("ended = \"early-stop\""), "{settings}");
    // Its numbers are those of `eval`.
    let eval = goldfish(at)
        .args(["eval", "data", "--adapter", "run/best", "--json"])
        .args(TINY)
        .assert()
        .success();
    let eval: serde_json::Value = serde_json::from_str(&stdout(&eval)).expect("JSON");
    assert_eq!(eval["top1"], epochs[0]["validation"]["top1"]);
    let [a, b] =
        [&eval["loss"], &epochs[0]["validation"]["loss"]].map(|l| l.as_f64().expect("a number"));
    assert!((a - b).abs() < 1e-5, "{a} {b}");
    let words = [
        &["train", "data", "-o", "none", "--early-stop", "3"][..],
        &TINY,
    ]
    .concat();
    goldfish(at)
        .args(words)
        .assert()
        .code(2)
        .stderr(contains("--early-stop needs images"));
}

fn twice() {
    let folder = dataset();
    let at = folder.path();
    // An adapter that is large beside the network.
    let words = "train data --arch vgg19-tiny --weights random:3 --targets pixels --rank 64 --alpha 64 --val-split 0.4 \
                 --epochs 2 --save-every 1 --keep 2 --verify-determinism -o run";
    let done = goldfish(at)
        .args(words.split_whitespace())
        .assert()
        .success();
    let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
    let verified = said.lines().find(|line| line.starts_with("verified "));
    let verified = slashed(verified.unwrap_or_else(|| panic!("{said}")));
    assert_eq!(verified.matches("state/step-").count(), 2, "{verified}");
    assert!(verified.contains("best/adapter_model"), "{verified}");
    assert!(stdout(&done).contains("steps    "), "{}", stdout(&done));
    // What the first run had is free before the second one begins.
    let taken = said.lines().filter(|line| line.starts_with("memory "));
    let taken: Vec<[u64; 2]> = taken
        .map(|line| {
            let before = |unit: &str| {
                line.split(unit)
                    .next()
                    .and_then(|t| t.split(' ').next_back())
            };
            let number = |unit| before(unit).and_then(|n| n.parse().ok()).expect("a number");
            [number(" MiB on the device"), number(" MiB resident")]
        })
        .collect();
    let [[device, first], [_, second]] = taken[..] else {
        panic!("{said}");
    };
    assert!(second < first + device * 3 / 4, "{taken:?}");
}

fn no_place() {
    let folder = dataset();
    let at = folder.path();
    fs::create_dir(at.join("all")).expect("a folder");
    fs::write(at.join("all/sweep.toml"), "").expect("a file");
    train(at, &["-o", "all", "--epochs", "1"])
        .code(3)
        .stderr(contains("holds the runs of a sweep"));
    assert_eq!(fs::read_dir(at.join("all")).expect("a folder").count(), 1);
    // In a run's folder, a file where a run has a folder, and the other way round.
    train(at, &["-o", "run", "--epochs", "1"]).success();
    let words = ["-o", "run", "--epochs", "1", "--overwrite", "--val", "data"];
    fs::write(at.join("run/best"), "mine").expect("a file");
    train(at, &words)
        .code(3)
        .stderr(contains("has best where a run has a folder"));
    let mine = fs::read(at.join("run/best")).expect("it is there");
    assert_eq!(mine, b"mine");
    fs::remove_file(at.join("run/best")).expect("removed");
    fs::create_dir_all(at.join("run/validation.jsonl/mine")).expect("a folder");
    train(at, &words)
        .code(3)
        .stderr(contains("has validation.jsonl where a run has a file"));
    assert!(at.join("run/validation.jsonl/mine").exists());
}
