//! Adapters as a user handles them: merged, summed, evaluated, looked into.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::support::gpu_trial;

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "adapters::merged_weights_say_what_the_adapter_says_and_unmerging_gives_the_base",
            merging,
        ),
        gpu_trial(
            "adapters::adapters_add_up_with_their_scales",
            several_adapters,
        ),
        gpu_trial("adapters::eval_counts_what_is_right", evaluation),
        gpu_trial(
            "adapters::inspect_shows_modules_tensors_and_norms",
            inspection,
        ),
        gpu_trial(
            "adapters::inspect_shows_classes_head_base_and_network",
            inspected_classes,
        ),
    ]
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
pub fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let worst = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    worst / b.iter().map(|b| b.abs()).fold(0.0, f64::max)
}

pub const LAYERS: &[&str] = &[
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
    assert_eq!(after["count"], 5);
    assert_eq!(
        (&after["top1"], &after["top5"]),
        (&Value::from(1.0), &Value::from(1.0))
    );
    assert!(after["loss"].as_f64() < before["loss"].as_f64());
    assert!(before["top1"].as_f64() < Some(1.0));
    let categories = after["categories"].as_array().expect("categories");
    assert_eq!(categories.len(), 2);
    assert_eq!(categories[1]["category"], "goldfish");
    assert_eq!(categories[1]["taken_for"][0]["count"], 3);
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

fn inspected_classes() {
    let folder = dataset();
    let own = [
        "--classes",
        "own",
        "--targets",
        "head,classifier.0",
        "-o",
        "run",
        "--epochs",
        "1",
    ];
    train(folder.path(), &own).success();
    let merge = ["merge", "run", "-o", "merged.safetensors"];
    goldfish(folder.path()).args(merge).assert().success();
    let inspect = |path: &str| {
        let mut command = goldfish(folder.path());
        let json = stdout(&command.args(["inspect", path, "--json"]).assert().success());
        let mut command = goldfish(folder.path());
        let table = stdout(&command.args(["inspect", path]).assert().success());
        (serde_json::from_str::<Value>(&json).expect("JSON"), table)
    };
    let names = json!(["goldfish", "tench"]);
    let (run, table) = inspect("run");
    let head = json!({"module": "classifier.6", "outputs": 2, "frozen": 0});
    assert_eq!((&run["head"], &run["classes"]), (&head, &names));
    assert_eq!(run["base"]["name"], "vgg19-tiny random:3");
    assert_eq!(run["base"]["trained"], false);
    assert!(run["network"].is_null());
    for line in [
        "base vgg19-tiny random:3",
        "head classifier.6, 2",
        "classes 2: goldfish, tench",
    ] {
        assert!(table.contains(line), "{table}");
    }
    let (merged, table) = inspect("merged.safetensors");
    assert_eq!(
        merged["network"],
        json!({"arch": "vgg19-tiny", "classes": 2})
    );
    assert_eq!(merged["classes"], names);
    assert!(merged["head"].is_null() && merged["base"].is_null());
    assert!(table.contains("network vgg19-tiny, 2 classes\nclasses 2: goldfish, tench\n"));
    // An adapter of PEFT's own, and what a file says of itself on a terminal.
    let peft = "adapter_model.safetensors";
    let notes = HashMap::from([("say".to_string(), "a\u{1b}[2Jb".to_string())]);
    let none: Vec<(&str, safetensors::tensor::TensorView)> = Vec::new();
    let bytes = safetensors::serialize(none, Some(notes)).expect("a file");
    fs::write(folder.path().join("other.safetensors"), bytes).expect("a file");
    let (other, table) = inspect("other.safetensors");
    assert!(
        other["network"].is_null() && table.contains("say a\\u{1b}[2Jb\n"),
        "{table}"
    );
    let plain = crate::support::root()
        .join("tests/fixtures/peft/plain")
        .join(peft);
    let (plain, _) = inspect(plain.to_str().expect("a path"));
    assert!(plain["classes"].is_null() && plain["head"].is_null());
}
