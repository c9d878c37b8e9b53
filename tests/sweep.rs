//! A sweep trains each combination as a run of its own would, computes what is frozen once, and says which is the best.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::{TINY, goldfish, stdout};
use crate::support::{gpu_trial, pictures, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("sweep::without_images_to_compare_by_it_is_refused", refused),
        gpu_trial(
            "sweep::each_combination_is_the_run_that_train_makes_and_the_best_is_named",
            same_runs,
        ),
        gpu_trial(
            "sweep::variants_that_are_kept_are_made_once_and_never_for_other_parts",
            variants,
        ),
        gpu_trial("sweep::parts_of_the_images_take_turns", folds),
    ]
}

/// Six pictures of each of two classes.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let sizes: Vec<(u32, u32)> = (0..6).map(|i| (40 + 7 * i, 70 - 5 * i)).collect();
    for class in ["round", "pointed"] {
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

fn run(folder: &Path, words: &[&str]) -> assert_cmd::assert::Assert {
    goldfish(folder).args(words).args(TINY).assert()
}

fn report(folder: &Path) -> Value {
    let text = fs::read(folder.join("runs/sweep/sweep.json")).expect("a report");
    serde_json::from_slice(&text).expect("JSON")
}

fn refused() {
    let folder = data();
    run(folder.path(), &["sweep", "data", "--lr", "1e-3,1e-4"])
        .code(2)
        .stderr(contains("--val-split"));
    for k in ["0", "1"] {
        run(folder.path(), &["sweep", "data", "--kfold", k])
            .code(2)
            .stderr(contains("--kfold must be at least 2"));
    }
}

fn same_runs() {
    let folder = data();
    let folder = folder.path();
    let more = [
        "--epochs",
        "3",
        "--val-split",
        "0.34",
        "--dropout",
        "0.1",
        "--seed",
        "4",
    ];
    let lists = ["--lr", "1e-3,3e-4", "--rank", "2,4"];
    let swept = [&["sweep", "data"], &lists[..], &more[..]].concat();
    let done = run(folder, &swept).success();
    let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
    assert_eq!(said.matches("frozen ").count(), 1, "{said}");
    assert!(folder.join("runs/sweep/sweep.md").exists());
    let report = report(folder);
    let combinations = report["combinations"].as_array().expect("a list");
    assert_eq!(combinations.len(), 4);
    let losses: Vec<f64> = combinations
        .iter()
        .map(|c| c["score"]["loss"].as_f64().expect("a loss"))
        .collect();
    assert!(losses.is_sorted(), "{losses:?}");
    let best = report["best"]["run"].as_str().expect("a run");
    assert!(
        stdout(&done).contains(&format!("{best}.")),
        "{}",
        stdout(&done)
    );
    for (lr, rank) in [("0.001", "2"), ("0.0003", "4")] {
        let one = [
            &[
                "train",
                "data",
                "--lr",
                lr,
                "--rank",
                rank,
                "-o",
                "one",
                "--overwrite",
                "--store",
                "off",
            ],
            &more[..],
        ]
        .concat();
        run(folder, &one).success();
        let name = format!("runs/sweep/lr-{lr}_rank-{rank}");
        for file in [
            "adapter_model.safetensors",
            "best/adapter_model.safetensors",
        ] {
            let bytes = |run: &str| fs::read(folder.join(run).join(file)).expect("an adapter");
            assert!(bytes(&name) == bytes("one"), "{name} {file}");
        }
    }
    // Each is a run that can be gone on with.
    let name = "runs/sweep/lr-0.001_rank-2";
    let more_epochs = ["train", "--resume", name, "--epochs", "4"];
    goldfish(folder).args(more_epochs).assert().success();
    // What is there is not replaced; gone on with, nothing is trained twice.
    run(folder, &swept).code(3);
    let before = fs::read(folder.join("runs/sweep/lr-0.0003_rank-4/adapter_model.safetensors"));
    fs::remove_dir_all(folder.join("runs/sweep/lr-0.001_rank-4")).expect("removed");
    fs::remove_dir_all(folder.join(name)).expect("removed");
    let again = [&swept[..], &["--resume"]].concat();
    run(folder, &again).success();
    let after = fs::read(folder.join("runs/sweep/lr-0.0003_rank-4/adapter_model.safetensors"));
    assert!(before.expect("an adapter") == after.expect("an adapter"));
    let again = self::report(folder);
    for key in ["best", "combinations"] {
        let scores = |report: &Value| match &report[key] {
            Value::Array(all) => all.iter().map(|c| c["score"].clone()).collect(),
            one => vec![one["score"].clone()],
        };
        assert_eq!(scores(&again), scores(&report), "{key}");
    }
}

fn folds() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "sweep",
        "data",
        "--lr",
        "1e-3,1e30",
        "--kfold",
        "3",
        "--epochs",
        "2",
        "--metric",
        "top1",
    ];
    let done = run(folder, &words).success();
    // The runs after one that diverged have what it had.
    let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
    assert_eq!(said.matches("frozen ").count(), 1, "{said}");
    let report = report(folder);
    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 6);
    let counts: u64 = runs[..3]
        .iter()
        .map(|run| run["score"]["count"].as_u64().expect("a count"))
        .sum();
    assert_eq!(counts, 12, "each image is validated with once");
    assert_eq!(report["combinations"][0]["runs"], 3);
    assert_eq!(report["combinations"][0]["settings"]["lr"], 1e-3);
    // A rate that is too high is an answer too.
    assert_eq!(report["combinations"][1]["score"], Value::Null);
    for fold in ["0/3", "4/3", "1", "1/1"] {
        let words = ["train", "data", "--fold", fold, "-o", "one"];
        run(folder, &words).code(2);
    }
}

fn variants() {
    let folder = data();
    let folder = folder.path();
    let more: Vec<&str> = "--epochs 3 --augment strong --cache-variants 2 --seed 4 --lr 1e-3,3e-4"
        .split(' ')
        .collect();
    // How often the frozen layers ran; the bytes are those of runs by themselves.
    let swept = |words: &[&str], made: usize, runs: &[(&str, [&str; 4])]| {
        let swept = [&["sweep", "data", "--overwrite"], &more[..], words].concat();
        let done = run(folder, &swept).success();
        let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
        let frozen = said.lines().filter(|line| line.starts_with("frozen "));
        let computed = frozen
            .filter(|line| !line.contains("nothing is left"))
            .count();
        assert_eq!(computed, made, "{words:?}: {said}");
        for (name, words) in runs {
            let one = [
                "train",
                "data",
                "-o",
                "one",
                "--overwrite",
                "--store",
                "off",
            ];
            let own = [&one[..], &more[..more.len() - 1], &["1e-3"], words].concat();
            run(folder, &own).success();
            let bytes = |run: &str| {
                let file = folder.join(run).join("adapter_model.safetensors");
                fs::read(file).expect("an adapter")
            };
            assert!(
                bytes(&format!("runs/sweep/{name}")) == bytes("one"),
                "{name}"
            );
        }
    };
    let rank = ["--val-split", "0.34", "--rank", "2"];
    let other = ["--val-split", "0.34", "--rank", "4"];
    swept(
        &["--val-split", "0.34", "--rank", "2,4", "--store", "off"],
        1,
        &[("lr-0.001_rank-2", rank), ("lr-0.001_rank-4", other)],
    );
    // Another part's pictures have other variants: of those nothing is taken that is not theirs.
    let fold = ["--fold", "2/2", "--rank", "2"];
    let folds = [("lr-0.001_rank-2_fold-2", fold)];
    swept(
        &["--kfold", "2", "--rank", "2", "--store", "off"],
        4,
        &folds,
    );
    swept(&["--kfold", "2", "--rank", "2"], 2, &folds);
    // Without an end they are made in every epoch, and only what validates is kept.
    let more: Vec<&str> =
        "sweep data --overwrite --epochs 2 --augment light --val-split 0.34 --lr 1e-3,3e-4"
            .split(' ')
            .collect();
    run(folder, &more).success();
    let one = "train data -o one --overwrite --store off --epochs 2 --augment light --val-split 0.34 --lr 3e-4";
    run(folder, &one.split(' ').collect::<Vec<_>>()).success();
    let bytes = |run: &str| fs::read(folder.join(run).join("adapter_model.safetensors"));
    let (swept, one) = (bytes("runs/sweep/lr-0.0003"), bytes("one"));
    assert!(swept.expect("an adapter") == one.expect("an adapter"));
}
