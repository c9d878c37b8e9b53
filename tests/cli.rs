//! The program as a user meets it.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use goldfish::train::Run;
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{gpu_trial, pictures, slashed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("cli::completions_manual_and_settings_are_written", set_up),
        gpu_trial(
            "cli::no_result_takes_the_place_of_what_it_is_made_of",
            own_inputs,
        ),
        #[cfg(unix)]
        gpu_trial("cli::names_of_files_do_not_steer_a_terminal", steering),
        trial("cli::help_teaches_and_unknown_flags_exit_2", help),
        trial("cli::settings_that_cannot_train_exit_2", bad_settings),
        gpu_trial(
            "cli::an_unknown_device_exits_4_and_lists_the_devices",
            unknown_device,
        ),
        gpu_trial("cli::devices_lists_what_there_is", devices),
        gpu_trial("cli::a_profile_says_what_each_kernel_took", profile),
        gpu_trial(
            "cli::train_writes_a_run_and_predict_uses_it",
            train_and_predict,
        ),
        gpu_trial("cli::a_run_is_not_overwritten_unless_asked", overwrite),
        gpu_trial("cli::training_goes_on_from_an_adapter", init_adapter),
        gpu_trial("cli::predict_prints_json_csv_and_tables", formats),
        gpu_trial(
            "cli::bad_data_exits_3_with_the_file_and_the_remedy",
            bad_data,
        ),
        gpu_trial("cli::what_has_no_end_is_refused", without_end),
        gpu_trial("cli::skip_bad_goes_on_and_lists_what_it_left_out", skip_bad),
        #[cfg(unix)]
        gpu_trial(
            "cli::train_eval_and_predict_agree_on_what_lies_in_a_folder",
            same_files,
        ),
        #[cfg(target_os = "linux")]
        gpu_trial("cli::names_that_are_not_utf8_lose_no_work", not_utf8),
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

/// The program in `folder`, where no weights are found but those that are there.
pub fn goldfish(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    command.current_dir(folder);
    let nowhere = std::env::temp_dir().join("goldfish-has-no-weights-here");
    command.env("GOLDFISH_DATA", nowhere);
    command.env_remove("GOLDFISH_WEIGHTS");
    // What one test keeps is nothing to the next.
    command.env("GOLDFISH_CACHE", folder.join(".cache"));
    command
}

/// A small base, so that a run takes a second.
pub const TINY: [&str; 6] = [
    "--arch",
    "vgg19-tiny",
    "--weights",
    "random:3",
    "--image-size",
    "32",
];

/// A folder with `data/<category>/`: three goldfish and two tenches.
pub fn dataset() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(
        &folder.path().join("data"),
        "goldfish",
        &[(40, 50), (60, 40), (33, 90)],
    );
    pictures(&folder.path().join("data"), "tench", &[(64, 64), (48, 37)]);
    folder
}

pub fn train(folder: &Path, more: &[&str]) -> Assert {
    goldfish(folder)
        .args(["train", "data"])
        .args(TINY)
        .args(more)
        .assert()
}

pub fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("text")
}

/// What a newcomer sets a machine up with.
fn set_up() {
    let folder = dataset();
    let at = folder.path();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = goldfish(at).args(["completions", shell]).assert().success();
        assert!(
            stdout(&script).contains("checkpoint-activations"),
            "{shell}"
        );
    }
    goldfish(at).args(["man", "-o", "man"]).assert().success();
    let page = fs::read_to_string(at.join("man/goldfish-train.1")).expect("a page");
    assert!(page.contains("early\\-stop"), "{page}");
    // Every setting stands in the file, and the file as it comes sets nothing.
    goldfish(at)
        .args(["config", "init", "-o", "set.toml"])
        .assert()
        .success();
    goldfish(at)
        .args(["config", "init", "-o", "set.toml"])
        .assert()
        .code(3);
    let text = fs::read_to_string(at.join("set.toml")).expect("settings");
    for line in [
        "# epochs = 20",
        "# weights = ",
        "# rslora = false",
        "# lr = 0.001",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(text.parse::<toml::Table>().expect("TOML").len(), 0);
    // With every line taken for true it is a file of settings.
    let set = text.lines().filter_map(|line| line.strip_prefix("# "));
    let set = set.filter(|line| {
        line.split(" = ")
            .next()
            .is_some_and(|key| !key.contains(' '))
    });
    let set = set
        .filter(|line| line.contains(" = ") && !line.ends_with("= \"\"") && !line.ends_with("[]"));
    let wanted = "epochs = 1\nlr = ";
    let all = set
        .collect::<Vec<_>>()
        .join("\n")
        .replace("epochs = 20\n", "epochs = 1\n");
    assert!(all.len() > 10 * wanted.len(), "{all}");
    fs::write(at.join("all.toml"), all).expect("written");
    goldfish(at)
        .args(["train", "data", "-o", "run", "--config", "all.toml"])
        .args(TINY)
        .assert()
        .success();
}

fn profile() {
    let folder = dataset();
    let assert = goldfish(folder.path())
        .args([
            "bench", "profile", "--json", "--batch", "2", "--data", "data",
        ])
        .args(["--targets", "features.28", "--targets", "head,classifier.3"])
        .args(TINY)
        .assert();
    if assert.get_output().status.code() == Some(4) {
        // Not every device has time stamps.
        assert.stderr(contains("it has no time stamps"));
        return;
    }
    let text = stdout(&assert.success());
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let profiles = report["profile"].as_array().expect("a list");
    let names: Vec<&str> = profiles.iter().filter_map(|p| p["work"].as_str()).collect();
    let expected = [
        "forward, batch 2",
        "step on features.28, batch 2",
        "step on head,classifier.3, batch 2",
    ];
    assert_eq!(names, expected);
    for profile in profiles {
        let kernels = profile["kernels"].as_array().expect("a list");
        let seconds = kernels.iter().filter_map(|k| k["seconds"].as_f64());
        assert!(seconds.sum::<f64>() > 0.0, "{profile}");
        let ran = |k: &Value| k["runs"].as_f64() > Some(0.0) && k["groups"].as_u64() > Some(0);
        assert!(kernels.len() > 3 && kernels.iter().all(ran), "{profile}");
    }
}

fn help() {
    let here = Path::new(".");
    for command in [
        "train", "predict", "eval", "merge", "export", "demo", "devices", "selftest",
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
        (
            ["--dropout", "1"],
            "--dropout must be at least 0 and below 1",
        ),
        (
            ["--alpha", "1e300"],
            "--alpha must be a positive number of at most 3e38",
        ),
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

fn unknown_device() {
    let folder = dataset();
    let mut command = goldfish(folder.path());
    command
        .args(["train", "data", "--device", "nonesuch"])
        .assert()
        .code(4)
        .stderr(contains("\"nonesuch\"").and(contains(". Choose another device (--device)\n")));
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
    assert_eq!(devices["devices"][0]["index"], 0);
}

fn train_and_predict() {
    let folder = dataset();
    train(folder.path(), &["-o", "run", "--epochs", "30"])
        .success()
        .stdout(contains("adapter").and(contains("loss")));
    let run = folder.path().join("run");
    let lines = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let lines = lines.lines();
    let lines = lines.map(|l| serde_json::from_str(l).expect("JSON"));
    let (steps, epochs): (Vec<Value>, Vec<Value>) =
        lines.partition(|l: &Value| !l["loss"].is_null());
    assert_eq!((steps.len(), epochs.len()), (30, 30));
    for (step, epoch) in steps.iter().zip(&epochs) {
        assert_eq!(epoch["epoch"], step["epoch"]);
        let [mean, loss] =
            [&epoch["train_loss"], &step["loss"]].map(|l| l.as_f64().expect("a loss"));
        assert!((mean - loss).abs() <= 1e-6 * loss, "{mean} {loss}");
    }
    for (index, step) in steps.iter().enumerate() {
        assert_eq!(
            (&step["step"], &step["epoch"]),
            (&(index + 1).into(), &(index + 1).into())
        );
        assert!(step["loss"].is_f64() && step["lr"] == 1e-3);
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
        .stderr(contains("be overwritten (--output, --overwrite)\n"));
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
    // Over one of other classes, whose list would name this one's.
    let at = folder.path();
    train(
        at,
        &[&short[..], &["--overwrite", "--classes", "own"]].concat(),
    )
    .success();
    assert!(at.join("run/classes.txt").exists());
    // Until there is a new adapter, the old one has its own settings.
    let settings = fs::read(at.join("run/run.toml")).expect("settings");
    drop(Run::create(&at.join("run"), true).expect("the folder"));
    assert_eq!(
        fs::read(at.join("run/run.toml")).expect("settings"),
        settings
    );
    train(at, &[&short[..], &["--overwrite"]].concat()).success();
    assert_ne!(
        fs::read(at.join("run/run.toml")).expect("settings"),
        settings
    );
    goldfish(at)
        .args(["predict", "data", "--adapter", "run"])
        .assert()
        .success()
        .stdout(contains("tench"));
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
        // The epochs' lines have none.
        values.flatten().collect()
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
    let paths = images.iter().filter_map(|i| i["path"].as_str());
    let paths: Vec<String> = paths.map(slashed).collect();
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
    assert!(slashed(&predict("table", "3")).contains("data/goldfish/0.png\n"));
}

fn bad_data() {
    let folder = dataset();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("data/goldfish/bad.png"), b"\x89PNG\r\n\x1a\n").expect("a file");
    train(folder.path(), &[])
        .code(3)
        .stderr(contains("bad.png").and(contains("go on without it (--skip-bad)\n")));
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

/// What has no end, and a scale past f32 that would make every logit NaN.
/// Whatever a result is made of stays as it is, with leave to overwrite too.
fn own_inputs() {
    let folder = dataset();
    let at = folder.path();
    train(
        at,
        &["-o", "run", "--targets", "classifier", "--epochs", "1"],
    )
    .success();
    let run = |args: &[&str]| goldfish(at).args(args).assert();
    run(&["merge", "run", "-o", "base.safetensors"]).success();
    let base = ["--weights", "base.safetensors", "--image-size", "32"];
    let embed = [
        "predict",
        "data",
        "--adapter",
        "run",
        "--any-base",
        "--features",
        "avgpool",
    ];
    let image = fs::read_dir(at.join("data/tench"))
        .expect("a folder")
        .next();
    let image = image.expect("an image").expect("an image").path();
    let image = image.to_str().expect("text");
    for command in [
        &["merge", "run", "--any-base"][..],
        &["export", "run", "--any-base"],
        &embed,
    ] {
        let mut inputs = vec![
            "base.safetensors",
            "./run/adapter_model.safetensors",
            "run/adapter_config.json",
            "run/run.toml",
        ];
        inputs.extend((command[0] == "predict").then_some(image));
        for input in inputs {
            let before = fs::read(at.join(input)).expect("it is there");
            run(&[command, &base, &["-o", input, "--overwrite"]].concat())
                .code(3)
                .stderr(contains("which is never changed"));
            assert_eq!(fs::read(at.join(input)).expect("it is there"), before);
        }
    }
}

/// A file's name is printed so that it does nothing.
#[cfg(unix)]
fn steering() {
    let folder = dataset();
    let at = folder.path();
    let data = at.join("data/tench");
    let image = fs::read_dir(&data).expect("a folder").next();
    let image = image.expect("an image").expect("an image").path();
    fs::rename(image, data.join("a\u{1b}[2J.png")).expect("renamed");
    let predict = |name: &str| {
        let mut command = goldfish(at);
        command.arg("predict").arg(name).args(TINY).assert()
    };
    let shown = "a\\u{1b}[2J.png";
    predict("data")
        .success()
        .stdout(contains(shown).and(contains('\u{1b}').not()));
    for broken in ["a\u{1b}[2J.png", "a\u{1b}[2J.txt"] {
        fs::write(data.join(broken), "no picture").expect("written");
    }
    predict("data").code(3).stderr(
        contains(shown)
            .and(contains("a\\u{1b}[2J.txt"))
            .and(contains('\u{1b}').not()),
    );
}

fn without_end() {
    let folder = dataset();
    if cfg!(unix) {
        let mut command = goldfish(folder.path());
        command.args(["predict", "/dev/zero"]).args(TINY);
        command
            .assert()
            .code(3)
            .stderr(contains("/dev/zero: it is no regular file"));
    }
    train(folder.path(), &["-o", "run"]).success();
    let mut command = goldfish(folder.path());
    command.args(["predict", "data", "--adapter", "run@1e39"]);
    command
        .assert()
        .code(2)
        .stderr(contains("--adapter has a scale that is out of range"));
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
    let layers = ["--targets", "all", "--rank", "3", "--lr", "1e20"];
    for more in [
        vec!["--lr", "1e38"],
        layers.to_vec(),
        [&layers[..], &["--kernels", "portable"]].concat(),
    ] {
        train(
            folder.path(),
            &[&["-o", "run", "--overwrite"], &*more].concat(),
        )
        .code(5)
        .stderr(contains("Lower the learning rate and try again (--lr)\n"));
        let mut predict = goldfish(folder.path());
        let assert = predict
            .args(["predict", "data", "--adapter", "run", "--format", "json"])
            .assert()
            .success();
        let found = stdout(&assert);
        assert!(!found.contains("null"), "{more:?}: {found}");
    }
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
    // The pictures are looked at as they are, which steps on their variants never do.
    let variants = "--augment light --cache-variants 2 --epochs 2";
    let assert = goldfish(folder.path())
        .args(["demo", "--arch", "vgg19-tiny", "--weights", "random:3"])
        .args(variants.split(' '))
        .assert()
        .success();
    assert_eq!(stdout(&assert).matches("goldfish (").count(), 5);
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
    let metrics = folder.path().join("run/.goldfish-new/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(
            child.try_wait().expect("a state").is_none(),
            "it ended by itself"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    interrupt(&child);
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

/// Nested folders, links and a dead link are the same to all three, and each says what it left out.
#[cfg(unix)]
fn same_files() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "elsewhere", &[(40, 40)]);
    pictures(folder.path(), "data/goldfish", &[(40, 40)]);
    pictures(folder.path(), "data/goldfish/2020", &[(50, 40), (40, 50)]);
    let link = |to: &str, name: &str| {
        symlink(folder.path().join(to), folder.path().join(name)).expect("a link");
    };
    link("elsewhere", "data/goldfish/linked");
    link("gone.png", "data/goldfish/dead.png");
    let json = |run: &Assert| serde_json::from_str::<Value>(&stdout(run)).expect("JSON");
    let left_out = || contains("left out 1 file: ").and(contains("dead.png (a dead link)"));
    goldfish(folder.path())
        .args(["train", "data", "-o", "run", "--epochs", "1"])
        .args(TINY)
        .assert()
        .success()
        .stderr(left_out().and(contains(
            "4 images in 1 category; unreadable: 0; left out: 1",
        )));
    let eval = goldfish(folder.path())
        .args(["eval", "data", "--json"])
        .args(TINY)
        .assert()
        .success()
        .stderr(left_out());
    assert_eq!(json(&eval)["count"], 4);
    let predict = goldfish(folder.path())
        .args(["predict", "data", "--format", "json"])
        .args(TINY)
        .assert()
        .success()
        .stderr(left_out());
    assert_eq!(json(&predict)["images"].as_array().map(Vec::len), Some(4));
}

#[cfg(target_os = "linux")]
fn not_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let odd = OsStr::from_bytes(b"lat\xe9in");
    pictures(folder.path(), "made", &[(40, 40)]);
    let data = folder.path().join(odd);
    fs::create_dir_all(data.join("goldfish").join(odd)).expect("a folder");
    let image = data
        .join("goldfish")
        .join(odd)
        .join(OsStr::from_bytes(b"\xff.png"));
    fs::copy(folder.path().join("made/0.png"), &image).expect("a copy");
    let shown = "lat\u{fffd}in/goldfish/lat\u{fffd}in/\u{fffd}.png";
    for format in ["table", "json", "csv"] {
        goldfish(folder.path())
            .args([OsStr::new("predict"), odd])
            .args(["--format", format])
            .args(TINY)
            .assert()
            .success()
            .stdout(contains(shown));
    }
    let run = OsStr::from_bytes(b"run\xe9");
    goldfish(folder.path())
        .args([OsStr::new("train"), odd, OsStr::new("-o"), run])
        .args(["--epochs", "1"])
        .args(TINY)
        .assert()
        .success();
    let settings = fs::read_to_string(folder.path().join(run).join("run.toml")).expect("settings");
    assert!(
        settings.contains("data = \"../lat\u{fffd}in\""),
        "{settings}"
    );
    goldfish(folder.path())
        .args([OsStr::new("inspect"), run, OsStr::new("--json")])
        .assert()
        .success();
    goldfish(folder.path())
        .args([OsStr::new("eval"), odd, OsStr::new("--adapter"), run])
        .assert()
        .success();
    goldfish(folder.path())
        .args([OsStr::new("train"), odd, OsStr::new("--init-adapter"), run])
        .args(["-o", "next", "--epochs", "1"])
        .args(TINY)
        .assert()
        .success();
}
