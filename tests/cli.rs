//! The program as a user meets it.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::support::{gpu_trial, pictures, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("cli::help_teaches_and_unknown_flags_exit_2", help),
        trial("cli::settings_that_cannot_train_exit_2", bad_settings),
        trial(
            "cli::an_unknown_device_exits_4_and_lists_the_devices",
            unknown_device,
        ),
        gpu_trial("cli::devices_lists_what_there_is", devices),
        gpu_trial(
            "cli::train_writes_a_run_and_predict_uses_it",
            train_and_predict,
        ),
        gpu_trial("cli::a_run_is_not_overwritten_unless_asked", overwrite),
        gpu_trial("cli::training_goes_on_from_an_adapter", init_adapter),
        gpu_trial(
            "cli::merged_weights_say_what_the_adapter_says_and_unmerging_gives_the_base",
            merging,
        ),
        gpu_trial("cli::adapters_add_up_with_their_scales", several_adapters),
        gpu_trial("cli::eval_counts_what_is_right", evaluation),
        gpu_trial("cli::inspect_shows_modules_tensors_and_norms", inspection),
        gpu_trial("cli::predict_prints_json_csv_and_tables", formats),
        gpu_trial(
            "cli::bad_data_exits_3_with_the_file_and_the_remedy",
            bad_data,
        ),
        gpu_trial("cli::skip_bad_goes_on_and_lists_what_it_left_out", skip_bad),
        gpu_trial(
            "cli::a_diverging_run_exits_5_and_keeps_an_adapter",
            diverging,
        ),
        gpu_trial(
            "cli::an_output_folder_that_cannot_be_written_exits_3_before_any_work",
            unwritable,
        ),
        gpu_trial("cli::the_demo_says_goldfish_five_times", demo),
        gpu_trial("cli::ctrl_c_exits_130_with_the_adapter_so_far", interrupted),
    ]
}

fn goldfish(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    command.current_dir(folder);
    command
}

/// A small base, so that a run takes a second.
const TINY: [&str; 6] = [
    "--arch",
    "vgg19-tiny",
    "--weights",
    "random:3",
    "--image-size",
    "32",
];

/// A folder with `data/<category>/`: three goldfish and two tenches.
fn dataset() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(
        &folder.path().join("data"),
        "goldfish",
        &[(40, 50), (60, 40), (33, 90)],
    );
    pictures(&folder.path().join("data"), "tench", &[(64, 64), (48, 37)]);
    folder
}

fn train(folder: &Path, more: &[&str]) -> Assert {
    goldfish(folder)
        .args(["train", "data"])
        .args(TINY)
        .args(more)
        .assert()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

fn help() {
    let here = Path::new(".");
    for command in [
        "train", "predict", "eval", "merge", "demo", "devices", "selftest",
    ] {
        goldfish(here)
            .args([command, "--help"])
            .assert()
            .success()
            .stdout(contains("--device"));
    }
    goldfish(here)
        .arg("--help")
        .assert()
        .success()
        .stdout(contains("Exit codes").and(contains("goldfish demo")));
    goldfish(here)
        .args(["train", "data", "--rnak", "3"])
        .assert()
        .code(2)
        .stderr(contains("--rank"));
    goldfish(here).args(["predict"]).assert().code(2);
}

fn bad_settings() {
    let folder = dataset();
    for (flags, says) in [
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--lr", "NaN"], "--lr must be a positive number"),
        (["--lr", "-1"], "--lr"),
        (["--rank", "ten"], "--rank"),
        (["--dropout", "1"], "--dropout must lie between 0 and 1"),
        (["--rank-pattern", "features.0"], "is not NAME=VALUE"),
        (["--weights", "random:x"], "not a whole number"),
    ] {
        let mut command = goldfish(folder.path());
        command
            .args(["train", "data"])
            .args(flags)
            .assert()
            .code(2)
            .stderr(contains(says));
    }
    assert!(!folder.path().join("runs").exists(), "nothing was begun");
}

/// Every logit that `predict` prints for the pictures of goldfish.
fn logits(folder: &Path, more: &[&str]) -> Vec<f64> {
    let mut command = goldfish(folder);
    command.args([
        "predict",
        "data/goldfish",
        "--top",
        "1000",
        "--format",
        "json",
    ]);
    let text = stdout(&command.args(more).assert().success());
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let mut logits = Vec::new();
    for image in report["images"].as_array().expect("images") {
        let mut one = vec![0.0; 1000];
        for p in image["predictions"].as_array().expect("predictions") {
            one[p["index"].as_u64().expect("an index") as usize] =
                p["logit"].as_f64().expect("a logit");
        }
        logits.extend(one);
    }
    logits
}

/// The largest difference over the largest magnitude.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let worst = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    worst / b.iter().map(|b| b.abs()).fold(0.0, f64::max)
}

const LAYERS: &[&str] = &[
    "--targets",
    "features.0,features.3?,classifier",
    "--rank",
    "3",
    "--rank-pattern",
    "features.*=2",
    "--lr",
    "0.01",
    "--epochs",
    "4",
];

fn merging() {
    let folder = dataset();
    train(folder.path(), &[LAYERS, &["-o", "run"]].concat()).success();
    let mut merge = goldfish(folder.path());
    merge
        .args(["merge", "run", "-o", "merged.safetensors"])
        .assert()
        .success()
        .stdout(contains("7 modules"));
    let base = logits(folder.path(), &TINY);
    let adapted = logits(folder.path(), &["--adapter", "run"]);
    let by_file = |file: &str| {
        let how = [
            "--arch",
            "vgg19-tiny",
            "--image-size",
            "32",
            "--weights",
            file,
        ];
        logits(folder.path(), &how)
    };
    assert!(difference(&adapted, &base) > 1e-3, "the adapter learned");
    // Both are f32 through 19 layers; PyTorch's own f32 is as far from f64.
    assert!(difference(&by_file("merged.safetensors"), &adapted) < 1e-5);
    let mut unmerge = goldfish(folder.path());
    unmerge
        .args(["merge", "run", "-o", "base.safetensors", "--unmerge"])
        .args(["--weights", "merged.safetensors"])
        .assert()
        .success()
        .stderr(contains("not bit-exact"));
    assert!(difference(&by_file("base.safetensors"), &base) < 1e-5);
    // The base and what is there are not overwritten, and the branch from the pixels is no weight.
    let refused = |args: &[&str], code: i32, says: &str| {
        let mut command = goldfish(folder.path());
        command
            .arg("merge")
            .args(args)
            .assert()
            .code(code)
            .stderr(contains(says));
    };
    refused(&["run", "-o", "merged.safetensors"], 3, "--overwrite");
    let onto_itself = [
        "run",
        "-o",
        "base.safetensors",
        "--weights",
        "base.safetensors",
        "--overwrite",
    ];
    refused(&onto_itself, 3, "never changed");
    refused(&["run", "-o", "none/merged.safetensors"], 3, "cannot write");
    train(folder.path(), &["-o", "branch", "--epochs", "1"]).success();
    refused(
        &["branch", "-o", "branch.safetensors"],
        2,
        "beside the network",
    );
    assert!(!folder.path().join("branch.safetensors").exists());
}

fn several_adapters() {
    let folder = dataset();
    train(folder.path(), &[LAYERS, &["-o", "one"]].concat()).success();
    let other = [
        "--targets",
        "pixels,classifier.6",
        "--seed",
        "4",
        "-o",
        "two",
        "--epochs",
        "2",
    ];
    train(folder.path(), &other).success();
    let with = |adapters: &[&str]| {
        let flags: Vec<&str> = adapters.iter().flat_map(|a| ["--adapter", a]).collect();
        logits(folder.path(), &[&TINY[..], &flags].concat())
    };
    let base = with(&["none"]);
    assert_eq!(base, logits(folder.path(), &TINY));
    // An adapted first layer runs on another kernel: other roundings.
    assert!(difference(&with(&["one@0"]), &base) < 1e-5);
    assert!(difference(&with(&["one@0.5", "one@0.5"]), &with(&["one"])) < 1e-5);
    let both = with(&["one", "two@-1"]);
    assert!(difference(&both, &with(&["two@-1", "one"])) < 1e-5);
    assert!(difference(&both, &with(&["one"])) > 1e-3);
    let mut command = goldfish(folder.path());
    command
        .args(["predict", "data", "--adapter", "one@much"])
        .assert()
        .code(2)
        .stderr(contains("is not a number"));
    train(folder.path(), &["--targets", "features.1", "-o", "three"])
        .code(2)
        .stderr(contains("\"features.1\" names no convolution").and(contains("features.34")));
}

fn evaluation() {
    let folder = dataset();
    train(
        folder.path(),
        &["-o", "run", "--epochs", "30", "--lr", "0.01"],
    )
    .success();
    let score = |more: &[&str]| -> Value {
        let mut command = goldfish(folder.path());
        command.args(["eval", "data", "--json"]).args(more);
        serde_json::from_str(&stdout(&command.assert().success())).expect("JSON")
    };
    let (before, after) = (score(&TINY), score(&["--adapter", "run"]));
    assert_eq!(after["images"], 5);
    assert_eq!(
        (&after["top1"], &after["top5"]),
        (&Value::from(1.0), &Value::from(1.0))
    );
    assert!(after["loss"].as_f64() < before["loss"].as_f64());
    assert!(before["top1"].as_f64() < Some(1.0));
    let categories = after["categories"].as_array().expect("categories");
    assert_eq!(categories.len(), 2);
    assert_eq!(categories[1]["category"], "goldfish");
    assert_eq!(categories[1]["taken_for"][0]["images"], 3);
    let mut command = goldfish(folder.path());
    command
        .args(["eval", "data", "--adapter", "run"])
        .assert()
        .success()
        .stdout(contains("tench").and(contains("top-1")));
}

fn inspection() {
    let folder = dataset();
    train(folder.path(), &[LAYERS, &["-o", "run"]].concat()).success();
    let inspect = |path: &str| {
        let mut command = goldfish(folder.path());
        command.args(["inspect", path, "--json"]);
        let value: Value =
            serde_json::from_str(&stdout(&command.assert().success())).expect("JSON");
        value
    };
    let (run, file) = (inspect("run"), inspect("run/adapter_model.safetensors"));
    assert_eq!(run, file);
    let modules = run["modules"].as_array().expect("modules");
    assert_eq!(modules.len(), 7);
    assert_eq!(modules[0]["module"], "classifier.0");
    assert_eq!(
        (&modules[0]["rank"], &modules[3]["rank"]),
        (&Value::from(3), &Value::from(2))
    );
    assert_eq!(run["metadata"]["format"], "pt");
    for module in modules {
        let [a, b, ba] =
            ["norm_a", "norm_b", "norm_ba"].map(|n| module[n].as_f64().expect("a norm"));
        assert!(
            a > 0.0 && b > 0.0 && ba > 0.0 && ba <= a * b * 1.000001,
            "{module}"
        );
    }
    let mut command = goldfish(folder.path());
    command
        .args(["inspect", "run"])
        .assert()
        .success()
        .stdout(contains("features.34").and(contains("|BA|")));
    fs::write(
        folder.path().join("run/adapter_model.safetensors"),
        b"rubbish",
    )
    .expect("a file");
    let mut command = goldfish(folder.path());
    command
        .args(["inspect", "run"])
        .assert()
        .code(3)
        .stderr(contains("safetensors file"));
}

fn unknown_device() {
    let folder = dataset();
    let mut command = goldfish(folder.path());
    command
        .args(["train", "data", "--device", "nonesuch"])
        .assert()
        .code(4)
        .stderr(contains("device"));
}

fn devices() {
    let here = Path::new(".");
    goldfish(here)
        .arg("devices")
        .assert()
        .success()
        .stdout(contains("binding").and(contains("driver")));
    let assert = goldfish(here)
        .args(["devices", "--json"])
        .assert()
        .success();
    let devices: Value = serde_json::from_str(&stdout(&assert)).expect("JSON");
    assert_eq!(devices[0]["index"], 0);
}

fn train_and_predict() {
    let folder = dataset();
    train(folder.path(), &["-o", "run", "--epochs", "30"])
        .success()
        .stdout(contains("adapter").and(contains("loss")));
    let run = folder.path().join("run");
    let lines = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let steps: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(steps.len(), 30);
    for (index, step) in steps.iter().enumerate() {
        assert_eq!(
            (&step["step"], &step["epoch"]),
            (&(index + 1).into(), &(index + 1).into())
        );
        assert!(step["loss"].is_f64() && step["lr"] == 1e-3 && step["seconds"].is_f64());
    }
    let settings = fs::read_to_string(run.join("run.toml")).expect("settings");
    for line in [
        "arch = \"vgg19-tiny\"",
        "weights = \"random:3\"",
        "rank = 10",
        "seed = 0",
    ] {
        assert!(settings.contains(line), "{settings}");
    }
    // run.toml tells predict which base the adapter belongs to.
    let mut predict = goldfish(folder.path());
    let assert = predict
        .args([
            "predict",
            "data",
            "--adapter",
            "run",
            "--top",
            "1",
            "--format",
            "csv",
        ])
        .assert()
        .success();
    let table = stdout(&assert);
    let said: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|l| l.split(',').nth(3))
        .collect();
    assert_eq!(said, ["goldfish", "goldfish", "goldfish", "tench", "tench"]);
}

fn overwrite() {
    let folder = dataset();
    let short = ["-o", "run", "--epochs", "1"];
    train(folder.path(), &short).success();
    let adapter = folder.path().join("run/adapter_model.safetensors");
    let first = fs::read(&adapter).expect("an adapter");
    train(folder.path(), &[&short[..], &["--seed", "1"]].concat())
        .code(3)
        .stderr(contains("--overwrite"));
    assert_eq!(fs::read(&adapter).expect("an adapter"), first);
    train(
        folder.path(),
        &[&short[..], &["--overwrite", "--cache", "off"]].concat(),
    )
    .success();
    assert_eq!(
        fs::read(&adapter).expect("an adapter"),
        first,
        "one seed, one adapter, cached or not"
    );
}

fn init_adapter() {
    let folder = dataset();
    train(
        folder.path(),
        &["-o", "one", "--epochs", "20", "--rank", "3", "--alpha", "6"],
    )
    .success();
    train(
        folder.path(),
        &["-o", "two", "--epochs", "1", "--init-adapter", "one"],
    )
    .success();
    let losses = |run: &str| -> Vec<f64> {
        let lines =
            fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).expect("metrics");
        let values = lines
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["loss"].as_f64());
        values.map(|l| l.expect("a loss")).collect()
    };
    // The second's first loss is that of the first's last update.
    let (one, two) = (losses("one"), losses("two"));
    assert!(one[19] < one[0] && two[0] < one[19], "{one:?} then {two:?}");
    let config =
        fs::read_to_string(folder.path().join("two/adapter_config.json")).expect("settings");
    assert!(
        config.contains("\"r\": 3") && config.contains("\"lora_alpha\": 6"),
        "{config}"
    );
}

fn formats() {
    let folder = dataset();
    let predict = |format: &str, top: &str| {
        let mut command = goldfish(folder.path());
        command
            .args(["predict", "data/tench/1.png", "data/goldfish"])
            .args(TINY);
        stdout(
            &command
                .args(["--format", format, "--top", top])
                .assert()
                .success(),
        )
    };
    let report: Value = serde_json::from_str(&predict("json", "1000")).expect("JSON");
    let images = report["images"].as_array().expect("images");
    let paths: Vec<&str> = images.iter().filter_map(|i| i["path"].as_str()).collect();
    assert_eq!(
        paths,
        [
            "data/tench/1.png",
            "data/goldfish/0.png",
            "data/goldfish/1.png",
            "data/goldfish/2.png"
        ]
    );
    for image in images {
        let predictions = image["predictions"].as_array().expect("predictions");
        assert_eq!(predictions.len(), 1000);
        let sum: f64 = predictions
            .iter()
            .filter_map(|p| p["probability"].as_f64())
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        let logits: Vec<f64> = predictions
            .iter()
            .filter_map(|p| p["logit"].as_f64())
            .collect();
        assert!(logits.is_sorted_by(|a, b| a >= b));
        assert!(predictions[0]["index"].is_u64() && predictions[0]["category"].is_string());
    }
    let csv = predict("csv", "2");
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 1 + 4 * 2);
    assert_eq!(rows[0], "path,rank,index,category,logit,probability");
    assert!(predict("table", "3").contains("data/goldfish/0.png\n"));
}

fn bad_data() {
    let folder = dataset();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("data/goldfish/bad.png"), b"\x89PNG\r\n\x1a\n").expect("a file");
    train(folder.path(), &[])
        .code(3)
        .stderr(contains("bad.png").and(contains("--skip-bad")));
    fs::remove_file(at("data/goldfish/bad.png")).expect("it was there");
    fs::write(at("weights.safetensors"), [7; 64]).expect("a file");
    let mut command = goldfish(folder.path());
    command.args(["train", "data", "--weights", "weights.safetensors"]);
    command
        .assert()
        .code(3)
        .stderr(contains("weights.safetensors"));
    fs::rename(at("data/tench"), at("data/tensh")).expect("a new name");
    train(folder.path(), &[])
        .code(3)
        .stderr(contains("\"tensh\" (nearest: tench"));
    let mut command = goldfish(folder.path());
    command
        .args(["predict", "missing.png"])
        .args(TINY)
        .assert()
        .code(3)
        .stderr(contains("missing.png"));
    assert!(!at("runs/train/adapter_model.safetensors").exists());
}

fn skip_bad() {
    let folder = dataset();
    fs::write(folder.path().join("data/goldfish/bad.png"), b"").expect("a file");
    train(folder.path(), &["--skip-bad", "--epochs", "1"])
        .success()
        .stderr(
            contains("skipped")
                .and(contains("bad.png"))
                .and(contains("5 images in 2 categories")),
        );
}

fn diverging() {
    let folder = dataset();
    train(folder.path(), &["-o", "run", "--lr", "1e38"])
        .code(5)
        .stderr(contains("--lr"));
    let mut predict = goldfish(folder.path());
    predict
        .args(["predict", "data", "--adapter", "run"])
        .assert()
        .success();
}

fn unwritable() {
    let folder = dataset();
    fs::write(folder.path().join("file"), b"").expect("a file");
    train(folder.path(), &["-o", "file/run"])
        .code(3)
        .stderr(contains("file/run: cannot make the folder"));
}

fn demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let assert = goldfish(folder.path())
        .args(["demo", "--arch", "vgg19-tiny", "--weights", "random:3"])
        .assert()
        .success();
    let said = stdout(&assert);
    assert_eq!(said.matches("goldfish (").count(), 5, "{said}");
    assert!(
        said.contains("6.06 MB") && said.contains("runs/demo"),
        "{said}"
    );
}

#[cfg(unix)]
fn interrupted() {
    use std::io::BufRead;
    let folder = dataset();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_goldfish"))
        .current_dir(folder.path())
        .args(["train", "data", "-o", "run", "--epochs", "1000000"])
        .args(TINY)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    // Training has begun once the metrics have lines.
    let metrics = folder.path().join("run/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(
            child.try_wait().expect("a state").is_none(),
            "it ended by itself"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let lines: Vec<String> = std::io::BufReader::new(child.stderr.take().expect("stderr"))
        .lines()
        .map(|l| l.expect("text"))
        .collect();
    assert!(lines.iter().any(|l| l.starts_with("saved")), "{lines:?}");
    assert!(folder.path().join("run/adapter_model.safetensors").exists());
}

#[cfg(not(unix))]
fn interrupted() {
    // Signals to another process need a console here; the flag behind Ctrl-C is tested in `training`.
}
