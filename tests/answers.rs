//! What `predict` does with images: one by one as they come, from stdin, into folders by class, and as embeddings.

use std::fs;
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::path::Path;
#[cfg(unix)]
use std::process::{Command as Process, Stdio};

use goldfish::data::{Transform, decode};
use goldfish::formats::{Tensors, adapter as files, write_features};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Loading, Source, Vgg};
use libtest_mimic::Trial;
use predicates::str::contains;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::adapters::difference;
use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::files::store;
use crate::support::{gpu, gpu_trial, pictures, slashed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "answers::lines_of_json_are_the_objects_of_the_whole",
            lines_of_json,
        ),
        gpu_trial(
            "answers::results_come_before_the_last_image_is_read",
            streaming,
        ),
        #[cfg(unix)]
        gpu_trial("answers::a_reader_that_leaves_ends_it_quietly", closed_pipe),
        gpu_trial("answers::one_image_comes_from_stdin", from_stdin),
        gpu_trial(
            "answers::images_are_sorted_into_folders_and_nothing_is_overwritten",
            sorting,
        ),
        gpu_trial(
            "answers::embeddings_are_what_the_next_layer_takes",
            embeddings,
        ),
        trial(
            "answers::embeddings_of_fewer_images_than_named_are_whole",
            fewer_embeddings,
        ),
    ]
}

fn predict(folder: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = goldfish(folder);
    command.arg("predict").args(args).args(TINY).assert()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The path in a line of JSON, with `/` on every system.
fn path(line: &Value) -> String {
    slashed(line["path"].as_str().expect("a path"))
}

fn lines_of_json() {
    let folder = dataset();
    fs::write(folder.path().join("data/goldfish/1b.png"), b"no picture").expect("a file");
    let whole = predict(folder.path(), &["data", "--json", "--skip-bad"]).success();
    let whole = parsed(&stdout(&whole));
    let lines = predict(folder.path(), &["data", "--format", "jsonl", "--skip-bad"]).success();
    let lines: Vec<Value> = stdout(&lines).lines().map(parsed).collect();
    assert_eq!(lines.len(), 6);
    let (mut good, bad): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["reason"].is_null());
    for line in &mut good {
        // What the whole says once.
        let note = line.as_object_mut().expect("an object").remove("note");
        assert_eq!(note.as_ref(), Some(&whole["base"]["note"]));
        assert!(whole["base"]["note"].is_string());
    }
    assert_eq!(json!(good), whole["images"]);
    assert_eq!(json!(bad), whole["skipped"]);
    assert_eq!(path(&bad[0]), "data/goldfish/1b.png");
    assert!(
        bad[0]["reason"]
            .as_str()
            .expect("a reason")
            .contains("1b.png")
    );
    let eval = goldfish(folder.path())
        .args(["eval", "data", "--json", "--skip-bad"])
        .args(TINY)
        .assert()
        .success();
    assert_eq!(parsed(&stdout(&eval))["skipped"], whole["skipped"]);
    // With nothing but such files there is no answer.
    fs::create_dir(folder.path().join("bad")).expect("a folder");
    fs::write(folder.path().join("bad/a.png"), b"no picture").expect("a file");
    predict(folder.path(), &["bad", "--json", "--skip-bad"])
        .code(3)
        .stdout("")
        .stderr(contains("every other image is unreadable"));
}

/// A picture that is read at last, of 200: the first answers are there before its reading fails.
fn streaming() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(&folder.path().join("data"), "a", &vec![(33, 34); 200]);
    fs::write(folder.path().join("data/last.png"), b"no picture").expect("a file");
    let run = predict(
        folder.path(),
        &["data/a", "data/last.png", "--format", "jsonl"],
    );
    let run = run.code(3).stderr(contains("last.png"));
    // In groups of 8, 16, 32, 64, 64, and the one with it.
    assert_eq!(stdout(&run).lines().count(), 184);
    for format in ["table", "csv"] {
        let run = predict(
            folder.path(),
            &["data/a", "data/last.png", "--format", format],
        );
        assert!(
            slashed(&stdout(&run.code(3))).contains("data/a/0.png"),
            "{format}"
        );
    }
    // One object is whole or not there.
    predict(folder.path(), &["data/a", "data/last.png", "--json"])
        .code(3)
        .stdout("");
}

#[cfg(unix)]
fn closed_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(&folder.path().join("data"), "a", &vec![(33, 34); 300]);
    for more in [&[][..], &["--sort-into", "sorted"]] {
        let mut child = Process::new(env!("CARGO_BIN_EXE_goldfish"))
            .current_dir(folder.path())
            .args(["predict", "data", "--format", "jsonl"])
            .args(TINY)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        reader.read_line(&mut line).expect("a line");
        assert_eq!(parsed(&line)["path"], "data/a/0.png");
        drop(reader);
        assert!(child.wait().expect("an end").success());
    }
    // Nobody read the answers, and the files were sorted all the same.
    let classes = fs::read_dir(folder.path().join("sorted")).expect("folders");
    let images = classes.map(|class| {
        let class = class.expect("a folder").path();
        fs::read_dir(class).expect("files").count()
    });
    assert_eq!(images.sum::<usize>(), 300);
}

fn from_stdin() {
    let folder = dataset();
    let file = predict(folder.path(), &["data/tench/1.png", "--json"]).success();
    let picture = fs::read(folder.path().join("data/tench/1.png")).expect("a picture");
    let piped = |args: &[&str], bytes: &[u8]| {
        let mut command = goldfish(folder.path());
        command.arg("predict").args(args).args(TINY);
        command.write_stdin(bytes.to_vec()).assert()
    };
    let found = parsed(&stdout(&piped(&["-", "--json"], &picture).success()));
    let mut expected = parsed(&stdout(&file));
    expected["images"][0]["path"] = json!("-");
    assert_eq!(found, expected);
    let both = piped(&["data/goldfish/0.png", "-", "--format", "csv"], &picture);
    assert!(stdout(&both.success()).contains("\n-,1,"));
    piped(&["-", "-"], &picture)
        .code(2)
        .stderr(contains("given twice"));
    piped(&["-"], b"")
        .code(3)
        .stderr(contains("-: the file is empty"));
    piped(&["-"], &picture[..100])
        .code(3)
        .stderr(contains("error: -: "));
    piped(&["-", "--sort-into", "sorted"], &picture)
        .code(2)
        .stderr(contains("stdin"));
    assert!(!folder.path().join("sorted").exists());
}

fn sorting() {
    let folder = dataset();
    let at = folder.path();
    let own = [
        "--targets",
        "head,pixels,classifier.3",
        "--epochs",
        "60",
        "--batch-size",
        "5",
        "--classes",
        "own",
        "-o",
        "run",
    ];
    train(at, &own).success();
    fs::create_dir(at.join("new")).expect("a folder");
    for (name, from) in [
        ("a.png", "goldfish/0"),
        ("b.png", "goldfish/1"),
        ("c.png", "tench/0"),
    ] {
        fs::copy(
            at.join("data").join(from).with_extension("png"),
            at.join("new").join(name),
        )
        .expect("a copy");
    }
    fs::create_dir(at.join("new/below")).expect("a folder");
    // Another picture of a name that is there, which shows the same.
    fs::copy(at.join("data/goldfish/2.png"), at.join("new/below/a.png")).expect("a copy");
    let sort = |more: &[&str]| {
        let mut command = goldfish(at);
        command.args([
            "predict",
            "new",
            "--adapter",
            "run",
            "--format",
            "jsonl",
            "--sort-into",
        ]);
        command.args(more).assert()
    };
    let files = |folder: &str| {
        let files = fs::read_dir(at.join(folder)).expect("a folder");
        let names = files.map(|f| {
            f.expect("a file")
                .file_name()
                .into_string()
                .expect("a name")
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    // Somebody's own file under one of the names.
    fs::create_dir_all(at.join("out/tench")).expect("a folder");
    fs::write(at.join("out/tench/c.png"), b"mine").expect("a file");
    let first = sort(&["out"])
        .success()
        .stderr(contains("sorted   into out: 4"));
    let first = stdout(&first);
    assert_eq!(files("out"), ["goldfish", "tench"]);
    assert_eq!(files("out/goldfish"), ["a-2.png", "a.png", "b.png"]);
    assert_eq!(files("out/tench"), ["c-2.png", "c.png"]);
    assert_eq!(fs::read(at.join("out/tench/c.png")).expect("it"), b"mine");
    let line = first.lines().map(parsed).find(|l| path(l) == "new/c.png");
    let line = line.expect("its line");
    let sorted = line["sorted"].as_str().expect("a path");
    assert_eq!(slashed(sorted), "out/tench/c-2.png");
    let read = |path: &str| fs::read(at.join(path)).expect("a file");
    assert_eq!(read("out/tench/c-2.png"), read("new/c.png"));
    // Again: everything is there, and nothing is there twice.
    let again = sort(&["out"]).success().stderr(contains("4 there already"));
    assert_eq!(stdout(&again), first);
    assert_eq!(files("out/goldfish").len() + files("out/tench").len(), 5);
    // A copy is another file; a link the same.
    sort(&["copies", "--sort-by", "copy"])
        .success()
        .stderr(contains("4 copied"));
    for (folder, same) in [("out", true), ("copies", false)] {
        let path = at.join(folder).join("goldfish/b.png");
        let before = fs::read(at.join("new/b.png")).expect("a picture");
        fs::write(at.join("new/b.png"), [&before[..], b"more"].concat()).expect("a change");
        assert_eq!(
            fs::read(&path).expect("it").ends_with(b"more"),
            same,
            "{folder}"
        );
        fs::write(at.join("new/b.png"), before).expect("as it was");
    }
    // What is sorted must not be found again.
    for within in ["new", "new/sorted", "new/below/..", "."] {
        let refused = sort(&[within]);
        match within {
            // Not within, and its class folders are not either.
            "." => refused.success().stderr(contains("sorted")),
            _ => refused.code(3).stderr(contains("Choose a folder outside")),
        };
    }
    fs::rename(at.join("new"), at.join("tench2")).expect("a new name");
    fs::remove_dir_all(at.join("tench")).expect("what was sorted");
    fs::rename(at.join("tench2"), at.join("tench")).expect("a class's name");
    let mut command = goldfish(at);
    command.args(["predict", "tench", "--adapter", "run", "--sort-into", "."]);
    command
        .assert()
        .code(3)
        .stderr(contains("Choose a folder outside"));
}

fn embeddings() {
    let folder = dataset();
    let at = folder.path();
    let how = [
        "-o",
        "run",
        "--targets",
        "features.28,classifier.0,head",
        "--classes",
        "own",
    ];
    train(at, &[&how[..], &["--epochs", "5", "--lr", "0.01"]].concat()).success();
    fs::write(at.join("data/goldfish/0b.png"), b"no picture").expect("a file");
    let gpu = gpu();
    let stored = files::load(&gpu, &at.join("run"), VGG19_TINY, 32).expect("an adapter");
    let loading = |ranks| Loading {
        ranks,
        headless: true,
        // What kernels are chosen for.
        side: 32,
        ..Loading::default()
    };
    for (adapter, layers) in [
        (
            Some(&stored.adapter),
            &["features.0", "features.28", "avgpool", "classifier.3"][..],
        ),
        (None, &["features.2", "features.34"]),
    ] {
        let ranks = adapter.map(|a| a.ranks()).unwrap_or_default();
        let base = Vgg::load(
            &gpu,
            VGG19_TINY,
            &Source::Random(3),
            &loading(ranks),
            |_| Ok(()),
        );
        let base = base.expect("a network");
        let factors = adapter.map(|a| a.frozen()).unwrap_or_default();
        for &layer in layers {
            let mut command = goldfish(at);
            command.args([
                "predict",
                "data",
                "--features",
                layer,
                "-o",
                "f.safetensors",
            ]);
            command.args(["--overwrite", "--skip-bad"]).args(TINY);
            if adapter.is_some() {
                command.args(["--adapter", "run"]);
            }
            command.assert().success().stdout(contains("5 images"));
            let file = Tensors::open(&at.join("f.safetensors")).expect("the file");
            let notes = file.metadata();
            let names: Vec<String> =
                serde_json::from_str(&notes["goldfish.images"]).expect("a list");
            assert_eq!((names.len(), &*notes["goldfish.layer"]), (5, layer));
            let layers = VGG19_TINY.layers();
            let named = |l: &goldfish::nn::arch::Layer| l.name == layer;
            let next = layers.iter().position(named).map_or(16, |index| index + 1);
            let transform = Transform { size: 32 };
            let mut expected = Vec::new();
            for name in &names {
                let mut pixels = vec![0.0; 3 * 32 * 32];
                let image = decode(&at.join(name), false).expect("a picture");
                transform.normalise(&transform.crop(&image), &mut pixels);
                let row = base
                    .adapted_prefix(&pixels, 32, next, &factors)
                    .expect("a row");
                expected.extend(row.into_iter().map(f64::from));
            }
            file.each(|name, _, shape, bytes| {
                assert_eq!((name, shape), ("features", &[5, expected.len() / 5][..]));
                let found: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
                let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                assert!(difference(&found, &expected) < 1e-6, "{layer}");
            });
        }
    }
    let refused = |args: &[&str], code: i32, says: &str| {
        predict(at, args).code(code).stderr(contains(says));
    };
    let file = ["-o", "other.safetensors"];
    for layer in ["classifier.6", "features.1", "relu"] {
        let args = [&["data", "--features", layer][..], &file].concat();
        refused(&args, 2, "classifier.3");
    }
    refused(&["data", "--features", "avgpool"], 2, "--output");
    refused(&["data", "-o", "x"], 2, "--features");
    refused(
        &["data", "--features", "avgpool", "-o", "f.safetensors"],
        3,
        "--overwrite",
    );
    // A base without a classifier has no answers, and embeddings.
    let mut features = crate::files::tiny();
    features.retain(|(name, _, _)| name.starts_with("features"));
    store(&at.join("trunk.safetensors"), &features, Dtype::F32);
    let trunk = |more: &[&str]| {
        let mut command = goldfish(at);
        command.args(["predict", "data/tench", "--weights", "trunk.safetensors"]);
        command.args(["--image-size", "32"]).args(more).assert()
    };
    trunk(&[]).code(3).stderr(contains("has no classifier"));
    trunk(&[
        "--features",
        "avgpool",
        "-o",
        "f.safetensors",
        "--overwrite",
    ])
    .success()
    .stdout(contains("2 images, 1176 numbers each of avgpool"));
    // The base is never written over.
    trunk(&[
        "--features",
        "avgpool",
        "-o",
        "trunk.safetensors",
        "--overwrite",
    ])
    .code(3)
    .stderr(contains("is the base itself"));
    fs::remove_file(at.join("trunk.safetensors")).expect("it was there");
    // A file that cannot be read ends it, and nothing is half written.
    refused(
        &["data", "--features", "avgpool", "-o", "other.safetensors"],
        3,
        "0b.png",
    );
    let left = fs::read_dir(at).expect("the folder").filter_map(|f| f.ok());
    let left: Vec<_> = left
        .filter(|f| !["data", "run", ".cache"].contains(&&*f.file_name().to_string_lossy()))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

fn fewer_embeddings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.safetensors");
    let names: Vec<String> = (0..50).map(|n| format!("a picture \"{n}\".png")).collect();
    let written = write_features(&path, "avgpool", 3, &names, |put| {
        put(&names[7], &[1.0, 2.0, 3.0])?;
        put(&names[9], &[4.0, 5.0, 6.0])
    });
    assert_eq!(written.expect("it is written"), 2);
    let bytes = fs::read(&path).expect("the file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a whole file");
    let view = file.tensor("features").expect("it is there");
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
    assert_eq!(
        (view.shape(), values),
        (&[2, 3][..], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    );
    let file = Tensors::open(&path).expect("it is read");
    let notes = file.metadata();
    assert_eq!(
        parsed(&notes["goldfish.images"]),
        json!([names[7], names[9]])
    );
    let unnamed = write_features(&path, "avgpool", 1, &[], |put| put("another", &[1.0]));
    assert!(unnamed.is_err());
    assert_eq!(fs::read(&path).expect("as it was"), bytes);
}
