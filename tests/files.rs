//! Weights and adapters: what is whole is read, everything else is refused by name, and nothing is half written.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use goldfish::data::Classes;
use goldfish::files::write_atomic;
use goldfish::formats::{Tensors, adapter as files};
use goldfish::nn::arch::{Arch, VGG19_TINY};
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Loading, Vgg};
use goldfish::random::Stream;
use libtest_mimic::Trial;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::support::{adapter, gpu, gpu_trial, random_base, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "files::an_atomic_write_replaces_the_whole_or_nothing",
            atomic,
        ),
        gpu_trial(
            "files::weights_are_read_under_torchvisions_names",
            torchvision_weights,
        ),
        gpu_trial("files::weights_are_read_under_timms_names", timm_weights),
        gpu_trial(
            "files::wrong_weights_are_refused_all_at_once",
            wrong_weights,
        ),
        gpu_trial("files::damaged_safetensors_are_refused", damaged_weights),
        gpu_trial("files::nan_in_weights_is_refused", nan_weights),
        gpu_trial("files::an_adapter_comes_back_as_it_was", adapter_round_trip),
        gpu_trial(
            "files::an_adapter_has_pefts_keys_and_settings",
            adapter_layout,
        ),
        gpu_trial(
            "files::adapters_for_something_else_are_refused",
            wrong_adapters,
        ),
    ]
}

fn atomic() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    write_atomic(&path, b"one").expect("a first write");
    write_atomic(&path, b"two").expect("a second write");
    assert_eq!(fs::read(&path).expect("the file"), b"two");
    let error =
        write_atomic(&folder.path().join("missing/file"), b"three").expect_err("no such folder");
    assert!(
        error.to_string().contains("missing/file: cannot write"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(folder.path()).expect("the folder").count(),
        1,
        "nothing is left behind"
    );
    // Whatever is no file stays: who may, would replace /dev/null by one.
    fs::create_dir(folder.path().join("below")).expect("made");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    let there = ["below", "pipe"].into_iter().take(match made {
        Ok(done) if done.success() => 2,
        _ => 1,
    });
    for name in there {
        let path = folder.path().join(name);
        let error = write_atomic(&path, b"four").expect_err("no file");
        assert!(error.to_string().contains("is no regular file"), "{error}");
        assert!(!path.is_file());
    }
}

pub type Stored = Vec<(String, Vec<usize>, Vec<u8>)>;

/// The parameters of the tiny network as they would be stored.
pub fn tiny() -> Stored {
    let parameters = VGG19_TINY.parameters().into_iter();
    parameters
        .map(|(name, shape)| {
            let mut values = vec![0f32; shape.len()];
            Stream::new(3, &name).fill_normal(0, 0.1, &mut values);
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape.dims().to_vec(), bytes)
        })
        .collect()
}

pub fn store(path: &Path, tensors: &Stored, dtype: Dtype) {
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(dtype, shape.clone(), bytes).expect("a view"),
        )
    });
    let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None::<HashMap<String, String>>)
        .expect("a file");
    fs::write(path, bytes).expect("a file");
}

pub fn load(path: &Path) -> Result<Vec<f32>, String> {
    let load = || {
        let file = Tensors::open(path)?;
        let how = Loading {
            portable: true,
            ..Loading::default()
        };
        let vgg = Vgg::load(&gpu(), VGG19_TINY, &file.source(VGG19_TINY)?, &how, |_| {
            Ok(())
        })?;
        vgg.parameters()["classifier.0.weight"].to_vec()
    };
    load().map_err(|e: goldfish::Error| e.to_string())
}

pub fn classifier(tensors: &Stored) -> Vec<f32> {
    let (_, _, bytes) = tensors
        .iter()
        .find(|t| t.0 == "classifier.0.weight")
        .expect("it is there");
    bytemuck::pod_collect_to_vec(bytes)
}

fn torchvision_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.safetensors");
    let tensors = tiny();
    store(&path, &tensors, Dtype::F32);
    assert_eq!(load(&path).expect("it is read"), classifier(&tensors));
}

fn timm_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("timm.safetensors");
    let mut tensors = tiny();
    let expected = classifier(&tensors);
    for (name, shape, _) in &mut tensors {
        for (from, to, kernel) in [
            ("classifier.0", "pre_logits.fc1", 7),
            ("classifier.3", "pre_logits.fc2", 1),
            ("classifier.6", "head.fc", 0),
        ] {
            if name.starts_with(from) {
                *name = name.replace(from, to);
                if kernel > 0 && shape.len() == 2 {
                    *shape = vec![shape[0], shape[1] / kernel / kernel, kernel, kernel];
                }
            }
        }
    }
    store(&path, &tensors, Dtype::F32);
    assert_eq!(load(&path).expect("it is read"), expected);
}

fn wrong_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wrong.safetensors");
    let mut tensors = tiny();
    tensors.retain(|t| t.0 != "features.0.bias");
    tensors.push(("surprise".into(), vec![1], vec![0; 4]));
    let wrong = tensors
        .iter_mut()
        .find(|t| t.0 == "features.2.weight")
        .expect("it is there");
    wrong.1.reverse();
    store(&path, &tensors, Dtype::F32);
    let error = load(&path).expect_err("it is wrong");
    for part in [
        "wrong.safetensors",
        "features.0.bias is missing",
        "surprise does not belong",
        "features.2.weight has shape",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let mut integers = tiny();
    integers.retain(|t| t.0 != "features.0.bias");
    let path = folder.path().join("integers.safetensors");
    store(&path, &integers, Dtype::I32);
    let error = load(&path).expect_err("whole numbers");
    assert!(
        error.contains("features.0.weight is I32 and should be F32, F16, BF16 or F64"),
        "{error}"
    );
}

fn damaged_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.safetensors");
    store(&path, &tiny(), Dtype::F32);
    let whole = fs::read(&path).expect("the file");
    let oversized = [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat();
    let garbage = [&whole[..8], &vec![b'x'; whole.len() - 8]].concat();
    // Nested deeper than a parser's stack, in a place that nobody reads.
    let nested = ["[".repeat(1 << 20), "]".repeat(1 << 20)].concat();
    let nested = format!("{{\"a\":{{\"data_offsets\":[0,0],\"x\":{nested}}}}}");
    let nested = [&(nested.len() as u64).to_le_bytes()[..], nested.as_bytes()].concat();
    for bytes in [
        &nested,
        &whole[..whole.len() - 1],
        &whole[..100],
        &whole[..4],
        b"",
        &oversized,
        &garbage,
    ] {
        fs::write(&path, bytes).expect("a file");
        let error = load(&path).expect_err("it is damaged");
        assert!(
            error.contains("damaged.safetensors") && error.contains("safetensors file"),
            "{error}"
        );
    }
    let error = load(folder.path()).expect_err("a folder is no file");
    assert!(error.contains("is not a file"), "{error}");
    assert!(
        load(&folder.path().join("none"))
            .expect_err("there is none")
            .contains("cannot open")
    );
}

fn nan_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nan.safetensors");
    let mut tensors = tiny();
    tensors[5].2[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    let name = tensors[5].0.clone();
    store(&path, &tensors, Dtype::F32);
    let error = load(&path).expect_err("it holds a NaN");
    assert!(
        error.contains(&format!("{name} holds values that are not finite")),
        "{error}"
    );
}

/// An adapter of `targets` with random B.
pub fn trained(targets: &str) -> Adapter {
    let mut adapter = adapter(&gpu(), VGG19_TINY, 32, targets, [4, 6], (Init::Tutorial, 9));
    for (_, lora) in &mut adapter.loras {
        lora.b = crate::support::normal(&gpu(), 9, "b", lora.b.shape().dims(), 1.0);
    }
    adapter
}

fn adapter_round_trip() {
    let folder = tempfile::tempdir().expect("a folder");
    for targets in ["pixels", "pixels,features.0,classifier", "all"] {
        let mut before = trained(targets);
        if let Some((_, lora)) = before.loras.last_mut() {
            (lora.alpha, lora.rslora) = (2.5, false);
        }
        let (path, bytes) = files::save(
            folder.path(),
            &before,
            VGG19_TINY,
            &random_base(),
            &Classes::imagenet(),
        )
        .expect("it is written");
        assert_eq!(fs::metadata(path).expect("the file").len(), bytes);
        let after = files::load(&gpu(), folder.path(), VGG19_TINY, 32)
            .expect("it is read")
            .adapter;
        assert_eq!(after.loras.len(), before.loras.len());
        for ((module, before), (name, after)) in before.loras.iter().zip(&after.loras) {
            assert_eq!(module, name);
            assert_eq!(after.a.to_vec().expect("A"), before.a.to_vec().expect("A"));
            assert_eq!(after.b.to_vec().expect("B"), before.b.to_vec().expect("B"));
            assert_eq!(after.scale(), before.scale(), "{module}");
        }
    }
}

/// A folder with an adapter of the branch.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    files::save(
        folder.path(),
        &trained("pixels"),
        VGG19_TINY,
        &random_base(),
        &Classes::imagenet(),
    )
    .expect("it is written");
    folder
}

fn adapter_layout() {
    let folder = saved();
    let bytes = fs::read(folder.path().join(files::MODEL)).expect("the file");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    assert_eq!(
        header
            .metadata()
            .as_ref()
            .and_then(|m| m.get("format"))
            .map(String::as_str),
        Some("pt")
    );
    let shapes: HashMap<String, Vec<usize>> = header
        .tensors()
        .into_iter()
        .map(|(name, info)| (name, info.shape.clone()))
        .collect();
    assert_eq!(shapes.len(), 2);
    assert_eq!(shapes["base_model.model.pixels.lora_A.weight"], [4, 3072]);
    assert_eq!(shapes["base_model.model.pixels.lora_B.weight"], [1000, 4]);
    let text = fs::read_to_string(folder.path().join(files::CONFIG)).expect("the settings");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in [
        ("peft_type", json!("LORA")),
        ("r", json!(4)),
        ("lora_alpha", json!(6)),
        ("target_modules", json!(["pixels"])),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
}

fn wrong_adapters() {
    let folder = saved();
    let says = |side: usize| {
        let loaded = files::load(&gpu(), folder.path(), VGG19_TINY, side);
        loaded.map(|_| ()).expect_err("it does not fit").to_string()
    };
    let error = says(224);
    assert!(
        error.contains("lora_A.weight has shape [4, 3072] and should have [4, 150528]"),
        "{error}"
    );
    let config = folder.path().join(files::CONFIG);
    let text = fs::read_to_string(&config).expect("the settings");
    let good: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value, part) in [
        ("peft_type", json!("IA3"), "peft_type"),
        ("use_dora", json!(true), "use_dora"),
        ("bias", json!("all"), "bias"),
        (
            "modules_to_save",
            json!(["classifier.6"]),
            "modules_to_save",
        ),
        ("target_modules", json!(["features.0"]), "target_modules"),
        ("r", json!(0), "r must be"),
        ("r", json!(u64::MAX), "r must be"),
        ("lora_alpha", json!("much"), "lora_alpha"),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        fs::write(&config, bad.to_string()).expect("the settings");
        let error = says(32);
        assert!(
            error.contains(part) && error.contains(files::CONFIG),
            "{error}"
        );
    }
    // A module that the settings name and the file lacks is not left out without a word.
    let mut more = good.clone();
    more["target_modules"] = json!(["pixels", "features.0"]);
    fs::write(&config, more.to_string()).expect("the settings");
    let error = says(32);
    assert!(
        error.contains("features.0.lora_A.weight is missing"),
        "{error}"
    );
    fs::write(&config, "{").expect("the settings");
    assert!(says(32).contains("not a JSON object"));
    assert!(Arch::named("resnet").is_err());
}
