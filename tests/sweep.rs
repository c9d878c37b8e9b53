//! A sweep trains each combination as a run of its own would, computes what is frozen once, and says which is the best.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::browser::Browser;
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
        gpu_trial("sweep::train_takes_parts_of_the_images_in_turn", kfold),
        gpu_trial("sweep::one_run_is_asked_for_or_several", one_or_several),
        gpu_trial("sweep::what_a_run_has_resolved_stays", resolved),
        gpu_trial("sweep::a_run_that_diverges_leaves_what_is_shared", diverged),
        gpu_trial("sweep::one_that_stops_says_what_is_done", stopped),
        gpu_trial(
            "sweep::a_run_that_cannot_be_done_keeps_none_of_the_others",
            broken,
        ),
        gpu_trial(
            "sweep::one_that_replaces_another_is_never_completed_from_its_runs",
            replaced,
        ),
        gpu_trial(
            "sweep::a_refusal_leaves_the_folder_as_it_was",
            left_as_it_was,
        ),
        gpu_trial("sweep::runs_on_other_images_are_not_compared", other_images),
        gpu_trial("sweep::names_that_are_no_text_are_names", no_text)
            .with_ignored_flag(!cfg!(target_os = "linux")),
        gpu_trial("sweep::a_browser_shows_the_page", page)
            .with_ignored_flag(Browser::path().is_none()),
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
            .stderr(contains("K must be a number from 2 to 10000"));
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
    // Of several parts none is the best run.
    let table = stdout(&done);
    assert!(
        table.contains("(the mean of 3 parts): lr 0.001."),
        "{table}"
    );
    assert_eq!(report["best"]["run"], Value::Null);
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
        2,
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

fn bytes(run: &Path) -> Vec<u8> {
    fs::read(run.join("adapter_model.safetensors")).expect("an adapter")
}

fn facts(folder: &Path) -> Value {
    let text = fs::read(folder.join("sweep.json")).expect("a report");
    serde_json::from_slice(&text).expect("JSON")
}

fn kfold() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "train", "data", "--kfold", "3", "--epochs", "2", "--lr", "0.01", "-o", "run",
    ];
    let done = run(folder, &words).success();
    let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
    assert_eq!(said.matches("frozen ").count(), 1, "{said}");
    // A row a part, then what they are together.
    let table = stdout(&done);
    for row in ["| 1  ", "| 3  ", "| mean  ", "| deviation |"] {
        assert!(table.contains(row), "{table}");
    }
    let told = facts(&folder.join("run"));
    let losses: Vec<f64> = told["runs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["score"]["loss"].as_f64().expect("a loss"))
        .collect();
    let mean = losses.iter().sum::<f64>() / 3.0;
    let squares: f64 = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
    let one = &told["combinations"][0];
    let near = |value: &Value, of: f64| (value.as_f64().expect("a number") - of).abs() < 1e-12;
    assert!(near(&one["score"]["loss"], mean), "{one}");
    assert!(
        near(&one["deviation"]["loss"], (squares / 2.0).sqrt()),
        "{one}"
    );
    // Each is the run that --fold makes.
    let fold = [
        "train", "data", "--fold", "2/3", "--epochs", "2", "--lr", "0.01", "-o", "one",
    ];
    run(folder, &fold).success();
    assert!(bytes(&folder.join("run/fold-2")) == bytes(&folder.join("one")));
    // It is gone on with by its folder alone, and what has ended stays; more epochs are more.
    let whole = bytes(&folder.join("run/fold-3"));
    fs::remove_dir_all(folder.join("run/fold-3")).expect("removed");
    let resume = ["train", "--resume", "run"];
    let again = goldfish(folder).args(resume).assert().success();
    again.stderr(contains("stays as it is").count(2));
    assert!(bytes(&folder.join("run/fold-3")) == whole);
    assert_eq!(
        facts(&folder.join("run"))["combinations"][0]["score"],
        one["score"]
    );
    // All together is what the runs took, whichever process did them.
    let told = facts(&folder.join("run"));
    let rows = told["runs"].as_array().expect("a list").iter();
    let seconds: f64 = rows
        .map(|row| row["seconds"].as_f64().expect("seconds"))
        .sum();
    let all = told["seconds"].as_f64().expect("seconds");
    assert!((all - seconds).abs() < 1e-6, "{told}");
    let more = [&resume[..], &["--epochs", "3"]].concat();
    goldfish(folder).args(&more).assert().success();
    let settings = fs::read_to_string(folder.join("run/fold-1/run.toml")).expect("settings");
    assert!(settings.contains("epochs = 3\n"), "{settings}");
    let changed = [&resume[..], &["--lr", "0.02"]].concat();
    let refused = goldfish(folder).args(&changed).assert().code(2);
    refused.stderr(contains("lr was 0.01 and is 0.02"));
    // What is there is not replaced unasked.
    run(folder, &words)
        .code(3)
        .stderr(contains("goldfish train --resume run"));
    run(folder, &[&words[..], &["--overwrite"]].concat()).success();
}

fn one_or_several() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "train", "data", "--kfold", "3", "-o", "run", "--epochs", "1",
    ];
    for more in ["--dry-run", "--verify-determinism"] {
        let refused = run(folder, &[&words[..], &[more]].concat()).code(2);
        refused.stderr(contains("--fold 1/3"));
    }
    for (bad, says) in [
        ("1", "K must be a number from 2 to 10000"),
        ("13", "K must lie between 2 and 12"),
    ] {
        let words = ["train", "data", "--kfold", bad, "-o", "run"];
        run(folder, &words).code(2).stderr(contains(says));
    }
    assert!(!folder.join("run").exists(), "nothing is left");
    run(folder, &[&words[..], &["--val-split", "0.3"]].concat()).code(2);
    // In a file with settings; what is typed goes before another way to validate there.
    fs::write(
        folder.join("all.toml"),
        "data = \"data\"\nval_split = 0.3\nepochs = 1\n",
    )
    .expect("written");
    run(
        folder,
        &["train", "--config", "all.toml", "--kfold", "2", "-o", "two"],
    )
    .success();
    assert!(folder.join("two/fold-2/report.html").exists());
    run(folder, &["train", "--config", "all.toml", "-o", "one"]).success();
    // A run is no folder for others.
    let within = ["train", "data", "--kfold", "2", "-o", "one"];
    run(folder, &within).code(3).stderr(contains("holds a run"));
    assert!(!folder.join("one/sweep.toml").exists());
    let none = goldfish(folder)
        .args(["sweep", "--resume", "-o", "one"])
        .assert();
    none.code(3).stderr(contains("no sweep to go on with"));
}

fn resolved() {
    let folder = data();
    let folder = folder.path();
    let base = ["train", "data", "--epochs", "1", "-o", "base"];
    run(folder, &base).success();
    let words = [
        "sweep",
        "data",
        "--lr",
        "1e-3,1e-2",
        "--val-split",
        "0.34",
        "--epochs",
        "2",
        "--batch-size",
        "auto",
        "--init-adapter",
        "base",
        "-o",
        "all",
    ];
    run(folder, &words).success();
    let (first, second) = (folder.join("all/lr-0.001"), folder.join("all/lr-0.01"));
    let whole = bytes(&second);
    fs::remove_dir_all(&second).expect("removed");
    // One that has not ended is gone on with, as it was.
    let settings = fs::read_to_string(first.join("run.toml")).expect("settings");
    fs::write(
        first.join("run.toml"),
        settings.replace("ended = \"complete\"", "ended = \"not-yet\""),
    )
    .expect("written");
    run(folder, &[&words[..], &["--resume"]].concat()).success();
    assert!(bytes(&second) == whole);
    assert_eq!(
        fs::read_to_string(first.join("run.toml")).expect("settings"),
        settings
    );
    // So is a single run.
    let more = [
        "train",
        "--resume",
        "all/lr-0.01",
        "--batch-size",
        "auto",
        "--epochs",
        "3",
    ];
    goldfish(folder).args(more).assert().success();
}

fn diverged() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "sweep",
        "data",
        "--lr",
        "1e30,1e-3",
        "--val-split",
        "0.34",
        "--epochs",
        "2",
        "--store",
        "off",
    ];
    let done = run(folder, &words).success();
    let said = String::from_utf8(done.get_output().stderr.clone()).expect("text");
    for once in ["device ", "images ", "frozen "] {
        let lines = said.lines().filter(|line| line.starts_with(once));
        assert_eq!(lines.count(), 1, "{once}: {said}");
    }
    // It is no reason not to go on.
    let again = goldfish(folder)
        .args(["sweep", "--resume"])
        .assert()
        .success();
    again.stderr(contains("it has diverged, and stays").and(contains("it has ended, and stays")));
    assert_eq!(report(folder)["combinations"][1]["diverged"], 1);
}

fn broken() {
    let folder = data();
    let folder = folder.path();
    let words = "sweep data --lr 1e-3,1e-2,1e-1 --val-split 0.34 --epochs 2 -o all";
    let words: Vec<&str> = words.split(' ').collect();
    run(folder, &words).success();
    let last = bytes(&folder.join("all/lr-0.1"));
    fs::remove_dir_all(folder.join("all/lr-0.1")).expect("removed");
    let first = folder.join("all/lr-0.001");
    let settings = fs::read_to_string(first.join("run.toml")).expect("settings");
    let begun = settings.replace("ended = \"complete\"", "ended = \"not-yet\"");
    fs::write(first.join("run.toml"), begun).expect("written");
    for entry in fs::read_dir(first.join("state")).expect("states") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            fs::write(path, "cut").expect("written");
        }
    }
    let on = goldfish(folder).args(["train", "--resume", "all"]).assert();
    on.code(3)
        .stderr(contains("all/lr-0.001").and(contains("run      3/3")));
    assert!(bytes(&folder.join("all/lr-0.1")) == last);
    let told = facts(&folder.join("all"));
    assert_eq!(told["runs"].as_array().map(Vec::len), Some(2), "{told}");
    // Where nothing came of any, that is how it ends.
    let words = "sweep data --lr 1e30,1e31 --val-split 0.34 --epochs 2 -o none";
    let words: Vec<&str> = words.split(' ').collect();
    run(folder, &words).code(5).stdout(contains("diverged"));
    goldfish(folder)
        .args(["train", "--resume", "none"])
        .assert()
        .code(5);
}

fn stopped() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "sweep",
        "data",
        "--lr",
        "1e-3,3e-3,1e-2",
        "--val-split",
        "0.34",
        "--epochs",
        "2",
        "-o",
        "all",
    ];
    // The folder of the second run is a file.
    fs::create_dir(folder.join("all")).expect("a folder");
    fs::write(folder.join("all/lr-0.003"), "mine").expect("a file");
    run(folder, &words)
        .code(3)
        .stderr(contains("goldfish train --resume all"));
    let told = facts(&folder.join("all"));
    assert_eq!(
        (&told["complete"], told["runs"].as_array().map(Vec::len)),
        (&false.into(), Some(1))
    );
    for name in ["sweep.md", "sweep.html"] {
        let text = fs::read_to_string(folder.join("all").join(name)).expect("text");
        assert!(
            text.contains("1 of 3") && text.contains("goldfish train --resume all"),
            "{text}"
        );
    }
    fs::remove_file(folder.join("all/lr-0.003")).expect("removed");
    goldfish(folder)
        .args(["train", "--resume", "all"])
        .assert()
        .success();
    assert_eq!(facts(&folder.join("all"))["complete"], true);
}

fn replaced() {
    let folder = data();
    let folder = folder.path();
    let words: Vec<&str> = "sweep data --val-split 0.34 --epochs 2 -o all"
        .split(' ')
        .collect();
    let first = [&words[..], &["--lr", "1e-3,1e-2"]].concat();
    run(folder, &first).success();
    let (one, other) = (folder.join("all/lr-0.001"), folder.join("all/lr-0.01"));
    let old = bytes(&other);
    // Nobody may write where the second run goes: the new sweep ends after its first.
    fs::write(other.join("run.lock"), "").expect("a file");
    let lock = fs::File::open(other.join("run.lock")).expect("the file");
    fs4::FileExt::lock(&lock).expect("the lock");
    let again = [&first[..], &["--seed", "7", "--overwrite"]].concat();
    run(folder, &again).code(3);
    drop(lock);
    assert_eq!(facts(&folder.join("all"))["complete"], false);
    goldfish(folder)
        .args(["train", "--resume", "all"])
        .assert()
        .success()
        .stderr(contains("stays as it is").count(1));
    assert!(bytes(&other) != old, "it is the run of the sweep before");
    for run in [&one, &other] {
        let settings = fs::read_to_string(run.join("run.toml")).expect("settings");
        assert!(settings.contains("seed = 7\n"), "{settings}");
    }
    // What is gone on with alone is still the sweep's.
    let more = ["train", "--resume", "all/lr-0.01", "--epochs", "3"];
    goldfish(folder).args(more).assert().success();
    let settings = fs::read_to_string(other.join("run.toml")).expect("settings");
    let about = fs::read_to_string(folder.join("all/sweep.toml")).expect("what was asked for");
    let id = about.lines().find_map(|line| line.strip_prefix("id = "));
    let id = format!("sweep = {}", id.expect("an id"));
    assert!(settings.contains(&id), "{settings}");
    // Without a list there is one run, and none to compare it with.
    let alone = [&words[..words.len() - 1], &["alone"]].concat();
    run(folder, &alone).success();
    let page = fs::read_to_string(folder.join("alone/sweep.html")).expect("a page");
    assert!(page.contains("Trained once;") && !page.contains("1 combinations"));
    // One that diverges takes the place of the whole one: its page tells of it, and no other run stands beside.
    let wild = [&words[..], &["--lr", "1e-3,1e30", "--overwrite"]].concat();
    run(folder, &wild).success();
    let row = |told: &Value| {
        assert_eq!(told["runs"][1]["score"], Value::Null, "{told}");
        folder.join(told["runs"][1]["run"].as_str().expect("a path"))
    };
    let diverged = row(&facts(&folder.join("all")));
    fs::remove_dir_all(&diverged).expect("removed");
    fs::rename(&other, &diverged).expect("renamed");
    run(folder, &wild).success();
    assert_eq!(row(&facts(&folder.join("all"))), diverged);
    let settings = fs::read_to_string(diverged.join("run.toml")).expect("settings");
    assert!(settings.contains("ended = \"diverged\""), "{settings}");
    let mut names = fs::read_dir(folder.join("all")).expect("a folder");
    let beside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("-stopped-");
    assert!(!names.any(|entry| beside(&entry.expect("an entry"))));
}

fn left_as_it_was() {
    let folder = data();
    let folder = folder.path();
    let words = ["train", "data", "--kfold", "13", "-o"];
    // The user's own folder stays, and none is left that was made.
    fs::create_dir(folder.join("mine")).expect("a folder");
    run(folder, &[&words[..], &["mine"]].concat()).code(2);
    run(folder, &[&words[..], &["deep/in"]].concat())
        .code(2)
        .stderr(contains("resume ").not());
    assert!(folder.join("mine").exists() && !folder.join("deep").exists());
    // A run of nobody's is no sweep.
    let one = "train data --fold 1/2 --epochs 1 -o some/fold-1";
    run(folder, &one.split(' ').collect::<Vec<_>>()).success();
    let kfold = ["train", "data", "--kfold", "2", "--epochs", "1", "-o"];
    run(folder, &[&kfold[..], &["some"]].concat()).code(3);
    assert!(!folder.join("some/sweep.toml").exists());
    // Another process has it.
    run(folder, &[&kfold[..], &["all"]].concat()).success();
    let all = folder.join("all");
    let before = ["sweep.toml", "sweep.html", "sweep.json", "sweep.md"]
        .map(|name| (all.join(name), fs::read(all.join(name)).expect("a file")));
    fs::write(all.join("run.lock"), "").expect("a file");
    let lock = fs::File::open(all.join("run.lock")).expect("the file");
    fs4::FileExt::lock(&lock).expect("the lock");
    let again = [&kfold[..], &["all", "--overwrite"]].concat();
    run(folder, &again)
        .code(3)
        .stderr(contains("writes a run here"));
    drop(lock);
    // A refusal at the first run, and at a later one of which the first had ended.
    let wrong = [&again[..], &["--rank", "0"]].concat();
    run(folder, &wrong).code(2);
    fs::remove_dir_all(all.join("fold-2")).expect("removed");
    fs::write(all.join("fold-2"), "mine").expect("a file");
    let resumed = ["train", "--resume", "all", "--keep", "3"];
    goldfish(folder).args(resumed).assert().code(3);
    for (path, bytes) in before {
        assert!(fs::read(&path).expect("a file") == bytes, "{path:?}");
    }
    // An estimate is of one run.
    goldfish(folder)
        .args(["estimate", "--config", "all/sweep.toml"])
        .assert()
        .code(3)
        .stderr(contains("--fold 1/2"));
}

fn other_images() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "train", "data", "--kfold", "2", "--epochs", "1", "-o", "a|b",
    ];
    run(folder, &words).success();
    let table = fs::read_to_string(folder.join("a|b/sweep.md")).expect("a table");
    assert!(table.contains("a\\|b/fold-1"), "{table}");
    fs::remove_dir_all(folder.join("a|b/fold-2")).expect("removed");
    pictures(&folder.join("data"), "round", &[(33, 44)]);
    goldfish(folder)
        .args(["train", "--resume", "a|b"])
        .assert()
        .code(3)
        .stderr(contains("fold-1").and(contains("was trained on other images: 1 ")));
    // Where its images are gone, the sweep is what is named.
    fs::remove_dir_all(folder.join("data")).expect("removed");
    let path = folder.join("a|b/fold-1/run.toml");
    let settings = fs::read_to_string(&path).expect("settings");
    let begun = settings.replace("ended = \"complete\"", "ended = \"not-yet\"");
    fs::write(&path, begun).expect("written");
    goldfish(folder)
        .args(["train", "--resume", "a|b"])
        .assert()
        .code(3)
        .stderr(contains("train DATA --resume a|b\n"));
}

#[cfg(target_os = "linux")]
fn no_text() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;

    let folder = data();
    let folder = folder.path();
    let val = OsStr::from_bytes(b"val\xff");
    fs::create_dir(folder.join(val)).expect("a folder");
    for class in ["round", "pointed"] {
        pictures(&folder.join(val), class, &[(50, 40)]);
    }
    let words = ["sweep", "data", "--lr", "1e-3,1e-2", "--epochs", "1"];
    let mut words: Vec<OsString> = words.map(OsString::from).into();
    words.extend(["--val".into(), val.into(), "-o".into()]);
    words.push(OsStr::from_bytes(b"all\xff").into());
    let done = goldfish(folder).args(&words).args(TINY).assert();
    done.success();
    let all = folder.join(OsStr::from_bytes(b"all\xff"));
    let page = fs::read_to_string(all.join("sweep.html")).expect("a page");
    assert!(page.contains("href=\"lr-0.001/report.html\""), "{page}");
    assert_eq!(facts(&all)["complete"], true);
}

#[cfg(not(target_os = "linux"))]
fn no_text() {}

fn page() {
    let folder = data();
    let folder = folder.path();
    let words = [
        "sweep",
        "data",
        "--lr",
        "1e-3,1e-2,1e30",
        "--rank",
        "2",
        "--kfold",
        "2",
        "--epochs",
        "3",
        "-o",
        "a <b>sweep",
    ];
    run(folder, &words).success();
    let path = folder.join("a <b>sweep/sweep.html");
    for size in [[1200, 900], [360, 740]] {
        let mut browser = Browser::open(&path, size);
        let mut ask = |what: &str| browser.evaluate(what);
        assert_eq!(ask("document.title"), "a <b>sweep – goldfish");
        assert_eq!(
            ask("document.querySelectorAll('#runs tbody tr').length"),
            3 * 3
        );
        assert_eq!(
            ask("document.querySelectorAll('#runs tbody tr.best').length"),
            1
        );
        // A line a run that did not diverge, in each of two charts.
        let drawn =
            "[...document.querySelectorAll('.curve')].filter(c => c.getBBox().width > 20).length";
        assert_eq!(ask(drawn), 2 * 4);
        let links = ask(
            "[...document.querySelectorAll('#runs a')].map(a => decodeURI(new URL(a.href).pathname))",
        );
        let links = links.as_array().expect("a list").iter();
        let there: Vec<bool> = links
            .map(|link| Path::new(link.as_str().expect("a path")).exists())
            .collect();
        assert_eq!(there.len(), 6);
        assert!(there.iter().all(|there| *there), "{there:?}");
        assert_eq!(
            ask("document.documentElement.scrollWidth <= innerWidth"),
            true
        );
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
}
