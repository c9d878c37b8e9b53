//! Exported networks, read and computed by another program's library: rten, an ONNX runtime in Rust.

use std::fs;
use std::path::Path;

use goldfish::data::{Classes, Transform, decode};
use goldfish::formats::{Export, Input, Merged, Tensors, write_onnx};
use goldfish::nn::arch::{Arch, VGG19};
use goldfish::nn::{Adapter, Source};
use libtest_mimic::Trial;
use predicates::str::contains;
use rten::{Model, Value};
use serde_json::json;

use crate::adapters::{LAYERS, difference};
use crate::cli::{dataset, goldfish, stdout};
use crate::support::{gpu, gpu_trial, pictures};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "export::an_onnx_runtime_gives_the_logits_at_every_size",
            sizes,
        ),
        gpu_trial("export::the_file_says_how_to_use_it", notes),
        gpu_trial(
            "export::own_classes_are_exported_and_merged_with_their_names",
            own_classes,
        ),
        gpu_trial("export::the_base_alone_can_be_exported", base_alone),
        gpu_trial("export::what_cannot_be_written_is_refused", refused),
        gpu_trial("export::what_onnx_cannot_hold_is_refused", too_large),
    ]
}

/// A run of few steps on images of `side`, and its exported file.
fn exported(folder: &Path, side: usize, targets: &[&str], input: &str) {
    goldfish(folder)
        .args(["train", "data", "-o", "run", "--overwrite"])
        .args(["--arch", "vgg19-tiny", "--weights", "random:3"])
        .args(["--image-size", &side.to_string()])
        .args(targets)
        .assert()
        .success();
    goldfish(folder)
        .args(["export", "run", "-o", "model.onnx", "--overwrite"])
        .args(["--to", "onnx", "--input", input])
        .assert()
        .success();
}

/// What `predict` prints of one picture, as logits and probabilities.
fn predicted(folder: &Path, picture: &str, how: &[&str]) -> [Vec<f64>; 2] {
    let mut command = goldfish(folder);
    command.args(["predict", picture, "--top", "2000", "--format", "json"]);
    let text = stdout(&command.args(how).assert().success());
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let predictions = report["images"][0]["predictions"].as_array().expect("all");
    let mut values = [vec![0.0; predictions.len()], vec![0.0; predictions.len()]];
    for p in predictions {
        let index = p["index"].as_u64().expect("an index") as usize;
        for (values, key) in values.iter_mut().zip(["logit", "probability"]) {
            values[index] = p[key].as_f64().expect("a number");
        }
    }
    values
}

/// What rten computes for some pictures: logits and probabilities, [N, classes].
fn computed(folder: &Path, pictures: &[&str], side: usize, input: Input) -> [Vec<f64>; 2] {
    let model = Model::load_file(folder.join("model.onnx")).expect("a model");
    let transform = Transform { size: side };
    let crops = pictures
        .iter()
        .map(|picture| transform.crop(&decode(&folder.join(picture), false).expect("a picture")));
    let crops: Vec<Vec<u8>> = crops.collect();
    let images: Value = match input {
        Input::Bytes => {
            Value::from_shape([crops.len(), side, side, 3], crops.concat()).expect("bytes")
        }
        Input::Floats => {
            let mut pixels = vec![0.0; crops.len() * 3 * side * side];
            for (crop, out) in crops.iter().zip(pixels.chunks_mut(3 * side * side)) {
                transform.normalise(crop, out);
            }
            Value::from_shape([crops.len(), 3, side, side], pixels).expect("floats")
        }
    };
    let outputs = model
        .output_ids()
        .try_into()
        .expect("logits and probabilities");
    let values = model.run_n(vec![(model.input_ids()[0], images.into())], outputs, None);
    values.expect("it runs").map(|value| {
        let (shape, values) = value.into_shape_vec::<f32, 2>().expect("a matrix");
        assert_eq!(shape[0], pictures.len());
        values.into_iter().map(f64::from).collect()
    })
}

/// The logits that rten computes for normalised images of `side`.
pub fn run(path: &Path, images: Vec<f32>, side: usize) -> Vec<f32> {
    let model = Model::load_file(path).expect("a model");
    let shape = [images.len() / (3 * side * side), 3, side, side];
    let images = Value::from_shape(shape, images).expect("whole images");
    let logits = model.run_one(images.into(), None).expect("it runs");
    let (_, logits) = logits.into_shape_vec::<f32, 2>().expect("a matrix");
    logits
}

fn sizes() {
    const BRANCH: &[&str] = &["--targets", "pixels,classifier.3", "--epochs", "2"];
    let folder = dataset();
    let pictures = ["data/goldfish/0.png", "data/tench/1.png"];
    // The last planes have sides of 1, 2, 3, 7, 9 and 14.
    for (side, targets, input) in [
        (32, BRANCH, Input::Bytes),
        (64, LAYERS, Input::Floats),
        (100, LAYERS, Input::Bytes),
        (224, BRANCH, Input::Floats),
        (300, LAYERS, Input::Bytes),
        (448, LAYERS, Input::Floats),
    ] {
        let name = match input {
            Input::Floats => "floats",
            Input::Bytes => "bytes",
        };
        exported(folder.path(), side, targets, name);
        let found = computed(folder.path(), &pictures, side, input);
        let one = |picture| predicted(folder.path(), picture, &["--adapter", "run"]);
        let expected = pictures.map(one);
        for (index, found) in found.iter().enumerate() {
            let expected: Vec<f64> = expected.iter().flat_map(|e| e[index].clone()).collect();
            // Both are f32 through 19 layers.
            let error = difference(found, &expected);
            assert!(error < 1e-5, "{side} {targets:?} {index}: {error:.1e}");
        }
    }
}

fn notes() {
    let folder = dataset();
    for (input, mean) in [
        ("floats", Some(json!([0.485, 0.456, 0.406]))),
        ("bytes", None),
    ] {
        exported(folder.path(), 32, &["--targets", "classifier.6"], input);
        let model = Model::load_file(folder.path().join("model.onnx")).expect("a model");
        let notes = model.metadata();
        let note = |name| {
            let text = notes.get(name)?;
            Some(serde_json::from_str::<serde_json::Value>(text).expect("JSON"))
        };
        assert_eq!(notes.producer_name(), Some("goldfish"));
        let classes = note("classes").expect("classes");
        assert_eq!(classes.as_array().expect("a list").len(), 1000);
        assert_eq!(classes[1], "goldfish");
        for (name, value) in [
            (
                "base",
                json!({"name": "vgg19-tiny random:3", "classes": 1000, "trained": false}),
            ),
            ("adapted", json!(["classifier.6"])),
            ("input", json!(input)),
            ("resize", json!(37)),
            ("crop", json!(32)),
        ] {
            assert_eq!(note(name), Some(value), "{name}");
        }
        // A network that normalises wants nothing normalised.
        assert_eq!(note("mean"), mean);
        let text = fs::read(folder.path().join("model.onnx")).expect("the file");
        let says = "the shorter side resized to 37";
        assert!(text.windows(says.len()).any(|part| part == says.as_bytes()));
    }
}

fn own_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for class in ["Grün", "blue", "red ones"] {
        pictures(&at.join("data"), class, &[(40, 50), (60, 40)]);
    }
    let own = json!(["Grün", "blue", "red ones"]);
    let picture = "data/blue/1.png";
    for (flags, classes) in [
        (&["--targets", "head,pixels,classifier.3"][..], 3),
        (&["--targets", "head,features.34", "--keep-imagenet"], 1003),
        (&["--targets", "head"], 3),
    ] {
        exported(at, 64, flags, "floats");
        let found = computed(at, &[picture], 64, Input::Floats);
        let expected = predicted(at, picture, &["--adapter", "run"]);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.len(), expected.len()), (classes, classes));
            let error = difference(found, expected);
            assert!(error < 1e-5, "{flags:?}: {error:.1e}");
        }
        let model = Model::load_file(at.join("model.onnx")).expect("a model");
        let names = model.metadata().get("classes").expect("names");
        let names: Vec<serde_json::Value> = serde_json::from_str(names).expect("JSON");
        assert_eq!(json!(names[classes - 3..]), own);
        let merge = ["merge", "run", "-o", "merged.safetensors", "--overwrite"];
        let merge = goldfish(at).args(merge).assert();
        if flags[1].contains("pixels") {
            merge.code(2).stderr(contains("export"));
            continue;
        }
        merge
            .success()
            .stdout(contains(format!("{classes} classes")));
        let whole = Tensors::open(&at.join("merged.safetensors")).expect("merged");
        let notes = whole.metadata();
        let merged: Vec<serde_json::Value> =
            serde_json::from_str(&notes["goldfish.classes"]).expect("JSON");
        assert_eq!(merged, names);
        let trained = Tensors::open(&at.join("run/adapter_model.safetensors")).expect("a run");
        for parameter in ["weight", "bias"] {
            let last = format!("classifier.6.{parameter}");
            let of = |file: &Tensors, name: &str| {
                let mut found = None;
                file.each(|n, _, shape, bytes| {
                    if n == name {
                        found = Some((shape.to_vec(), bytes.to_vec()));
                    }
                });
                found.expect("it is there")
            };
            let head = of(&trained, &format!("base_model.model.{last}"));
            assert_eq!(head.0[0], classes);
            assert_eq!(of(&whole, &last), head);
        }
        goldfish(at)
            .args(["merge", "run", "-o", "base.safetensors", "--unmerge"])
            .args(["--weights", "random:3"])
            .assert()
            .code(2)
            .stderr(contains("last layer of its own"));
        assert!(!at.join("base.safetensors").exists());
    }
}

fn base_alone() {
    let folder = dataset();
    let base = [
        "--arch",
        "vgg19-tiny",
        "--weights",
        "random:3",
        "--image-size",
        "64",
    ];
    goldfish(folder.path())
        .args(["export", "none", "-o", "model.onnx"])
        .args(base)
        .assert()
        .success()
        .stdout(contains("0 modules"));
    let picture = "data/goldfish/1.png";
    let [found, _] = computed(folder.path(), &[picture], 64, Input::Floats);
    let [expected, _] = predicted(folder.path(), picture, &base);
    assert!(difference(&found, &expected) < 1e-5);
}

fn refused() {
    let folder = dataset();
    exported(folder.path(), 32, &["--targets", "classifier.6"], "floats");
    let before = fs::read(folder.path().join("model.onnx")).expect("the file");
    let refused = |args: &[&str], code: i32, says: &str| {
        let mut command = goldfish(folder.path());
        let assert = command.arg("export").args(args).assert();
        assert.code(code).stderr(contains(says));
    };
    refused(&["run", "-o", "model.onnx"], 3, "--overwrite");
    refused(&["run", "-o", "nowhere/model.onnx"], 3, "cannot write");
    refused(&["missing", "-o", "other.onnx"], 3, "missing");
    refused(&["run", "-o", "other.onnx", "--to", "tflite"], 2, "onnx");
    let merged = ["merge", "run", "-o", "base.safetensors"];
    goldfish(folder.path()).args(merged).assert().success();
    let onto = [
        "run",
        "-o",
        "base.safetensors",
        "--overwrite",
        "--weights",
        "base.safetensors",
    ];
    refused(&onto, 3, "never changed");
    assert!(!folder.path().join("other.onnx").exists());
    assert_eq!(
        fs::read(folder.path().join("model.onnx")).expect("the file"),
        before
    );
}

fn too_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let arch = Arch {
        name: "huge",
        hidden: 20_000,
        ..VGG19
    };
    let export = Export {
        merged: Merged {
            arch,
            source: &Source::Random(0),
            adapter: &Adapter::default(),
            sign: 1.0,
            classes: &Classes::imagenet(),
        },
        transform: Transform { size: 224 },
        base: &Source::Random(0).identity(arch).expect("a seed"),
        input: Input::Floats,
    };
    let error = write_onnx(&gpu(), &path, &export, |_| panic!("nothing is written"));
    let error = error.expect_err("it is too large").to_string();
    assert!(error.contains("less than 2048"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
