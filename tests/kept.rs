//! The program keeps features between runs, takes them, lists and clears them, and trains the same adapter with and without.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::str::contains;

use crate::cli::{dataset, goldfish, stdout, train};
use crate::support::gpu_trial;

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "kept::a_second_run_begins_where_the_first_left_the_frozen_layers",
            second_run,
        ),
        gpu_trial("kept::what_leaks_is_told_from_what_is_kept", leaks),
        gpu_trial("kept::it_is_listed_and_cleared_by_base", listed),
        gpu_trial(
            "kept::what_cannot_be_read_is_told_again_and_what_cannot_be_kept_is_a_notice",
            told,
        ),
    ]
}

fn adapter(folder: &Path, run: &str) -> Vec<u8> {
    fs::read(folder.join(run).join("adapter_model.safetensors")).expect("an adapter")
}

fn second_run() {
    let folder = dataset();
    let folder = folder.path();
    for targets in ["pixels", "classifier.0", "features.34"] {
        let run = |name: &str, more: &[&str]| {
            let name = format!("{name}-{targets}");
            let more = [&["--targets", targets, "--epochs", "2", "-o", &name], more].concat();
            let done = train(folder, &more).success();
            let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
            (said, adapter(folder, &name))
        };
        let (said, first) = run("first", &[]);
        assert!(said.contains("5 kept for other runs"), "{said}");
        let (said, again) = run("again", &[]);
        assert!(
            said.contains("5 images as an earlier run made them"),
            "{said}"
        );
        assert!(again == first, "{targets}");
        let (said, off) = run("off", &["--store", "off"]);
        assert!(!said.contains("store "), "{said}");
        assert!(off == first, "{targets}");
        // Rank, seed and rate are nothing to what is frozen.
        let (said, other) = run("other", &["--rank", "2", "--seed", "9", "--lr", "1e-4"]);
        assert!(
            said.contains("5 images as an earlier run made them"),
            "{said}"
        );
        assert!(other != first, "{targets}");
        let (said, _) = run("streamed", &["--cache", "off"]);
        assert!(!said.contains("store "), "{said}");
    }
}

fn leaks() {
    let folder = dataset();
    let folder = folder.path();
    let validation = folder.join("others/tench");
    fs::create_dir_all(&validation).expect("a folder");
    fs::copy(folder.join("data/tench/0.png"), validation.join("copy.png")).expect("a copy");
    let prints = || {
        let listed = goldfish(folder).args(["cache", "ls", "--json"]).assert();
        let report: serde_json::Value =
            serde_json::from_str(&stdout(&listed.success())).expect("JSON");
        report["prints"].clone()
    };
    let leak = |run: &str, more: &[&str]| {
        let words = ["--epochs", "1", "--val", "others", "-o", run];
        let done = train(folder, &[&words, more].concat()).success();
        let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
        let told = said.lines().find(|line| line.starts_with("leak "));
        told.map(str::to_string)
    };
    // Without images to validate with there is nothing to tell.
    train(folder, &["--epochs", "1", "-o", "none"]).success();
    assert_eq!(prints().as_array().map(Vec::len), Some(0));
    let off = leak("off", &["--store", "off"]);
    assert_eq!(prints().as_array().map(Vec::len), Some(0));
    assert!(off.is_some(), "the copy is told");
    assert_eq!(leak("first", &[]), off);
    assert_eq!(prints()[0]["images"], 5);
    assert_eq!(prints()[0]["image_size"], 32);
    assert_eq!(leak("again", &[]), off);
    let text = goldfish(folder).args(["cache", "ls"]).assert().success();
    assert!(
        stdout(&text).contains("prints of pictures"),
        "{}",
        stdout(&text)
    );
    goldfish(folder).args(["cache", "clear"]).assert().success();
    assert_eq!(prints().as_array().map(Vec::len), Some(0));
}

fn listed() {
    let folder = dataset();
    let folder = folder.path();
    let list = || {
        let listed = goldfish(folder)
            .args(["cache", "ls", "--json"])
            .assert()
            .success();
        let report: serde_json::Value = serde_json::from_str(&stdout(&listed)).expect("JSON");
        report
    };
    assert_eq!(list()["features"].as_array().map(Vec::len), Some(0));
    goldfish(folder).args(["cache", "clear"]).assert().success();
    train(folder, &["--epochs", "1", "-o", "one"]).success();
    let own = ["--epochs", "1", "-o", "two", "--targets", "classifier.3"];
    train(folder, &own).success();
    // What is said beside the rows is said again where it is damaged.
    for shelf in fs::read_dir(folder.join(".cache/features"))
        .expect("a store")
        .flatten()
    {
        fs::write(shelf.path().join("about.json"), "").expect("written");
    }
    assert_eq!(list()["features"][0].get("base"), None);
    for (run, targets) in [("three", "pixels"), ("four", "classifier.3")] {
        let words = ["--epochs", "1", "-o", run, "--targets", targets];
        train(folder, &words).success();
    }
    let report = list();
    let layers: Vec<&str> = report["features"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|features| {
            assert_eq!(features["images"], 5);
            assert_eq!(features["base"], "vgg19-tiny random:3");
            features["layer"].as_str().expect("a layer")
        })
        .collect();
    assert_eq!(layers.len(), 2);
    assert!(
        layers.contains(&"logits") && layers.contains(&"classifier.3"),
        "{layers:?}"
    );
    let text = goldfish(folder).args(["cache", "ls"]).assert().success();
    let text = stdout(&text);
    assert!(
        text.contains("just now") && text.contains("classifier.3"),
        "{text}"
    );
    goldfish(folder)
        .args(["cache", "clear", "--base", "vgg11"])
        .assert()
        .code(2)
        .stderr(contains("vgg19-tiny random:3"));
    assert_eq!(list()["features"].as_array().map(Vec::len), Some(2));
    goldfish(folder)
        .args(["cache", "clear", "--base", "vgg19-tiny random:3"])
        .assert()
        .success()
        .stdout(contains("free again"));
    assert_eq!(list()["features"].as_array().map(Vec::len), Some(0));
}

fn told() {
    let folder = dataset();
    let folder = folder.path();
    let whole = fs::read(folder.join("data/tench/0.png")).expect("a picture");
    fs::write(folder.join("data/tench/cut.png"), &whole[..whole.len() / 3]).expect("a cut file");
    for run in ["one", "two"] {
        train(folder, &["--epochs", "1", "-o", run])
            .code(3)
            .stderr(contains("cut.png"));
        train(folder, &["--epochs", "1", "-o", run, "--skip-bad"])
            .success()
            .stderr(contains("cut.png"));
    }
    // A file where the folder should be, and a size of nothing.
    fs::write(folder.join("file"), "mine").expect("a file");
    let run = |cache: &str, more: &[&str]| {
        let mut command = goldfish(folder);
        command.env("GOLDFISH_CACHE", folder.join(cache));
        command
            .args(["train", "data", "--skip-bad", "--epochs", "1"])
            .args(crate::cli::TINY)
            .args(more)
            .assert()
            .success()
    };
    run("file/cache", &["-o", "three"]).stderr(contains("not kept for the next"));
    run("none", &["-o", "four", "--store-size", "0"]);
    assert!(!folder.join("none").exists());
    assert!(adapter(folder, "three") == adapter(folder, "one"));
    assert!(adapter(folder, "four") == adapter(folder, "one"));
}
