//! The eight VGGs against torchvision and PEFT (`tests/fixtures/family.py`), and which of them a file holds.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use goldfish::check::relative_error;
use goldfish::data::{Classes, Transform};
use goldfish::formats::{
    Export, Input, Merged, Tensors, adapter as files, write_merged, write_onnx,
};
use goldfish::nn::lora::Init;
use goldfish::nn::{Arch, Engine, Loading, Source, Vgg};
use goldfish::ops::{self, Targets};
use goldfish::random::Stream;
use goldfish::{Precision, Tape, Tuning, Var};
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::cli::goldfish;
use crate::parity::noise;
use crate::support::{
    adapter, error, fixture, gpu, gpu_trial, measuring, normal, pictures, root, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "family::each_vgg_has_torchvisions_logits_in_both_families",
            torchvisions_logits,
        ),
        gpu_trial(
            "family::loras_before_batch_norms_have_pefts_logits_and_gradients",
            gradients,
        ),
        gpu_trial(
            "family::an_adapter_that_peft_saved_for_a_vgg_bn_has_its_logits",
            pefts_adapter,
        ),
        gpu_trial(
            "family::both_families_agree_at_the_side_that_they_are_loaded_for_and_others",
            sides,
        ),
        gpu_trial(
            "family::what_is_measured_is_measured_for_the_side_that_is_used",
            tuned_sides,
        ),
        gpu_trial(
            "family::tiles_in_planes_change_no_bit_and_another_transform_is_told_of",
            planes_choices,
        ),
        gpu_trial(
            "family::batch_norms_are_folded_before_weights_become_halves",
            halves,
        ),
        gpu_trial(
            "family::a_network_without_a_classifier_gives_what_one_would_take",
            features_alone,
        ),
        gpu_trial("family::a_seeds_batch_norms_change_nothing", seeded_norms),
        gpu_trial(
            "family::merged_weights_keep_the_batch_norms_and_give_the_adapters_logits",
            merged,
        ),
        gpu_trial(
            "family::a_base_without_a_classifier_is_trained_with_one_of_its_own",
            own_classifier,
        ),
        trial("family::a_file_tells_which_network_it_holds", recognised),
        trial(
            "family::a_file_of_another_network_is_refused_with_its_name",
            refused,
        ),
    ]
}

const NAMES: [&str; 8] = [
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
];

/// The narrow form of one of the eight, with the fixtures' ten classes.
fn narrow(name: &str) -> Arch {
    let arch = Arch::named(&format!("{name}-tiny")).expect("it has a name");
    Arch {
        classes: 10,
        ..arch
    }
}

/// The fixtures' numbers: batch norms with factors and variances far from 1.
fn fill(name: &str, shape: &[usize], first: usize, out: &mut [f32]) {
    let stream = Stream::new(1, name);
    let deviation = match (shape, name.rsplit_once('.')) {
        ([_, rest @ ..], _) if !rest.is_empty() => {
            (2.0 / rest.iter().product::<usize>() as f64).sqrt()
        }
        (_, Some((_, "running_var"))) => {
            stream.fill_normal(first, 1.0, out);
            return out.iter_mut().for_each(|v| *v = *v * *v + 0.05);
        }
        (_, Some((_, "weight"))) => 0.5,
        _ => 0.3,
    };
    stream.fill_normal(first, deviation, out);
}

fn numbers() -> Source<'static> {
    Source::Numbers(Box::new(fill))
}

fn load(arch: Arch, how: &Loading) -> Vgg {
    Vgg::load(&gpu(), arch, &numbers(), how, |_| Ok(())).expect("a network")
}

fn images() -> Vec<f32> {
    Stream::new(1, "images").normals(2 * 3 * 64 * 64, 1.0)
}

fn torchvisions_logits() {
    let expected = fixture("family/logits.safetensors");
    for name in NAMES {
        for portable in [true, false] {
            let how = Loading {
                portable,
                side: 64,
                ..Loading::default()
            };
            let base = load(narrow(name), &how);
            let logits = base.logits(&images(), 64).expect("logits");
            let error = error(&logits, &expected[name]);
            // f32 through up to 19 layers; PyTorch's own f32 is as far from f64.
            assert!(error < 1e-5, "{name}, {}: {error:.1e}", base.family());
        }
    }
}

/// Every layer of a vgg13_bn adapted, B away from zero.
fn gradients() {
    let gpu = gpu();
    let expected = fixture("family/gradients.safetensors");
    let x = Var::frozen(&normal(&gpu, 1, "images", &[2, 3, 64, 64], 1.0));
    let arch = narrow("vgg13_bn");
    let mut start = adapter(&gpu, arch, 64, "all", [2, 3], (Init::Kaiming, 0));
    for (module, lora) in &mut start.loras {
        let (a, b) = (lora.a.shape().clone(), lora.b.shape().clone());
        let deviation = 1.0 / (a.row_len() as f64).sqrt();
        lora.a = normal(&gpu, 1, &format!("{module}.a"), a.dims(), deviation);
        lora.b = normal(&gpu, 1, &format!("{module}.b"), b.dims(), 0.5);
    }
    for (portable, checkpoint) in [(true, false), (false, false), (true, true), (false, true)] {
        let how = Loading {
            portable,
            ranks: start.ranks(),
            trained: true,
            ..Loading::default()
        };
        let base = load(arch, &how);
        let mut tape = Tape::new();
        let (tracked, leaves) = start.track(&mut tape);
        let logits = base
            .forward_from(&mut tape, &x, 0, None, &tracked, checkpoint)
            .expect("logits");
        let found = logits.tensor.to_vec().expect("logits");
        let off = error(&found, &expected["logits"]);
        assert!(off < 1e-5, "{} logits: {off:.1e}", base.family());
        let loss = ops::cross_entropy(&mut tape, &logits, Targets::Classes(&[1, 7]));
        let gradients = tape.backward(&loss.expect("a loss")).expect("gradients");
        let names = start
            .loras
            .iter()
            .flat_map(|(m, _)| ["A", "B"].map(|f| (m, f)));
        for (leaf, (module, factor)) in leaves.iter().zip(names) {
            let name = format!("grad.{module}.lora_{factor}");
            let gradient = gradients.of(leaf).expect("tracked").dense();
            let gradient = gradient.expect("a gradient").to_vec().expect("a gradient");
            let off = error(&gradient, &expected[&name]);
            // Winograd's F(6x6) is within 1e-5 a layer; 13 of them lie on the way.
            assert!(off < 1e-4, "{} {name}: {off:.1e}", base.family());
        }
    }
}

fn pefts_adapter() {
    let folder = root().join("tests/fixtures/family/peft");
    let expected = &fixture("family/peft/logits.safetensors")["logits"];
    let arch = narrow("vgg13_bn");
    let read = files::load(&gpu(), &folder, arch, 64)
        .expect("PEFT's adapter")
        .adapter;
    let images = Var::frozen(&normal(&gpu(), 1, "images", &[2, 3, 64, 64], 1.0));
    for portable in [true, false] {
        let how = Loading {
            portable,
            ranks: read.ranks(),
            ..Loading::default()
        };
        let base = load(arch, &how);
        let adapted = base.adapted(&mut Tape::new(), &images, &read.frozen());
        let adapted = adapted.expect("logits").tensor.to_vec().expect("logits");
        let off = error(&adapted, expected);
        assert!(off < 1e-5, "{}: {off:.1e}", base.family());
        let frozen = base.forward(&mut Tape::new(), &images).expect("logits");
        let frozen = frozen.tensor.to_vec().expect("logits");
        assert!(
            error(&frozen, expected) > 1e-3,
            "the adapter does something"
        );
    }
}

fn sides() {
    for (name, loaded, side) in [
        ("vgg11", 64, 64),
        ("vgg13_bn", 160, 160),
        ("vgg16", 321, 321),
        ("vgg16", 32, 100),
        ("vgg11_bn", 448, 45),
    ] {
        let pixels = noise(2, side);
        let [portable, fast] = [true, false].map(|portable| {
            let how = Loading {
                portable,
                side: loaded,
                ..Loading::default()
            };
            let base = load(narrow(name), &how);
            let together = base.logits(&pixels, side).expect("logits");
            let alone = base
                .logits(&pixels[..pixels.len() / 2], side)
                .expect("logits");
            assert_eq!(alone, together[..10], "{name} at {side}, {}", base.family());
            together
        });
        let portable: Vec<f64> = portable.into_iter().map(f64::from).collect();
        let off = error(&fast, &portable);
        assert!(off < 1e-4, "{name} at {side}: {off:.1e}");
    }
}

fn tuned_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("choices.json");
    let load = |side: usize| {
        let how = Loading {
            portable: true,
            side,
            tuning: Some(measuring(path.clone())),
            ..Loading::default()
        };
        load(narrow("vgg11"), &how).measured()
    };
    // Eight convolutions, and the linear layers but the last, which has too few rows for a choice.
    assert_eq!(load(32), 10);
    // Of the sides from 64 down to 4, one convolution has met its channels at its side before, with a pool too, and the
    // linear layers are the same.
    assert_eq!(load(64), 7);
    assert_eq!((load(32), load(64)), (0, 0));
    let kept = fs::read_to_string(&path).expect("the file");
    for site in [
        "conv 3 to 4 at 32",
        "conv 3 to 4 at 64",
        "conv 24 to 24 at 2",
        "conv 24 to 24 at 2, f32, pooled",
        "linear 1176 to 64",
    ] {
        assert!(kept.contains(site), "{site}: {kept}");
    }
}

/// Shapes that differ in their tiles alone change no bit, those of another transform do, and the engine says so.
fn planes_choices() {
    const SIDE: usize = 64;
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("choices.json");
    let arch = narrow("vgg11");
    let how = |measure: Option<bool>| Loading {
        side: SIDE,
        tuning: measure.map(|measure| Tuning::new(&path, measure)),
        ..Loading::default()
    };
    let pixels = noise(2, SIDE);
    let told = |measure: Option<bool>| {
        let how = how(measure);
        let engine = Engine::new(&gpu, arch, &how, 8, |_| Ok(())).expect("an engine");
        let base = load(arch, &how);
        let logits = base.logits(&pixels, SIDE).expect("logits");
        let measured = base.measured();
        (engine.expect("it is kept").choices, logits, measured)
    };
    let fixed = told(None);
    if load(arch, &how(None)).family() != "software" {
        return;
    }
    assert_eq!(fixed.0, ["winograd4"; 8]);
    // Nothing is there, and nothing is measured unasked.
    assert_eq!(told(Some(false)), fixed);
    assert!(!path.exists());
    let write = |shape: &str, but: Option<&str>| {
        let mut choices = serde_json::Map::new();
        let (mut cin, mut side) = (3, SIDE);
        for layer in arch.layers().iter().filter(|layer| layer.is_conv()) {
            let cout = layer.weight[0];
            let site = format!("planes, conv {cin} to {cout} at {side}");
            let m6 = shape.starts_with("winograd6") && side < 24;
            let shape = if m6 {
                shape.replacen('6', "4", 1)
            } else {
                shape.into()
            };
            if but != Some(&site) {
                choices.insert(site, shape.into());
            }
            (cin, side) = (cout, if layer.pool { side / 2 } else { side });
        }
        let info = gpu.info();
        let kept = serde_json::json!({
            "device": info.name, "driver": info.driver, "processor": gpu.processor(),
            "engine": Loading::kernels_version(), "choices": choices
        });
        fs::write(&path, kept.to_string()).expect("a file");
    };
    write("winograd4 16x7, 112 tiles at once", None);
    assert_eq!(told(Some(false)), fixed);
    write("winograd6 16x7, 112 tiles at once", None);
    let (choices, logits, measured) = told(Some(false));
    assert_eq!(choices[..2], ["winograd6"; 2]);
    assert!(logits != fixed.1 && measured == 0);
    let expected: Vec<f64> = fixed.1.iter().copied().map(f64::from).collect();
    let off = error(&logits, &expected);
    assert!(off < 1e-4, "{off:.1e}");
    // What is not there is measured where that is asked for, once.
    let small = format!("planes, conv {0} to {0} at 4", arch.widths[4]);
    write("winograd4 16x7, 112 tiles at once", Some(&small));
    let first = load(arch, &how(Some(true))).measured();
    assert_eq!((first, load(arch, &how(Some(true))).measured()), (1, 0));
    let kept = fs::read_to_string(&path).expect("the file");
    assert!(kept.contains(&small), "{kept}");
}

fn halves() {
    let expected = fixture("family/logits.safetensors");
    let how = Loading {
        portable: true,
        precision: Precision::F16,
        ..Loading::default()
    };
    let base = load(narrow("vgg16_bn"), &how);
    let logits = base.logits(&images(), 64).expect("logits");
    let off = error(&logits, &expected["vgg16_bn"]);
    // A half is within 5e-4 of its number, through 16 layers.
    assert!(off > 1e-5 && off < 1e-2, "{off:.1e}");
}

fn features_alone() {
    let whole = narrow("vgg11_bn");
    let alone = Arch {
        hidden: 0,
        classes: 0,
        ..whole
    };
    for portable in [true, false] {
        let how = Loading {
            portable,
            ..Loading::default()
        };
        let (network, trunk) = (load(whole, &how), load(alone, &how));
        assert_eq!((trunk.depth(), trunk.row_len(8, 64)), (8, 24 * 49));
        let expected = network.prefix(&images(), 64, 8).expect("the planes");
        assert_eq!(
            trunk.prefix(&images(), 64, 8).expect("the planes"),
            expected
        );
        // A classifier that is one layer.
        let linear = load(
            Arch {
                classes: 3,
                ..alone
            },
            &how,
        );
        let logits = linear.logits(&images(), 64).expect("logits");
        let mut weight = vec![0.0; 3 * 24 * 49];
        let mut bias = [0.0; 3];
        fill("classifier.weight", &[3, 24 * 49], 0, &mut weight);
        fill("classifier.bias", &[3], 0, &mut bias);
        let rows = expected.chunks(24 * 49);
        let logit = |row: &[f32], class: usize| -> f64 {
            let weight = &weight[class * 24 * 49..][..24 * 49];
            let terms = row.iter().zip(weight);
            let sum: f64 = terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            sum + f64::from(bias[class])
        };
        let wanted: Vec<f64> = rows
            .flat_map(|row| [0, 1, 2].map(|c| logit(row, c)))
            .collect();
        assert!(relative_error(&logits, &wanted) < 1e-5);
    }
}

/// But for the epsilon, by which every convolution is divided.
fn seeded_norms() {
    let [bn, plain] = ["vgg11_bn", "vgg11"].map(|name| {
        let source = match name {
            "vgg11" => Source::Numbers(Box::new(
                |name: &str, shape: &[usize], first, out: &mut [f32]| {
                    // The same numbers under the names that they have with batch norm.
                    let place = |index: usize| {
                        let plain = narrow("vgg11").convolutions();
                        let at = plain
                            .iter()
                            .position(|l| l.name == format!("features.{index}"));
                        narrow("vgg11_bn").convolutions()[at.expect("a convolution")]
                            .name
                            .clone()
                    };
                    let parts: Vec<&str> = name.split('.').collect();
                    let name = match parts[..] {
                        ["features", index, part] => {
                            format!("{}.{part}", place(index.parse().expect("a number")))
                        }
                        _ => name.to_string(),
                    };
                    match shape {
                        [out_channels, _, h, w] => {
                            let deviation = (2.0 / (out_channels * h * w) as f64).sqrt();
                            Stream::new(5, &name).fill_normal(first, deviation, out);
                        }
                        [_, _] => Stream::new(5, &name).fill_normal(first, 0.01, out),
                        _ => out.fill(0.0),
                    }
                },
            )),
            _ => Source::Random(5),
        };
        let base = Vgg::load(&gpu(), narrow(name), &source, &Loading::default(), |_| {
            Ok(())
        });
        base.expect("a network")
            .logits(&images(), 64)
            .expect("logits")
    });
    let plain: Vec<f64> = plain.into_iter().map(f64::from).collect();
    let off = error(&bn, &plain);
    assert!(off > 0.0 && off < 1e-4, "{off:.1e}");
}

fn merged() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["base", "merged"].map(|name| folder.path().join(name));
    let arch = narrow("vgg13_bn");
    store(&paths[0], arch, str::to_string);
    let peft = root().join("tests/fixtures/family/peft");
    let adapter = files::load(&gpu(), &peft, arch, 64)
        .expect("an adapter")
        .adapter;
    let base = Tensors::open(&paths[0]).expect("the base");
    let source = base.source(arch).expect("its parameters");
    let whole = Merged {
        arch,
        source: &source,
        adapter: &adapter,
        sign: 1.0,
        classes: &Classes::numbered(adapter.classes(arch)),
    };
    write_merged(&gpu(), &paths[1], &whole, |_| Ok(())).expect("written");
    let expected = &fixture("family/peft/logits.safetensors")["logits"];
    let export = Export {
        merged: whole,
        transform: Transform { size: 64 },
        base: &source.identity(arch).expect("a base"),
        input: Input::Floats,
    };
    // An exported network has them worked into its convolutions.
    let onnx = folder.path().join("network.onnx");
    write_onnx(&gpu(), &onnx, &export, |_| Ok(())).expect("written");
    let found = crate::export::run(&onnx, images(), 64);
    assert!(error(&found, expected) < 1e-5);
    let merged = Tensors::open(&paths[1]).expect("the merged weights");
    assert_eq!(merged.arch().expect("it is recognised"), arch);
    let source = merged.source(arch).expect("its parameters");
    let network = Vgg::load(&gpu(), arch, &source, &Loading::default(), |_| Ok(()));
    let logits = network
        .expect("a network")
        .logits(&images(), 64)
        .expect("logits");
    assert!(error(&logits, expected) < 1e-5);
    // What is no convolution or linear layer is as it was, to the bit.
    let [before, after] = paths.map(|path| fs::read(path).expect("a file"));
    let [before, after] =
        [&before, &after].map(|bytes| SafeTensors::deserialize(bytes).expect("a whole file"));
    assert_eq!(before.len(), after.len());
    let mut same = 0;
    for (name, view) in before.iter() {
        let other = after.tensor(name).expect("it is there");
        assert_eq!(
            (view.dtype(), view.shape()),
            (other.dtype(), other.shape()),
            "{name}"
        );
        let adapted = ["features.0", "features.10", "features.31", "classifier.3"];
        match name
            .strip_suffix(".weight")
            .filter(|layer| adapted.contains(layer))
        {
            Some(_) => assert_ne!(view.data(), other.data(), "{name}"),
            None => {
                assert_eq!(view.data(), other.data(), "{name}");
                same += usize::from(name.ends_with("num_batches_tracked"));
            }
        }
    }
    assert_eq!(same, 10);
}

fn own_classifier() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    pictures(&folder.join("data"), "hook", &[(40, 40), (50, 40)]);
    pictures(&folder.join("data"), "nail", &[(40, 50), (60, 40)]);
    let arch = Arch {
        hidden: 0,
        classes: 0,
        ..narrow("vgg11_bn")
    };
    store(&folder.join("features.safetensors"), arch, |name| {
        name.replace("features.", "")
    });
    let base = ["--weights", "features.safetensors", "--image-size", "32"];
    let train = ["train", "data", "-o", "run", "--epochs", "2"];
    let command = |args: &[&str]| goldfish(folder).args(args).args(base).assert();
    command(&train).success();
    let config = fs::read_to_string(folder.join("run/adapter_config.json")).expect("settings");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["modules_to_save"], json!(["classifier"]));
    let trained = Tensors::open(&folder.join("run/adapter_model.safetensors")).expect("a file");
    trained
        .take(
            &[
                ("base_model.model.classifier.bias".into(), [2].into()),
                (
                    "base_model.model.classifier.weight".into(),
                    [2, 24 * 49].into(),
                ),
            ],
            str::to_string,
        )
        .expect("the classifier and nothing else");
    command(&["predict", "data/nail/0.png", "--adapter", "run"])
        .success()
        .stdout(contains("nail").and(contains("hook")));
    // LoRAs on the convolutions beside it.
    let mixed = ["--targets", "features.25,features.0", "--rank", "2"];
    let mixed = [&train[..3], &["mixed", "--epochs", "1"], &mixed].concat();
    command(&mixed).success();
    command(&["eval", "data", "--adapter", "mixed"]).success();
    for args in [&["predict", "data/nail/0.png"][..], &["eval", "data"]] {
        command(args)
            .code(3)
            .stderr(contains("features.safetensors: has no classifier"));
    }
    command(&["predict", "data/nail/0.png", "--arch", "vgg16-tiny"])
        .code(3)
        .stderr(contains(
            "holds a vgg11_bn-tiny, and --arch asks for vgg16-tiny",
        ));
}

/// A file of `arch`'s parameters and counters, under other names.
fn store(path: &Path, arch: Arch, rename: impl Fn(&str) -> String) {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, shape) in arch.parameters() {
        let mut values = vec![0.0; shape.len()];
        fill(&name, shape.dims(), 0, &mut values);
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.push((rename(&name), Dtype::F32, shape.dims().to_vec(), bytes));
    }
    for name in arch.counters() {
        let bytes = 77i64.to_le_bytes().to_vec();
        tensors.push((rename(&name), Dtype::I64, vec![], bytes));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("a view"))
    });
    let views: Vec<_> = views.collect();
    let bytes = safetensors::serialize(views, None::<HashMap<String, String>>);
    fs::write(path, bytes.expect("a file")).expect("a file");
}

type Rename = Box<dyn Fn(&str) -> String>;

fn recognised() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let timm = |name: &str| {
        name.replace("classifier.0", "pre_logits.fc1")
            .replace("classifier.3", "pre_logits.fc2")
            .replace("classifier.6", "head.fc")
    };
    for name in NAMES {
        for (hidden, classes) in [(64, 10), (64, 3), (0, 0)] {
            let arch = Arch {
                hidden,
                classes,
                ..narrow(name)
            };
            let bare = |name: &str| name.replace("features.", "");
            let mut renames: Vec<Rename> = vec![
                Box::new(str::to_string),
                Box::new(|name| format!("module.{name}")),
                Box::new(timm),
            ];
            if classes == 0 {
                renames.push(Box::new(bare));
            }
            for rename in renames {
                store(&path, arch, rename);
                let file = Tensors::open(&path).expect("a file");
                assert_eq!(file.arch().expect("it is recognised"), arch);
                file.source(arch).expect("its parameters");
            }
        }
    }
}

fn refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let says = |arch: Arch| {
        let file = Tensors::open(&path).expect("a file");
        let source = file.source(arch).map(|_| ());
        source.expect_err("another network").to_string()
    };
    store(&path, narrow("vgg16_bn"), str::to_string);
    let error = says(narrow("vgg16"));
    assert!(
        error.contains("weights.safetensors: holds a vgg16_bn-tiny, and vgg16-tiny is asked for"),
        "{error}"
    );
    store(&path, narrow("vgg16"), |name| {
        name.replace("features", "layer")
    });
    let file = Tensors::open(&path).expect("a file");
    let error = file.arch().expect_err("no VGG").to_string();
    assert!(
        error.contains("holds no VGG: its first tensors are classifier.0.bias"),
        "{error}"
    );
    // torchvision's vgg16_features.
    store(&path, narrow("vgg16"), str::to_string);
    change(&path, "classifier.6.bias", |bytes| {
        let nan = f32::NAN.to_le_bytes();
        bytes
            .chunks_mut(4)
            .for_each(|value| value.copy_from_slice(&nan));
    });
    let error = says(narrow("vgg16"));
    assert!(error.contains("a classifier of NaN"), "{error}");
    // A variance is no number below zero.
    store(&path, narrow("vgg11_bn"), str::to_string);
    change(&path, "features.1.running_var", |bytes| bytes[3] |= 0x80);
    let error = says(narrow("vgg11_bn"));
    assert!(
        error.contains("features.1.running_var has numbers below zero"),
        "{error}"
    );
}

/// Changes the bytes of a tensor in a file.
fn change(path: &Path, name: &str, work: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("a whole file");
    let data = file.tensor(name).expect("it is there").data();
    let at = data.as_ptr() as usize - bytes.as_ptr() as usize;
    let end = at + data.len();
    work(&mut bytes[at..end]);
    fs::write(path, bytes).expect("a file");
}
