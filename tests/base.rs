//! Which base a command takes, and what is known of it.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::assert::Assert;
use goldfish::formats::Tensors;
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Arch, Source};
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::cli::{TINY, dataset, goldfish, stdout};
use crate::files::{Stored, store, tiny};
use crate::server::{Reply, Server};
use crate::support::{gpu_trial, pictures, root, says, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "base::weights_are_looked_for_in_order_from_any_folder",
            order,
        ),
        trial("base::an_identity_is_what_it_is_defined_to_be", definition),
        trial("base::one_base_is_one_whatever_its_file", one_base),
        gpu_trial("base::a_run_and_its_base_can_be_moved", moved),
        gpu_trial(
            "base::another_base_is_refused_unless_asked_for",
            another_base,
        ),
        gpu_trial(
            "base::what_is_wrong_in_a_run_toml_is_told_as_its",
            wrong_settings,
        ),
        gpu_trial(
            "base::going_on_takes_base_and_transform_of_the_run",
            going_on,
        ),
        gpu_trial("base::a_random_base_says_so_in_words", random),
        gpu_trial(
            "base::an_empty_folder_comes_to_answers_of_its_own",
            from_nothing,
        ),
    ]
}

fn order() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    pictures(folder.path(), "new", &[(40, 40)]);
    fs::create_dir_all(at("other/weights")).expect("a folder");
    store(&at("model"), &tiny(), Dtype::F32);
    let file = fs::read(at("model")).expect("it is there");
    let predict = |variable: &str| {
        let mut command = goldfish(&at("other"));
        command.env("GOLDFISH_DATA", at("data"));
        if !variable.is_empty() {
            command.env("GOLDFISH_WEIGHTS", variable);
        }
        command.args(["predict", "../new", "--image-size", "32"]);
        command.args(["--arch", "vgg19-tiny"]);
        command
    };
    let nothing = says("goldfish weights fetch");
    predict("").assert().success().stderr(nothing);
    // In the user's data, as it was fetched.
    let server = Server::start(move |_, asked| Reply::file(asked, &file, "\"1\""));
    let mut fetch = goldfish(folder.path());
    fetch.env("GOLDFISH_DATA", at("data")).env("NO_PROXY", "*");
    fetch.args(["weights", "fetch", "vgg19-tiny", "--from"]);
    let url = format!("{}/model.safetensors", server.url);
    fetch.arg(url).assert().success();
    let fetched = at("data/weights/vgg19-tiny.safetensors");
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    predict("").assert().success().stderr(taken);
    // In ./weights, whatever lies in the data.
    fs::copy(at("model"), at("other/weights/vgg19-tiny.safetensors")).expect("copied");
    let taken = says("vgg19-tiny weights/vgg19-tiny.safetensors");
    predict("").assert().success().stderr(taken);
    // By the environment: a file, a folder, a folder without, random numbers, a file that is not there.
    let model = at("model").display().to_string();
    let taken = says(&format!("vgg19-tiny {model}"));
    predict(&model).assert().success().stderr(taken);
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    let data = at("data/weights").display().to_string();
    predict(&data).assert().success().stderr(taken);
    let taken = says("vgg19-tiny weights/vgg19-tiny.safetensors");
    predict("../new").assert().success().stderr(taken);
    let taken = says("vgg19-tiny random:7");
    predict("random:7").assert().success().stderr(taken);
    predict("gone")
        .assert()
        .code(3)
        .stderr(says("GOLDFISH_WEIGHTS names it"));
    predict("random:x")
        .assert()
        .code(2)
        .stderr(says("GOLDFISH_WEIGHTS"));
    // Where nobody asks for a network, the only one that there is.
    let alone = |name: &str| {
        fs::copy(at("model"), at("alone/weights").join(name)).expect("copied");
        let mut command = goldfish(&at("alone"));
        command.env("GOLDFISH_DATA", at("none"));
        command
            .args(["predict", "../new", "--image-size", "32"])
            .assert()
    };
    fs::create_dir_all(at("alone/weights")).expect("a folder");
    alone("vgg11.safetensors")
        .success()
        .stderr(says("those of vgg11 are taken").and(says("weights/vgg11.safetensors")));
    alone("vgg19.safetensors")
        .success()
        .stderr(says("weights/vgg19.safetensors").and(says("are taken").not()));
    // By the command line before all.
    let taken = says("vgg19-tiny random:8");
    let mut command = predict(&model);
    command
        .args(["--weights", "random:8"])
        .assert()
        .success()
        .stderr(taken);
    let taken = says(&format!("vgg19-tiny {}", fetched.display()));
    let mut command = predict(&model);
    command
        .args(["--weights", &data])
        .assert()
        .success()
        .stderr(taken);
    let mut command = predict(&model);
    let none = says("holds no weights of vgg19-tiny");
    command
        .args(["--weights", "../new"])
        .assert()
        .code(3)
        .stderr(none);
}

/// A project with pictures and a narrow base in `weights`; commands run in its folder, or in `at` below it.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let folder = dataset();
        fs::create_dir_all(folder.path().join("weights")).expect("a folder");
        let base = folder.path().join("weights/vgg19-tiny.safetensors");
        store(&base, &tiny(), Dtype::F32);
        Project { folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, arguments: &[&str]) -> Assert {
        goldfish(self.folder.path()).args(arguments).assert()
    }

    /// Trains on the base that is found.
    fn train(&self, run: &str, more: &[&str]) -> Assert {
        let mut arguments = vec!["train", "data", "-o", run, "--epochs", "1"];
        arguments.extend(["--arch", "vgg19-tiny", "--image-size", "32"]);
        arguments.extend(more);
        self.run(&arguments)
    }

    fn settings(&self, run: &str) -> toml::Table {
        let text = fs::read_to_string(self.at(run).join("run.toml")).expect("settings");
        text.parse().expect("TOML")
    }
}

fn json(assert: &Assert) -> Value {
    serde_json::from_str(&stdout(assert)).expect("JSON")
}

/// The definition, as Python has it.
fn definition() {
    let table = fs::read_to_string(root().join("tests/fixtures/identity.tsv")).expect("a table");
    let mut rows = 0;
    for row in table.lines() {
        let [name, trunk, whole] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let source = Source::Numbers(Box::new(|_, _, first, out| {
            for (index, value) in (first as u64..).zip(out) {
                *value = ((index * index % 251) as f32 + 1.0) / 256.0;
            }
        }));
        let arch = Arch::named(name).expect("a network");
        let found = source.identity(arch).expect("an identity");
        assert_eq!(found.trunk.as_deref(), Some(trunk), "{name}");
        assert_eq!(found.sha256.as_deref(), Some(whole), "{name}");
        assert_eq!((&*found.name, found.classes), (name, 1000));
        rows += 1;
    }
    assert_eq!(rows, 2);
}

/// One base is one whatever its file: the names and the precision that it is kept in do not matter, its numbers do.
fn one_base() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = |tensors: &Stored, dtype: Dtype| {
        let path = folder.path().join("file");
        store(&path, tensors, dtype);
        let file = Tensors::open(&path).expect("a file");
        let once = file
            .source(VGG19_TINY)
            .expect("weights")
            .identity(VGG19_TINY);
        let again = file
            .source(VGG19_TINY)
            .expect("weights")
            .identity(VGG19_TINY);
        let once = once.expect("an identity");
        assert_eq!(once, again.expect("an identity"));
        once
    };
    let plain = tiny();
    let base = identity(&plain, Dtype::F32);
    assert!(base.trained && base.name == "vgg19-tiny" && base.classes == 1000);
    let mut other = tiny();
    for (name, shape, bytes) in &mut other {
        *name = format!("module.{name}").replace("classifier.0", "pre_logits.fc1");
        *name = name
            .replace("classifier.3", "pre_logits.fc2")
            .replace("classifier.6", "head.fc");
        if name.ends_with("fc1.weight") {
            *shape = vec![64, 24, 7, 7];
        }
        let values = bytemuck::pod_collect_to_vec::<u8, f32>(bytes);
        *bytes = values
            .iter()
            .flat_map(|v| f64::from(*v).to_le_bytes())
            .collect();
    }
    assert_eq!(identity(&other, Dtype::F64), base);
    let mut other = tiny();
    other[0].2[0] ^= 1;
    assert!(
        !identity(&other, Dtype::F32).fits(&base, true),
        "one bit of {}",
        other[0].0
    );
}

fn moved() {
    let project = Project::new();
    project
        .train("runs/a", &["--targets", "classifier.6"])
        .success();
    let settings = project.settings("runs/a");
    assert_eq!(
        settings["weights"].as_str(),
        Some("../../weights/vgg19-tiny.safetensors")
    );
    assert_eq!(settings["data"].as_str(), Some("../../data"));
    let base = settings["base"].as_table().expect("a table");
    assert_eq!(base["name"].as_str(), Some("vgg19-tiny"));
    assert_eq!(base["classes"].as_integer(), Some(1000));
    assert_eq!(base["trained"].as_bool(), Some(true));
    assert_eq!(base["sha256"].as_str().map(str::len), Some(64));
    let predict = |at: &Path, run: &str, more: &[&str]| {
        let mut command = goldfish(at);
        let image = project.at("data/tench/0.png");
        command
            .arg("predict")
            .arg(image)
            .args(["--adapter", run])
            .args(more)
            .assert()
    };
    let expected = stdout(&predict(&project.at(""), "runs/a", &[]).success());
    // From another folder, and with the whole project elsewhere.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let run = project.at("runs/a").display().to_string();
    assert_eq!(
        stdout(&predict(elsewhere.path(), &run, &[]).success()),
        expected
    );
    for part in ["runs", "weights"] {
        fs::rename(project.at(part), elsewhere.path().join(part)).expect("moved");
    }
    let run = elsewhere.path().join("runs/a").display().to_string();
    assert_eq!(
        stdout(&predict(project.folder.path(), &run, &[]).success()),
        expected
    );
    // The run alone: the base is looked for, and must be the same.
    fs::rename(elsewhere.path().join("weights"), project.at("weights")).expect("moved");
    let said = predict(project.folder.path(), &run, &[]).success();
    assert_eq!(stdout(&said), expected);
    said.stderr(says(
        "is not there: weights/vgg19-tiny.safetensors is taken in its place",
    ));
    predict(elsewhere.path(), &run, &[])
        .code(3)
        .stderr(contains("run.toml: names the base").and(contains("--weights")));
    let mut other = tiny();
    other[3].2[1] ^= 1;
    store(
        &project.at("weights/vgg19-tiny.safetensors"),
        &other,
        Dtype::F32,
    );
    predict(project.folder.path(), &run, &[])
        .code(3)
        .stderr(contains("was trained on vgg19-tiny (SHA-256"));
    // As runs before had it, from the working directory; without a note there is nothing to check.
    let old = project.at("old");
    fs::create_dir(&old).expect("a folder");
    fs::copy(
        elsewhere.path().join("runs/a/adapter_config.json"),
        old.join("adapter_config.json"),
    )
    .expect("copied");
    let model =
        fs::read(elsewhere.path().join("runs/a/adapter_model.safetensors")).expect("a file");
    let file = safetensors::SafeTensors::deserialize(&model).expect("a file");
    let bytes = safetensors::serialize(file.tensors(), None).expect("a file");
    fs::write(old.join("adapter_model.safetensors"), bytes).expect("written");
    let text =
        "arch = \"vgg19-tiny\"\nweights = \"weights/vgg19-tiny.safetensors\"\nimage_size = 32\n";
    fs::write(old.join("run.toml"), text).expect("written");
    predict(project.folder.path(), "old", &[]).success();
}

fn another_base() {
    let project = Project::new();
    project
        .train("lora", &["--targets", "classifier.0,classifier.6"])
        .success();
    let own = ["--classes", "own", "--targets", "head"];
    project.train("own", &own).success();
    let seeded = ["--weights", "random:1"];
    project.train("random", &seeded).success();
    let mut other = tiny();
    let last = other
        .iter_mut()
        .find(|(name, ..)| name == "classifier.6.bias");
    last.expect("a bias").2[2] ^= 1;
    store(&project.at("other_head"), &other, Dtype::F32);
    other[3].2[1] ^= 1;
    store(&project.at("other"), &other, Dtype::F32);
    let with = |command: &[&str], run: &str, weights: &str, more: &[&str]| {
        let mut arguments = command.to_vec();
        arguments.extend([run, "--weights", weights]);
        arguments.extend(more);
        project.run(&arguments)
    };
    let predict = ["predict", "data", "--adapter"];
    let refused = |assert: Assert, run: &str| {
        let both = contains("was trained on").and(contains("and the base here is"));
        assert.code(3).stderr(
            both.and(contains(run.to_string()))
                .and(contains("--any-base")),
        );
    };
    refused(with(&predict, "lora", "other", &[]), "lora");
    refused(with(&predict, "lora", "other_head", &[]), "lora");
    refused(
        with(&predict, "lora", "random:0", &[]),
        "vgg19-tiny random:0",
    );
    refused(with(&predict, "own", "other", &[]), "own");
    refused(
        with(&predict, "random", "random:2", &[]),
        "vgg19-tiny random:1, and",
    );
    refused(
        with(&predict, "random", "other", &[]),
        "vgg19-tiny random:1, and",
    );
    refused(
        with(&["eval", "data", "--adapter"], "lora", "other", &[]),
        "lora",
    );
    refused(
        with(&["merge", "-o", "merged"], "lora", "other", &[]),
        "lora",
    );
    let go_on = ["train", "data", "-o", "next", "--init-adapter"];
    refused(with(&go_on, "lora", "other", &[]), "lora");
    assert!(!project.at("merged").exists() && !project.at("next").exists());
    // A second adapter is looked at as the first is.
    let sum = ["predict", "data", "--adapter", "lora", "--adapter"];
    refused(project.run(&[&sum[..], &["random"]].concat()), "random:1");
    // With its own last layer an adapter needs no more than what lies below.
    with(&predict, "own", "other_head", &[]).success();
    // Who asks for it gets it, and is told.
    let told = with(&predict, "lora", "other", &["--any-base"]).success();
    told.stderr(contains("notice   lora: was trained on vgg19-tiny"));
    with(&go_on, "lora", "other", &["--any-base", "--epochs", "1"]).success();
    // What an adapter is taken out of is another base by its nature.
    with(
        &["merge", "-o", "merged"],
        "lora",
        "weights/vgg19-tiny.safetensors",
        &[],
    )
    .success();
    with(&["merge", "--unmerge", "-o", "back"], "lora", "merged", &[]).success();
    // Notes that are no base.
    let model = project.at("lora/adapter_model.safetensors");
    let bytes = fs::read(&model).expect("a file");
    let at = bytes
        .windows(10)
        .position(|w| w == b"goldfish.b")
        .expect("a note");
    let name = bytes[at..]
        .windows(4)
        .position(|w| w == b"name")
        .expect("a name");
    let mut broken = bytes.clone();
    broken[at + name] = b'N';
    fs::write(&model, broken).expect("written");
    project
        .run(&["predict", "data", "--adapter", "lora"])
        .code(3)
        .stderr(contains("goldfish.base in its notes"));
}

fn wrong_settings() {
    let project = Project::new();
    project.train("run", &[]).success();
    let path = project.at("run/run.toml");
    let good = fs::read_to_string(&path).expect("settings");
    for (line, wrong, says) in [
        (
            "arch = \"vgg19-tiny\"",
            "arch = \"vgg99\"",
            "there is no architecture \"vgg99\"",
        ),
        (
            "image_size = 32",
            "image_size = 7",
            "image_size must lie between 32 and 4096, found 7",
        ),
        (
            "image_size = 32",
            "image_size = \"x\"",
            "not a run's settings",
        ),
        (
            "../weights/vgg19-tiny.safetensors",
            "random:x",
            "weights: the seed \"x\"",
        ),
        (
            "../weights/vgg19-tiny.safetensors",
            "gone.pth",
            "is taken in its place",
        ),
    ] {
        assert!(good.contains(line), "{line}");
        fs::write(&path, good.replace(line, wrong)).expect("written");
        for command in [
            &["predict", "data", "--adapter"][..],
            &["train", "data", "-o", "x", "--init-adapter"],
        ] {
            let said = project.run(
                &[
                    command,
                    &["run", "--epochs", "1"][..if command[0] == "train" { 3 } else { 1 }],
                ]
                .concat(),
            );
            let said = if wrong == "gone.pth" {
                said.success()
            } else {
                said.code(3)
            };
            said.stderr(
                contains("run.toml")
                    .and(contains(says))
                    .and(contains("--image-size").not()),
            );
        }
        let _ = fs::remove_dir_all(project.at("x"));
    }
}

fn going_on() {
    let project = Project::new();
    project
        .train("first", &["--exif", "--targets", "classifier.6"])
        .success();
    fs::create_dir(project.at("deeper")).expect("a folder");
    goldfish(&project.at("deeper"))
        .args([
            "train",
            "../data",
            "-o",
            "../second",
            "--epochs",
            "1",
            "--init-adapter",
            "../first",
        ])
        .assert()
        .success();
    let [first, second] = ["first", "second"].map(|run| project.settings(run));
    for key in ["arch", "image_size", "exif", "base"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    assert!(first["exif"].as_bool() == Some(true));
    // Not below one folder: from the root.
    for key in ["weights", "data", "init_adapter"] {
        let path = second[key].as_str().expect("a path");
        assert!(Path::new(path).is_absolute(), "{path}");
    }
    project
        .run(&["predict", "data", "--adapter", "second"])
        .success();
}

fn random() {
    let project = Project::new();
    let words = "on a random base: this shows the mechanics, not a classifier";
    let said = || contains(format!("base     vgg19-tiny random:3: {words}"));
    let run = |arguments: &[&str]| project.run(&[arguments, &TINY].concat()).success();
    run(&[
        "train",
        "data",
        "-o",
        "run",
        "--epochs",
        "1",
        "--targets",
        "classifier.6",
    ])
    .stdout(said());
    run(&["demo", "data", "-o", "demo", "--epochs", "1"]).stdout(said());
    run(&["predict", "data"]).stdout(said());
    run(&["eval", "data"]).stdout(said());
    for command in [
        &["predict", "data", "--format", "json"][..],
        &["eval", "data", "--json"],
    ] {
        let base = json(&run(command))["base"].clone();
        assert_eq!(base["name"], "vgg19-tiny random:3");
        assert_eq!(
            (&base["trained"], &base["note"]),
            (&false.into(), &words.into())
        );
    }
    assert_eq!(
        project.settings("run")["base"]["trained"].as_bool(),
        Some(false)
    );
    // What is merged of random numbers is no more.
    project.run(&["merge", "run", "-o", "merged"]).success();
    let on = |weights: &str, format: &str| {
        project
            .run(&[
                "predict",
                "data",
                "--weights",
                weights,
                "--image-size",
                "32",
                "--format",
                format,
            ])
            .success()
    };
    on("merged", "table").stdout(contains(words));
    // A file of weights is taken at its word.
    on("weights/vgg19-tiny.safetensors", "table").stdout(contains("random").not());
    let base = json(&on("weights/vgg19-tiny.safetensors", "json"))["base"].clone();
    assert_eq!(
        (&base["trained"], &base["note"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(base["sha256"].as_str().map(str::len), Some(64));
}

/// From an empty folder to answers: PyTorch's file from a server, pictures of one's own, an answer from any folder.
fn from_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    store(&at("base.safetensors"), &tiny(), Dtype::F32);
    let run = |place: &str, arguments: &[&str]| {
        let mut command = goldfish(&at(place));
        command
            .env("GOLDFISH_DATA", at("data"))
            .env("NO_PROXY", "*");
        command.args(arguments).assert().success()
    };
    run("", &["convert", "base.safetensors", "-o", "vgg19.pth"]);
    let file = fs::read(at("vgg19.pth")).expect("it is there");
    let server = Server::start(move |_, asked| Reply::file(asked, &file, "\"1\""));
    let url = format!("{}/vgg19.pth", server.url);
    run("", &["weights", "fetch", "vgg19-tiny", "--from", &url]);
    assert!(at("data/weights/vgg19-tiny.pth").exists());
    for place in ["home", "elsewhere"] {
        fs::create_dir(at(place)).expect("a folder");
    }
    for (class, side) in [("left", 40), ("right", 60)] {
        pictures(&at("home/my"), class, &[(side, 50), (side, 33), (side, 70)]);
    }
    let tiny = ["--arch", "vgg19-tiny", "--image-size", "32"];
    let trained = run(
        "home",
        &[&["train", "my", "--epochs", "2"], &tiny[..]].concat(),
    );
    trained.stdout(contains("random").not());
    let predict = ["predict", "../home/my", "--format", "json"];
    let named = [&predict[..], &["--adapter", "../home/runs/train"]].concat();
    let found = json(&run("elsewhere", &named));
    assert_eq!(found["base"]["trained"], true);
    // Where it was trained it need not be named; the base alone must be.
    let here = run("home", &predict).stderr(contains("the adapter is that of runs/train"));
    assert_eq!(
        json(&here)["images"][0]["predictions"],
        found["images"][0]["predictions"]
    );
    let alone = run(
        "home",
        &[&predict[..], &["--adapter", "none", "--arch", "vgg19-tiny"]].concat(),
    );
    let categories = json(&alone)["images"][0]["predictions"].to_string();
    assert!(!categories.contains("left"), "{categories}");
    assert_eq!(found["images"].as_array().map(Vec::len), Some(6));
    let first = &found["images"][0]["predictions"][0]["category"];
    assert!(first == "left" || first == "right", "{first}");
}
