//! Adapters as PEFT saves them: each gives PEFT's logits, and what is broken or hostile is refused by name.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use goldfish::data::Classes;
use goldfish::formats::{Summary, adapter as files};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Adapter, Loading, Vgg};
use goldfish::{Tape, Var};
use libtest_mimic::Trial;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use crate::cli::{TINY, dataset, goldfish, train};
use crate::files::trained;
use crate::parity::{NARROW, narrow_numbers};
use crate::support::{error, fixture, gpu, gpu_trial, normal, random_base, root};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("peft::saved_adapters_have_pefts_logits", logits),
        gpu_trial(
            "peft::an_adapter_is_found_by_its_folder_or_a_file_in_it",
            places,
        ),
        gpu_trial("peft::a_pickle_is_refused_with_the_way_out", pickles),
        gpu_trial("peft::hostile_settings_are_refused", hostile_settings),
        gpu_trial("peft::hostile_factors_are_refused", hostile_factors),
        gpu_trial(
            "peft::adapters_saved_by_goldfish_before_are_read",
            old_adapters,
        ),
        gpu_trial(
            "peft::training_goes_on_from_a_file_with_a_rank_above_its_layers",
            goes_on,
        ),
    ]
}

fn saved() -> PathBuf {
    root().join("tests/fixtures/peft")
}

/// f32 through 19 layers: PyTorch's own is 2e-6 from f64, and Winograd's F(6x6) is within 1e-5 a layer, of which several
/// lie on the way. Another alpha or rank changes logits by more than 1e-3.
const WITHIN: f64 = 5e-5;

/// Every folder of the fixture, by both families.
fn logits() {
    let gpu = gpu();
    let expected = fixture("peft/logits.safetensors");
    let images = normal(&gpu, 1, "images", &[3, 3, 64, 64], 1.0);
    for portable in [true, false] {
        let run = |adapter: &Adapter| {
            let how = Loading {
                portable,
                ranks: adapter.ranks(),
                ..Loading::default()
            };
            let base =
                Vgg::load(&gpu, NARROW, &narrow_numbers(), &how, |_| Ok(())).expect("a network");
            let (mut tape, images) = (Tape::new(), Var::frozen(&images));
            let logits = base.forward_from(&mut tape, &images, 0, None, &adapter.frozen(), false);
            logits.expect("logits").tensor.to_vec().expect("numbers")
        };
        let base = run(&Adapter::default());
        let off = error(&base, &expected["base"]);
        assert!(off < WITHIN, "the base alone: {off:.1e}");
        let mut adapters = 0;
        for (name, expected) in expected.iter().filter(|(name, _)| *name != "base") {
            let adapter = files::load(&gpu, &saved().join(name), NARROW, 64);
            let found = run(&adapter.unwrap_or_else(|e| panic!("{name}: {e}")).adapter);
            let error = error(&found, expected);
            assert!(error < WITHIN, "{name}: {error:.1e}");
            adapters += 1;
        }
        let folders = fs::read_dir(saved()).expect("the fixture");
        let folders = folders.filter(|f| f.as_ref().is_ok_and(|f| f.path().is_dir()));
        assert_eq!(adapters, folders.count());
    }
}

fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in [files::CONFIG, files::MODEL] {
        fs::copy(saved().join(name).join(file), folder.path().join(file)).expect("a copy");
    }
    folder
}

fn places() {
    let folder = copy("plain");
    let at = |file: &str| folder.path().join(file);
    let load = |path: &Path| files::load(&gpu(), path, NARROW, 64);
    let modules = |path: &Path| load(path).expect("an adapter").adapter.loras.len();
    assert_eq!(modules(folder.path()), 3);
    assert_eq!(modules(&at(files::MODEL)), 3);
    assert_eq!(modules(&at(files::CONFIG)), 3);
    fs::rename(at(files::MODEL), at("epoch3.safetensors")).expect("a new name");
    assert_eq!(modules(&at("epoch3.safetensors")), 3);
    let error = load(folder.path())
        .map(|_| ())
        .expect_err("which file?")
        .to_string();
    assert!(
        error.contains("adapter_model.safetensors: cannot open"),
        "{error}"
    );
    // The command line takes the file too, and finds run.toml beside it.
    let folder = dataset();
    train(folder.path(), &["-o", "run", "--epochs", "1"]).success();
    let mut command = goldfish(folder.path());
    let file = ["--adapter", "run/adapter_model.safetensors@0.5"];
    command
        .args(["predict", "data/goldfish"])
        .args(file)
        .assert()
        .success();
    // Halves have norms as other numbers do.
    for name in ["plain", "bf16", "f16", "f64"] {
        let summary = Summary::read(&saved().join(name)).expect("a summary");
        assert_eq!(summary.modules.len(), 3, "{name}");
        assert!(summary.modules.iter().all(|module| module.norm_ba > 0.0));
    }
}

fn pickles() {
    let folder = copy("plain");
    fs::remove_file(folder.path().join(files::MODEL)).expect("it is gone");
    let pickle = root().join("tests/fixtures/torch/bad_command.pth");
    fs::copy(pickle, folder.path().join("adapter_model.bin")).expect("a pickle");
    let error = files::load(&gpu(), folder.path(), NARROW, 64);
    let error = error.map(|_| ()).expect_err("a pickle").to_string();
    assert!(
        error.contains("adapter_model.bin: holds an object of Python's, posix.system"),
        "{error}"
    );
}

fn hostile_settings() {
    let folder = copy("plain");
    let path = folder.path().join(files::CONFIG);
    let good = fs::read_to_string(&path).expect("the settings");
    let says = |text: &[u8]| {
        fs::write(&path, text).expect("the settings");
        let loaded = files::load(&gpu(), folder.path(), NARROW, 64);
        loaded.map(|_| ()).expect_err("hostile").to_string()
    };
    let with = |key: &str, value: &str| {
        let mut config: Map<String, Value> = serde_json::from_str(&good).expect("JSON");
        config.insert(key.into(), json!("HERE"));
        serde_json::to_string(&config)
            .expect("JSON")
            .replace("\"HERE\"", value)
    };
    let names = (0..30_000)
        .map(|i| format!("\"{i}\":1"))
        .collect::<Vec<_>>()
        .join(",");
    for (text, part) in [
        (with("lora_alpha", "1e400"), "number out of range"),
        (with("lora_alpha", "NaN"), "not a JSON object"),
        (with("lora_alpha", "Infinity"), "not a JSON object"),
        (with("lora_alpha", "1e39"), "beyond f32"),
        (
            with("alpha_pattern", "{\"classifier.3\": -1e300}"),
            "classifier.3 is -1e300, which is beyond f32",
        ),
        (with("r", "1000000000"), "r must be a whole number"),
        (with("r", "0"), "r must be a whole number"),
        (with("r", "65536"), "should have [65536, "),
        (
            with("rank_pattern", &format!("{{{names}}}")),
            "30000 entries",
        ),
        (
            with("target_modules", "[\"features.0\\u0000\"]"),
            "leaves it out",
        ),
        (with("x", &"[".repeat(100_000)), "recursion limit"),
        (
            with("x", &format!("\"{}\"", "a".repeat(2 << 20))),
            "too many",
        ),
        ("[]".into(), "not a JSON object"),
        (String::new(), "not a JSON object"),
    ] {
        let error = says(text.as_bytes());
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(says(b"\xff\xfe{}").contains("not a JSON object"));
    // Of a name that stands twice the last value counts, as in Python.
    let twice = good.replacen('{', "{\"r\": 999, \"lora_alpha\": 5,", 1);
    fs::write(&path, twice).expect("the settings");
    let adapter = files::load(&gpu(), folder.path(), NARROW, 64)
        .expect("an adapter")
        .adapter;
    assert!(
        adapter
            .loras
            .iter()
            .all(|(_, lora)| (lora.rank(), lora.alpha) == (2, 3.0))
    );
}

fn hostile_factors() {
    let folder = copy("plain");
    let path = folder.path().join(files::MODEL);
    let whole = fs::read(&path).expect("the factors");
    let file = safetensors::SafeTensors::deserialize(&whole).expect("a whole file");
    let a = "base_model.model.classifier.3.lora_A.weight";
    let nan = [f32::NAN.to_le_bytes(); 32].concat();
    let says = |name: &str, view: Option<(Dtype, Vec<usize>, &[u8])>| {
        let mut tensors: HashMap<String, TensorView> = file.tensors().into_iter().collect();
        tensors.remove(a);
        if let Some((dtype, shape, bytes)) = view {
            let view = TensorView::new(dtype, shape, bytes).expect("a tensor");
            tensors.insert(name.into(), view);
        }
        let bytes = safetensors::serialize(tensors, None).expect("a file");
        fs::write(&path, bytes).expect("the factors");
        let loaded = files::load(&gpu(), folder.path(), NARROW, 64);
        loaded.map(|_| ()).map_err(|e| e.to_string())
    };
    let ones = [0x3f; 128];
    // One factor in halves and the other in f32 is no fault.
    assert_eq!(
        says(a, Some((Dtype::BF16, vec![2, 16], &ones[..64]))),
        Ok(())
    );
    for (name, view, part) in [
        (a, None, "classifier.3.lora_A.weight is missing"),
        (a, Some((Dtype::F32, vec![2, 16], &nan[..])), "not finite"),
        (
            a,
            Some((Dtype::F32, vec![0, 16], &ones[..0])),
            "has shape [0, 16]",
        ),
        (
            a,
            Some((Dtype::F32, vec![16, 2], &ones[..])),
            "has shape [16, 2]",
        ),
        (a, Some((Dtype::I32, vec![2, 16], &ones[..])), "is I32"),
        (
            "base_model.model.classifier.3.lora_A.weight\0",
            Some((Dtype::F32, vec![2, 16], &ones[..])),
            "weight\\0 does not belong",
        ),
        (
            "base_model.model.classifier.3.lora_magnitude_vector",
            Some((Dtype::F32, vec![16], &ones[..64])),
            "lora_magnitude_vector does not belong",
        ),
        (
            "base_model.model.classifier.6.lora_A.weight",
            Some((Dtype::F32, vec![2, 16], &ones[..])),
            "classifier.6 has factors",
        ),
    ] {
        let error = says(name, view).expect_err(part);
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Settings in the form that goldfish 0.1 wrote: names as patterns, every key that it had.
fn old_adapters() {
    let folder = tempfile::tempdir().expect("a folder");
    let adapter = trained("pixels,features.0,classifier");
    files::save(
        folder.path(),
        &adapter,
        VGG19_TINY,
        &random_base(),
        &Classes::imagenet(),
    )
    .expect("it is written");
    let config = json!({"peft_type": "LORA", "base_model_name_or_path": "vgg19", "r": 4, "lora_alpha": 6,
        "target_modules": ["pixels", "features.0", "classifier.0", "classifier.3", "classifier.6"],
        "rank_pattern": {"pixels": 4, "features\\.0": 4}, "alpha_pattern": {"^classifier.6$": 1.5, "classifier.0": 2},
        "lora_dropout": 0.0, "bias": "none", "use_rslora": true, "use_dora": false, "fan_in_fan_out": false,
        "init_lora_weights": true, "inference_mode": true, "modules_to_save": null, "task_type": null});
    fs::write(folder.path().join(files::CONFIG), config.to_string()).expect("the settings");
    let read = files::load(&gpu(), folder.path(), VGG19_TINY, 32)
        .expect("an adapter")
        .adapter;
    let alphas: Vec<(&str, f64)> = read
        .loras
        .iter()
        .map(|(m, l)| (m.as_str(), l.alpha))
        .collect();
    let expected = [
        ("pixels", 6.0),
        ("features.0", 6.0),
        ("classifier.0", 2.0),
        ("classifier.3", 6.0),
        ("classifier.6", 1.5),
    ];
    assert_eq!(alphas, expected);
    assert!(
        read.loras
            .iter()
            .all(|(_, lora)| lora.rslora && lora.rank() == 4)
    );
}

/// Rank 32 on a layer of four channels: read, trained on, saved, and read again.
fn goes_on() {
    let folder = dataset();
    let targets = [
        "--targets",
        "features.0,classifier.6",
        "--rank",
        "4",
        "-o",
        "one",
    ];
    train(folder.path(), &[&targets[..], &["--epochs", "1"]].concat()).success();
    // The factors of rank 4, eight times over, with an alpha below zero.
    let path = folder.path().join("one").join(files::MODEL);
    let bytes = fs::read(&path).expect("the factors");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a file");
    let mut wide: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in file.tensors() {
        let mut shape = view.shape().to_vec();
        let dimension = usize::from(name.contains("lora_B"));
        let row = view.data().len() / if dimension == 1 { shape[0] } else { 1 };
        shape[dimension] *= 8;
        let data = view
            .data()
            .chunks(row)
            .flat_map(|row| row.repeat(8))
            .collect();
        wide.push((name, shape, data));
    }
    let views = wide.iter().map(|(name, shape, data)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), data).expect("a tensor"),
        )
    });
    fs::write(&path, safetensors::serialize(views, None).expect("a file")).expect("the factors");
    let path = folder.path().join("one").join(files::CONFIG);
    let mut config: Value =
        serde_json::from_slice(&fs::read(&path).expect("the settings")).expect("JSON");
    (config["r"], config["lora_alpha"]) = (json!(32), json!(-4));
    fs::write(&path, config.to_string()).expect("the settings");
    let start = [
        "--init-adapter",
        "one/adapter_model.safetensors",
        "-o",
        "two",
        "--epochs",
        "3",
    ];
    let mut command = goldfish(folder.path());
    command
        .args(["train", "data"])
        .args(TINY)
        .args(start)
        .assert()
        .success();
    let two = files::load(&gpu(), &folder.path().join("two"), VGG19_TINY, 32)
        .expect("an adapter")
        .adapter;
    assert!(
        two.loras
            .iter()
            .all(|(_, lora)| (lora.rank(), lora.alpha) == (32, -4.0))
    );
    let moved = two.loras[0].1.b.to_vec().expect("B");
    assert!(moved.iter().any(|b| *b != 0.0), "B was trained");
}
