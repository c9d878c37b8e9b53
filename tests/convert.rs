//! Files in another layout: the same numbers to the byte, there and back, and what cannot be said refused by name.
//! `fixtures/lycoris_files.py` and `fixtures/torch_files.py` wrote what is read here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use goldfish::Result;
use goldfish::formats::{self, Converted, Kind, Tensors, adapter};
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::cli::goldfish;
use crate::files::{classifier, load, store, tiny};
use crate::parity::NARROW;
use crate::support::{gpu, gpu_trial, root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "convert::what_lycoris_adds_is_what_peft_adds",
            lycoris_means_the_same,
        ),
        trial(
            "convert::pefts_adapters_come_back_from_lycoris_to_the_byte",
            there_and_back,
        ),
        trial(
            "convert::what_a_layout_cannot_say_is_refused_by_name",
            refused,
        ),
        trial("convert::the_tutorials_file_goes_both_ways", tutorial),
        trial(
            "convert::weights_go_there_and_back_to_the_byte",
            weights_there_and_back,
        ),
        gpu_trial("convert::a_network_is_loaded_from_a_pth", network),
        gpu_trial("convert::pefts_older_file_is_read", older),
        trial("convert::the_program_says_what_it_did", program),
    ]
}

fn convert(input: &Path, output: &Path, to: Option<Kind>) -> Result<Converted> {
    formats::convert(input, output, to, &mut |_| Ok(()))
}

type Found = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn fixtures(folder: &str) -> PathBuf {
    root().join("tests/fixtures").join(folder)
}

fn read(path: &Path) -> Found {
    let file = Tensors::open(path).expect("a file of tensors");
    let mut found = Found::new();
    file.each(|name, dtype, shape, bytes| {
        found.insert(name.into(), (dtype, shape.to_vec(), bytes.to_vec()));
    });
    found
}

fn f32s(bytes: &[u8]) -> Vec<f64> {
    let values = bytemuck::pod_collect_to_vec::<u8, f32>(bytes);
    values.into_iter().map(f64::from).collect()
}

fn lycoris_means_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let deltas = read(&fixtures("lycoris/deltas.safetensors"));
    for name in ["lora", "rslora", "ranks"] {
        let source = fixtures("lycoris").join(format!("{name}.safetensors"));
        let run = folder.path().join(name);
        let done = convert(&source, &run, None).expect(name);
        assert_eq!(
            (done.from, done.to, done.parts),
            (Kind::Lycoris, Kind::Peft, 2)
        );
        // Nothing is said of a base that the file does not tell of.
        assert_eq!(
            goldfish::formats::Summary::read(&run).expect(name).base,
            None
        );
        let factors = read(&run.join(adapter::MODEL));
        let config = fs::read_to_string(run.join(adapter::CONFIG)).expect("settings");
        let config: Value = serde_json::from_str(&config).expect("JSON");
        for module in ["features.28", "classifier.6"] {
            let factor = |f: &str| &factors[&format!("base_model.model.{module}.lora_{f}.weight")];
            let (_, a_shape, a) = factor("A");
            let (_, b_shape, b) = factor("B");
            let (a, b, rank) = (f32s(a), f32s(b), a_shape[0]);
            let of = |pattern: &str, common: &str| {
                let value = config[pattern].get(module).unwrap_or(&config[common]);
                value.as_f64().expect("a number")
            };
            assert_eq!(of("rank_pattern", "r"), rank as f64);
            let scale = of("alpha_pattern", "lora_alpha") / rank as f64;
            let columns = a.len() / rank;
            let product = (0..b_shape[0] * columns).map(|at| {
                let (row, column) = (at / columns, at % columns);
                let terms = (0..rank).map(|r| b[row * rank + r] * a[r * columns + column]);
                scale * terms.sum::<f64>()
            });
            let product: Vec<f32> = product.map(|value| value as f32).collect();
            let error =
                crate::support::error(&product, &f32s(&deltas[&format!("{name}/{module}")].2));
            assert!(error < 1e-6, "{name} {module}: {error}");
        }
        let back = folder.path().join(format!("{name}.safetensors"));
        convert(&run, &back, None).expect("and back");
        assert_eq!(read(&back), read(&source), "{name}");
    }
}

fn there_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut converted = 0;
    for entry in fs::read_dir(fixtures("peft")).expect("the fixtures") {
        let source = entry.expect("an entry").path();
        if !source.is_dir() {
            continue;
        }
        let name = source
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let between = folder.path().join(format!("{name}.safetensors"));
        let done = convert(&source, &between, Some(Kind::Lycoris));
        if name == "zero_alpha" {
            let error = done.expect_err("zero means the rank").to_string();
            assert!(error.contains("has alpha 0"), "{error}");
            continue;
        }
        done.expect(&name);
        assert!(
            read(&between)
                .keys()
                .all(|name| name.starts_with("lycoris_"))
        );
        let back = folder.path().join(&name);
        convert(&between, &back, None).expect(&name);
        for file in [adapter::MODEL, adapter::CONFIG] {
            let [was, is] = [&source, &back].map(|f| fs::read(f.join(file)).expect("a file"));
            assert_eq!(is, was, "{name}/{file}");
        }
        converted += 1;
    }
    assert!(converted > 15, "{converted}");
}

fn refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let peft = |to: Kind, change: &dyn Fn(&mut Value)| {
        let source = folder.path().join("changed");
        fs::create_dir_all(&source).expect("a folder");
        for file in [adapter::MODEL, adapter::CONFIG] {
            fs::copy(fixtures("peft/plain").join(file), source.join(file)).expect("a copy");
        }
        let path = source.join(adapter::CONFIG);
        let text = fs::read(&path).expect("settings");
        let mut config = serde_json::from_slice(&text).expect("JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("settings");
        convert(&source, &folder.path().join("out.safetensors"), Some(to))
    };
    let mut errors: Vec<(String, &str)> = Vec::new();
    let mut expect = |found: Result<_, goldfish::Error>, says| {
        errors.push((found.map(|_| ()).expect_err(says).to_string(), says));
    };
    for (name, says) in [
        ("bad_dora", "is DoRA, which PEFT's LoRA cannot express"),
        ("bad_loha", "is LoHa, which"),
        ("bad_lokr", "is LoKr, which"),
        ("bad_tucker", "is a Tucker decomposition, which"),
    ] {
        let source = fixtures("lycoris").join(format!("{name}.safetensors"));
        expect(convert(&source, &out, None), says);
    }
    expect(
        peft(Kind::Lycoris, &|c| c["use_dora"] = json!(true)),
        "use_dora",
    );
    expect(
        peft(Kind::Lycoris, &|c| c["r"] = json!(3)),
        "says otherwise",
    );
    expect(
        peft(Kind::Lycoris, &|c| {
            c["target_modules"] = json!(["classifier.3"])
        }),
        "says otherwise",
    );
    expect(
        peft(Kind::Tutorial, &|_| ()),
        "choose a name that ends with .pth",
    );
    expect(peft(Kind::Pth, &|_| ()), "merge it into its base");
    expect(
        convert(
            &fixtures("peft/plain"),
            &folder.path().join("lora.pth"),
            None,
        ),
        "the branch from the pixels alone",
    );
    expect(
        convert(
            &fixtures("heads/own"),
            &folder.path().join("own.safetensors"),
            None,
        ),
        "classifier.6.bias whole (modules_to_save)",
    );
    expect(
        convert(&fixtures("torch/zip.pth"), &out, Some(Kind::Lycoris)),
        "holds weights and no adapter",
    );
    expect(
        convert(
            &fixtures("torch/bad_command.pth"),
            &folder.path().join("x.safetensors"),
            None,
        ),
        "where only tensors are read",
    );
    let loose = folder.path().join("loose.safetensors");
    fs::copy(fixtures("peft/plain").join(adapter::MODEL), &loose).expect("a copy");
    expect(
        convert(&loose, &out, None),
        "adapter_config.json is not beside it",
    );
    expect(convert(&loose, &loose, None), "is the input itself");
    let own = folder.path().join("own");
    fs::create_dir(&own).expect("made");
    for name in [adapter::MODEL, adapter::CONFIG] {
        fs::copy(fixtures("peft/plain").join(name), own.join(name)).expect("a copy");
    }
    for (from, to, kind) in [
        (&own, own.join(adapter::MODEL), Kind::Lycoris),
        (&own.join(adapter::MODEL), own.clone(), Kind::Peft),
    ] {
        expect(convert(from, &to, Some(kind)), "is the input itself");
    }
    fs::remove_dir_all(&own).expect("removed");
    for (error, says) in errors {
        assert!(error.contains(says), "{error}");
    }
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["changed", "loose.safetensors"],
        "nothing half-written"
    );
}

/// A branch from the pixels of images of side 4, of rank 2 and five classes, as PEFT's folder.
fn branch(folder: &Path, alpha: f64) -> PathBuf {
    let numbers = |count: usize| -> Vec<u8> {
        let values = (0..count).map(|n| ((n * 7 % 31) as f32 - 15.0) * 0.37);
        values.flat_map(f32::to_le_bytes).collect()
    };
    let run = folder.join(format!("branch{alpha}"));
    fs::create_dir(&run).expect("a folder");
    let name = |f: &str| format!("base_model.model.pixels.lora_{f}.weight");
    let tensors = vec![
        (name("A"), vec![2, 48], numbers(96)),
        (name("B"), vec![5, 2], numbers(10)),
    ];
    store(&run.join(adapter::MODEL), &tensors, Dtype::F32);
    let config =
        json!({"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "target_modules": ["pixels"]});
    fs::write(run.join(adapter::CONFIG), config.to_string()).expect("settings");
    run
}

fn tutorial() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // PyTorch's own: A and B transposed, scale 1, and back to the byte.
    let source = fixtures("torch/tutorial.pth");
    let done = convert(&source, &at("run"), None).expect("a folder");
    assert_eq!((done.from, done.to), (Kind::Tutorial, Kind::Peft));
    let (was, is) = (read(&source), read(&at("run").join(adapter::MODEL)));
    for (theirs, ours, [rows, columns]) in [("A", "lora_A", [2, 48]), ("B", "lora_B", [5, 2])] {
        let (_, shape, bytes) = &is[&format!("base_model.model.pixels.{ours}.weight")];
        assert_eq!(shape, &[rows, columns]);
        let (was, is) = (f32s(&was[theirs].2), f32s(bytes));
        let transposed = (0..rows * columns).map(|at| was[at % columns * rows + at / columns]);
        assert_eq!(is, transposed.collect::<Vec<_>>());
    }
    let config = fs::read_to_string(at("run").join(adapter::CONFIG)).expect("settings");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(
        [&config["r"], &config["lora_alpha"]],
        [&json!(2), &json!(2)]
    );
    convert(&at("run"), &at("back.pth"), None).expect("and back");
    assert_eq!(read(&at("back.pth")), was);
    // A scale that no product is rounded by goes into B; another one has no place.
    convert(&branch(folder.path(), 4.0), &at("two.pth"), None).expect("twice B");
    convert(&branch(folder.path(), 2.0), &at("one.pth"), None).expect("B");
    let [one, two] = ["one.pth", "two.pth"].map(|name| f32s(&read(&at(name))["B"].2));
    assert_eq!(two, one.iter().map(|b| 2.0 * b).collect::<Vec<_>>());
    let error = convert(&branch(folder.path(), 1.4), &at("other.pth"), None);
    let error = error.expect_err("it would be rounded").to_string();
    assert!(error.contains("scales its branch by 0.7"), "{error}");
    let mut odd = read(&source).into_iter();
    let (a, b) = (odd.next().expect("A").1, odd.next().expect("B").1);
    let tensors = vec![("A".into(), vec![2, 48], a.2), ("B".into(), b.1, b.2)];
    store(&at("odd.safetensors"), &tensors, Dtype::F32);
    let error = convert(&at("odd.safetensors"), &at("odd"), None).expect_err("other shapes");
    assert!(error.to_string().contains("none of a branch"), "{error}");
}

fn weights_there_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut converted = 0;
    for entry in fs::read_dir(fixtures("torch")).expect("the fixtures") {
        let source = entry.expect("an entry").path();
        let name = source
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let pth = source.extension().is_some_and(|ending| ending == "pth");
        if !pth || name.starts_with("bad_") || name == "tutorial" {
            continue;
        }
        let between = folder.path().join(format!("{name}.safetensors"));
        let back = folder.path().join(format!("{name}.pth"));
        let done = convert(&source, &between, None).expect(&name);
        assert_eq!((done.from, done.to), (Kind::Pth, Kind::Safetensors));
        convert(&between, &back, None).expect(&name);
        let was = read(&source);
        assert_eq!(read(&between), was, "{name}");
        assert_eq!(read(&back), was, "{name}");
        assert_eq!(done.bytes, fs::metadata(&between).expect("a file").len());
        // The same file again, to the byte.
        let again = folder.path().join(format!("{name}_again.safetensors"));
        convert(&back, &again, None).expect(&name);
        assert_eq!(
            fs::read(&again).expect("a file"),
            fs::read(&between).expect("a file")
        );
        converted += 1;
    }
    assert!(converted > 15, "{converted}");
    // A type that PyTorch's older files have no storage of.
    let path = folder.path().join("u16.safetensors");
    store(&path, &vec![("w".into(), vec![2], vec![0; 4])], Dtype::U16);
    let error = convert(&path, &folder.path().join("u16.pth"), None).expect_err("no storage");
    assert!(error.to_string().contains("no storage of U16"), "{error}");
    assert!(!folder.path().join("u16.pth").exists());
}

fn network() {
    let folder = tempfile::tempdir().expect("a folder");
    let [source, path] = ["tiny.safetensors", "tiny.pth"].map(|name| folder.path().join(name));
    store(&source, &tiny(), Dtype::F32);
    convert(&source, &path, None).expect("a file");
    assert_eq!(load(&path).expect("it is read"), classifier(&tiny()));
}

fn older() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("older");
    fs::create_dir(&run).expect("a folder");
    fs::copy(
        fixtures("peft/plain").join(adapter::CONFIG),
        run.join(adapter::CONFIG),
    )
    .expect("settings");
    let bin = run.join("adapter_model.bin");
    fs::copy(fixtures("torch/adapter_model.bin"), bin).expect("factors");
    let [old, new] = [run.clone(), fixtures("peft/plain")].map(|path| {
        let stored = adapter::load(&gpu(), &path, NARROW, 64).expect("an adapter");
        let loras = stored.adapter.loras.iter();
        loras
            .map(|(name, lora)| (name.clone(), lora.b.to_vec().expect("numbers")))
            .collect::<Vec<_>>()
    });
    assert_eq!(old, new);
    // Names of classes that stand in a list alone travel in the file's notes.
    let list: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
    fs::write(run.join("classes.txt"), list.join("\n")).expect("a list");
    let named = folder.path().join("named");
    convert(&run, &named, Some(Kind::Peft)).expect("a folder");
    let stored = Tensors::open(&named.join(adapter::MODEL)).expect("a file");
    let classes = stored.classes(10).expect("ten").expect("names");
    assert_eq!(classes.names(), list);
    assert!(named.join("classes.txt").exists());
    fs::remove_file(run.join("classes.txt")).expect("it is gone");
    let newer = folder.path().join("newer");
    convert(&run, &newer, Some(Kind::Peft)).expect("a folder");
    let [was, is] = [fixtures("peft/plain"), newer].map(|f| fs::read(f.join(adapter::MODEL)));
    assert_eq!(is.expect("a file"), was.expect("a file"));
}

fn program() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(fixtures("torch/legacy.pth"), folder.path().join("old.pth")).expect("a copy");
    let run = |arguments: &[&str]| {
        let mut command = goldfish(folder.path());
        command.arg("convert").args(arguments).assert()
    };
    let says = "converted  new.safetensors as a safetensors file (0.0 MB), 3 tensors";
    run(&["old.pth", "-o", "new.safetensors"])
        .success()
        .stdout(contains(says));
    run(&["old.pth", "-o", "new.safetensors"])
        .code(3)
        .stderr(contains("is there already").and(contains("--overwrite")));
    run(&["old.pth", "-o", "new.safetensors", "--overwrite"]).success();
    run(&["old.pth", "-o", "old.pth", "--overwrite"])
        .code(3)
        .stderr(contains("is the input itself"));
    run(&["none.pth", "-o", "x.safetensors"])
        .code(3)
        .stderr(contains("none.pth: cannot open"));
    run(&["old.pth", "-o", "x", "--to", "other"]).code(2);
    let bad = fixtures("torch/bad_command.pth");
    run(&[&bad.to_string_lossy(), "-o", "x.safetensors"])
        .code(3)
        .stderr(contains("nothing of it was run"));
    // What PyTorch's files have no place for is named.
    let notes =
        std::collections::HashMap::from([("goldfish.classes".to_string(), "[]".to_string())]);
    let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![1], &[0; 4]).expect("a view");
    let bytes = safetensors::serialize([("w", view)], Some(notes)).expect("a file");
    fs::write(folder.path().join("noted.safetensors"), bytes).expect("a file");
    run(&["noted.safetensors", "-o", "noted.pth"])
        .success()
        .stderr(contains("goldfish.classes stayed behind"));
    fs::create_dir(folder.path().join("run")).expect("a folder");
    fs::write(folder.path().join("run/run.toml"), "").expect("a file");
    let lora = fixtures("lycoris/lora.safetensors");
    run(&[&lora.to_string_lossy(), "-o", "run", "--overwrite"])
        .code(3)
        .stderr(contains("the folder of a run"));
    let mut command = goldfish(folder.path());
    let inspected = command.args(["inspect", "old.pth"]).assert().success();
    inspected.stdout(contains("3 tensors").and(contains("features.0.weight")));
}
