//! Classes of one's own: a new last layer against PyTorch and PEFT (`tests/fixtures/heads.py`), its files, and the program's
//! answers with it.

use std::fs;
use std::path::Path;

use assert_cmd::assert::Assert;
use goldfish::data::Classes;
use goldfish::formats::adapter as files;
use goldfish::nn::arch::{VGG19, VGG19_TINY};
use goldfish::nn::{Adapter, Head, HeadInit, Loading, Vgg};
use goldfish::ops::{self, Targets};
use goldfish::optim::Adam;
use goldfish::{Gradient, Tape, Var};
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::files::trained;
use crate::parity::{NARROW, narrow_numbers};
use crate::support::{error, fixture, gpu, gpu_trial, normal, pictures, random_base, root, says};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "heads::pefts_own_have_its_logits_gradients_and_losses",
            against_peft,
        ),
        gpu_trial("heads::a_head_starts_as_pytorchs_linear_or_at_zero", start),
        gpu_trial("heads::what_is_written_is_read", round_trip),
        gpu_trial("heads::hostile_heads_and_lists_are_refused", hostile),
        gpu_trial("heads::sums_have_one_head", sums),
        gpu_trial("heads::own_classes_from_pictures_to_answers", own_classes),
        gpu_trial("heads::the_last_layer_alone_is_a_linear_probe", probe),
        gpu_trial("heads::own_classes_stand_behind_imagenets", behind),
        gpu_trial("heads::which_classes_are_meant_is_asked", which),
    ]
}

/// Outputs, labels and how many of the outputs are the base's own, as the fixture's.
const CASES: [(&str, [u32; 3], usize); 3] = [
    ("own", [1, 2, 0], 0),
    ("probe", [3, 1, 0], 0),
    ("kept", [1, 11, 10], 10),
];

fn saved(name: &str) -> std::path::PathBuf {
    root().join("tests/fixtures/heads").join(name)
}

fn against_peft() {
    let gpu = gpu();
    let expected = fixture("heads.safetensors");
    let images = Var::frozen(&normal(&gpu, 1, "images", &[3, 3, 64, 64], 1.0));
    for ((name, labels, kept), portable) in CASES
        .into_iter()
        .flat_map(|case| [(case, true), (case, false)])
    {
        let mut adapter = files::load(&gpu, &saved(name), NARROW, 64)
            .expect("PEFT's")
            .adapter;
        adapter.head = adapter
            .head
            .map(|head| head.freezing(kept).expect("a head"));
        let how = Loading {
            portable,
            ranks: adapter.ranks(),
            trained: true,
            headless: true,
            ..Loading::default()
        };
        let base = Vgg::load(&gpu, NARROW, &narrow_numbers(), &how, |_| Ok(())).expect("a network");
        // Winograd's F(6x6) is within 1e-5 a layer, and the sixteen convolutions of the software family lie on the way. Those of
        // the portable one add up in an order of each device's: the gradient of one B is 2.1e-5 off on an NVIDIA H200.
        let within = if base.family() == "software" {
            1e-4
        } else {
            4e-5
        };
        let (mut adam, mut losses) = (Adam::new(1e-3), Vec::new());
        for step in 0..10 {
            let mut tape = Tape::new();
            let (tracked, leaves) = adapter.track(&mut tape);
            let logits = base.forward_from(&mut tape, &images, 0, None, &tracked, false);
            let logits = logits.expect("logits");
            let loss = ops::cross_entropy(&mut tape, &logits, Targets::Classes(&labels));
            let loss = loss.expect("a loss");
            losses.extend(loss.tensor.to_vec().expect("a loss"));
            let gradients = tape.backward(&loss).expect("gradients");
            let gradients: Vec<Gradient> = leaves
                .iter()
                .map(|leaf| gradients.of(leaf).expect("tracked").clone())
                .collect();
            if step == 0 {
                let found = logits.tensor.to_vec().expect("logits");
                let off = error(&found, &expected[&format!("{name}.logits")]);
                assert!(off < within, "{name} {}: {off:.1e}", base.family());
                for (gradient, parameter) in gradients.iter().zip(parameters(&adapter)) {
                    let found = gradient
                        .dense()
                        .expect("numbers")
                        .to_vec()
                        .expect("numbers");
                    let off = error(&found, &expected[&format!("{name}.grad.{parameter}")]);
                    // Of f64.
                    assert!(
                        off < within,
                        "{name} {} {parameter}: {off:.1e}",
                        base.family()
                    );
                }
            }
            let mut numbers = adapter.trained();
            adam.step(&mut numbers, &gradients).expect("a step");
            adapter = adapter.with(&numbers);
        }
        let off = error(&losses, &expected[&format!("{name}.losses")]);
        assert!(off < 1e-4, "{name}: {losses:?}");
    }
}

/// The names of an adapter's numbers in the order of `Adapter::trained`.
fn parameters(adapter: &Adapter) -> Vec<String> {
    let loras = adapter.loras.iter();
    let factors = loras.flat_map(|(m, _)| ["A", "B"].map(|f| format!("{m}.lora_{f}.weight")));
    let head = ["weight", "bias"].map(|p| format!("classifier.6.{p}"));
    factors.chain(head).collect()
}

fn start() {
    let head = |init, seed| Head::new(&gpu(), VGG19, 5, init, seed).expect("a head");
    let linear = head(HeadInit::Linear, 3);
    let within = 1.0 / 4096f32.sqrt();
    for values in linear.to_vecs().expect("numbers") {
        assert!(values.iter().all(|v| v.abs() <= within));
        assert!(
            values.iter().any(|v| *v > within / 2.0) && values.iter().any(|v| *v < -within / 2.0)
        );
    }
    let numbers = |head: Head| head.to_vecs().expect("numbers");
    assert_eq!(numbers(linear), numbers(head(HeadInit::Linear, 3)));
    assert_ne!(
        numbers(head(HeadInit::Linear, 4)),
        numbers(head(HeadInit::Linear, 3))
    );
    assert!(
        numbers(head(HeadInit::Zero, 3))
            .iter()
            .flatten()
            .all(|v| *v == 0.0)
    );
}

fn named(count: usize) -> Classes {
    let names = (0..count).map(|index| format!("Klasse {index}, \"größte\""));
    Classes::own(names.collect()).expect("names")
}

/// An adapter with LoRAs and a head of random numbers, the first `kept` of which are frozen.
fn with_head(outputs: usize, kept: usize) -> Adapter {
    let head = Head {
        weight: normal(&gpu(), 5, "weight", &[outputs, 64], 1.0),
        bias: normal(&gpu(), 5, "bias", &[outputs], 1.0),
        kept: None,
    };
    Adapter {
        head: Some(head.freezing(kept).expect("a head")),
        ..trained("classifier.0,features.34")
    }
}

fn round_trip() {
    let folder = tempfile::tempdir().expect("a folder");
    for (kept, loras) in [(0, true), (2, true), (0, false)] {
        let mut before = with_head(5, kept);
        if !loras {
            before.loras.clear();
        }
        let save = |at: &Path| {
            let saved = files::save(at, &before, VGG19_TINY, &random_base(), &named(5));
            fs::read(saved.expect("it is written").0).expect("the file")
        };
        let again = tempfile::tempdir().expect("a folder");
        assert_eq!(save(folder.path()), save(again.path()), "the same bytes");
        let stored = files::load(&gpu(), folder.path(), VGG19_TINY, 32).expect("it is read");
        assert_eq!(stored.classes, Some(named(5)));
        let numbers = |adapter: &Adapter| -> Vec<Vec<f32>> {
            let trained = adapter.trained();
            trained
                .iter()
                .map(|t| t.to_vec().expect("numbers"))
                .collect()
        };
        assert_eq!(numbers(&stored.adapter), numbers(&before));
        let head = |adapter: &Adapter| {
            let head = adapter.head.as_ref().expect("a head");
            (head.frozen(), head.to_vecs().expect("numbers"))
        };
        assert_eq!(head(&stored.adapter), head(&before));
        // Without the notes, as PEFT would write it, the list beside it names the classes.
        let list = fs::read_to_string(folder.path().join("classes.txt")).expect("a list");
        assert_eq!(list.lines().count(), 5);
    }
    let fewer = files::save(
        folder.path(),
        &with_head(5, 0),
        VGG19_TINY,
        &random_base(),
        &named(4),
    );
    assert!(fewer.is_err(), "five logits have five names");
}

fn hostile() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in [files::CONFIG, files::MODEL] {
        fs::copy(saved("own").join(file), folder.path().join(file)).expect("a copy");
    }
    let load = || files::load(&gpu(), folder.path(), NARROW, 64);
    let says = || load().map(|_| ()).expect_err("it is refused").to_string();
    // PEFT writes no names: they are asked for.
    let stored = load().expect("PEFT's");
    let unnamed = stored.classes_on(folder.path(), &Classes::imagenet());
    let unnamed = unnamed.expect_err("three outputs of what?").to_string();
    assert!(
        unnamed.contains("head of 3 outputs") && unnamed.contains("classes.txt"),
        "{unnamed}"
    );
    let list = folder.path().join("classes.txt");
    fs::write(&list, "\u{feff}ab\r\nc d\r\ne\r\n").expect("a list");
    let classes = load().expect("named").classes.expect("three names");
    assert_eq!(classes.names(), ["ab", "c d", "e"]);
    for (text, part) in [
        ("a\nb\n", "names 2 classes, and there are 3 logits"),
        ("a\nb\na\n", "names two classes"),
        ("a\n\nb\n", "is empty"),
        ("", "between 1 and"),
    ] {
        fs::write(&list, text).expect("a list");
        let error = says();
        assert!(
            error.contains(part) && error.contains("classes.txt"),
            "{error}"
        );
    }
    fs::remove_file(&list).expect("it is gone");
    // The settings ask for a head, and the file has none; and the other way round.
    let config = folder.path().join(files::CONFIG);
    let text = fs::read_to_string(&config).expect("the settings");
    let good: Value = serde_json::from_str(&text).expect("JSON");
    for (names, part) in [
        (json!(null), "classifier.6.bias does not belong here"),
        (json!(["classifier.0"]), "only the last layer"),
        (json!(["classifier.9"]), "no layer of this network"),
    ] {
        let mut bad = good.clone();
        bad["modules_to_save"] = names;
        fs::write(&config, bad.to_string()).expect("the settings");
        let error = says();
        assert!(error.contains(part), "{error}");
    }
    // Notes of another file.
    let ours = tempfile::tempdir().expect("a folder");
    files::save(
        ours.path(),
        &with_head(5, 0),
        VGG19_TINY,
        &random_base(),
        &named(5),
    )
    .expect("it is written");
    let list = ours.path().join("classes.txt");
    fs::write(list, "a\nb\nc\nd\ne\n").expect("a list");
    let error = files::load(&gpu(), ours.path(), VGG19_TINY, 32).expect_err("whose names?");
    assert!(
        error.to_string().contains("belongs to another adapter"),
        "{error}"
    );
}

fn sums() {
    let (gpu, one) = (gpu(), with_head(5, 0));
    let sum = |other: Adapter| Adapter::sum(&gpu, &[(one.clone(), 0.5), (other, 2.0)], VGG19_TINY);
    let same = sum(one.clone()).expect("one head");
    let numbers = |adapter: &Adapter| adapter.head.as_ref().map(|h| h.to_vecs().expect("numbers"));
    assert_eq!(numbers(&same), numbers(&one));
    assert_eq!(same.get("classifier.0").map(|lora| lora.rank()), Some(8));
    let loras = sum(trained("classifier.3")).expect("one has a head");
    assert_eq!(numbers(&loras), numbers(&one));
    let mut other = with_head(5, 0);
    other.head.as_mut().expect("a head").bias = normal(&gpu, 6, "bias", &[5], 1.0);
    for other in [other, with_head(4, 0)] {
        let error = sum(other).map(|_| ()).expect_err("two heads").to_string();
        assert!(error.contains("different heads"), "{error}");
    }
    let replaced = sum(trained("classifier.6")).map(|_| ());
    let error = replaced.expect_err("there is no such layer").to_string();
    assert!(error.contains("a LoRA on classifier.6"), "{error}");
}

/// A folder with `data/<class>/` of three classes that ImageNet has not.
fn own_data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (class, sizes) in [
        ("red ones", &[(40, 50), (60, 40), (33, 90)][..]),
        ("blue", &[(64, 64), (48, 37)]),
        ("Grün", &[(50, 60), (80, 44)]),
    ] {
        pictures(&folder.path().join("data"), class, sizes);
    }
    folder
}

fn ask(folder: &Path, arguments: &[&str]) -> Assert {
    goldfish(folder).args(arguments).assert()
}

fn answers(folder: &Path, adapter: &str) -> Value {
    let ask = ask(
        folder,
        &["predict", "data", "--adapter", adapter, "--format", "json"],
    );
    serde_json::from_str(&stdout(&ask.success())).expect("JSON")
}

fn own_classes() {
    let folder = own_data();
    let at = folder.path();
    train(
        at,
        &[
            "-o",
            "run",
            "--epochs",
            "60",
            "--batch-size",
            "7",
            "--targets",
            "head,pixels,classifier.3",
        ],
    )
    .success()
    .stderr(contains("7 images in 3 classes of your own"));
    let report = answers(at, "run");
    let images = report["images"].as_array().expect("images");
    let mut names: Vec<&str> = Vec::new();
    for image in images {
        let predictions = image["predictions"].as_array().expect("predictions");
        assert_eq!(predictions.len(), 3);
        let path = image["path"].as_str().expect("a path");
        let first = predictions[0]["category"].as_str().expect("a name");
        assert!(path.contains(first), "{path} is a {first}");
        names.push(first);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["Grün", "blue", "red ones"]);
    let list = fs::read_to_string(at.join("run/classes.txt")).expect("a list");
    assert_eq!(list, "Grün\nblue\nred ones\n");
    let eval = ask(at, &["eval", "data", "--adapter", "run", "--json"]).success();
    let eval: Value = serde_json::from_str(&stdout(&eval)).expect("JSON");
    assert_eq!((&eval["count"], &eval["top1"]), (&json!(7), &json!(1.0)));
    assert_eq!(eval["categories"][0]["category"], "Grün");
    // Other folders' names are matched as kindly.
    fs::rename(at.join("data/red ones"), at.join("data/Red_Ones")).expect("a new name");
    ask(at, &["eval", "data", "--adapter", "run"]).success();
    pictures(&at.join("data"), "yellow", &[(40, 40), (50, 50)]);
    ask(at, &["eval", "data", "--adapter", "run"])
        .code(3)
        .stderr(contains("no class is called \"yellow\"").and(contains("red ones")));
    fs::remove_dir_all(at.join("data/yellow")).expect("it is gone");
    // Training goes on with the adapter's classes, and from its numbers.
    train(
        at,
        &["-o", "more", "--init-adapter", "run", "--epochs", "1"],
    )
    .success();
    let losses = fs::read_to_string(at.join("more/metrics.jsonl")).expect("metrics");
    let first: Value = serde_json::from_str(losses.lines().next().expect("a line")).expect("JSON");
    assert!(first["loss"].as_f64().expect("a loss") < 0.5, "{first}");
    assert_eq!(
        fs::read_to_string(at.join("more/classes.txt")).expect("a list"),
        list
    );
    // Known classes may have one picture: only new ones need two.
    pictures(&at.join("few"), "blue", &[(40, 40)]);
    let few = ["train", "few", "-o", "few-run", "--epochs", "1"];
    ask(at, &[&few[..], &["--init-adapter", "run"]].concat()).success();
    // Runs of one seed are the same to the byte, with the cache and without it.
    let bytes = |more: &[&str]| {
        let flags = ["-o", "again", "--overwrite", "--epochs", "3"];
        train(at, &[&flags[..], more].concat()).success();
        fs::read(at.join("again/adapter_model.safetensors")).expect("the adapter")
    };
    let once = bytes(&[]);
    assert!(once == bytes(&[]) && once == bytes(&["--cache", "off"]));
    // What is merged of it is a base of these classes: trained on as they are, or asked about where some are others.
    ask(at, &["merge", "run", "-o", "merged"]).code(2);
    train(at, &["-o", "plain", "--epochs", "1"]).success();
    ask(at, &["merge", "plain", "-o", "merged"]).success();
    let on_merged = |more: &[&str]| {
        let flags = ["train", "data", "--weights", "merged", "--image-size", "32"];
        ask(at, &[&flags[..], &["--epochs", "1"], more].concat())
    };
    on_merged(&["-o", "on"]).success();
    let config = fs::read_to_string(at.join("on/adapter_config.json")).expect("the settings");
    assert!(config.contains("\"modules_to_save\": null"), "{config}");
    // Two runs answer for different classes.
    pictures(&at.join("data"), "yellow", &[(40, 40), (50, 50)]);
    on_merged(&["-o", "other"]).code(3).stderr(
        contains("the base's classes (Grün; Red_Ones; blue)").and(contains("(\"yellow\")")),
    );
    on_merged(&["-o", "other", "--classes", "own"]).success();
    train(at, &["-o", "four", "--epochs", "1"]).success();
    ask(
        at,
        &["predict", "data", "--adapter", "run", "--adapter", "four"],
    )
    .code(3)
    .stderr(contains("other classes than run"));
    ask(
        at,
        &[
            "predict",
            "data",
            "--adapter",
            "run",
            "--adapter",
            "more@0.5",
        ],
    )
    .code(2)
    .stderr(contains("different heads"));
}

fn probe() {
    let folder = own_data();
    let at = folder.path();
    train(
        at,
        &[
            "-o",
            "run",
            "--targets",
            "head",
            "--head",
            "zero",
            "--epochs",
            "2",
        ],
    )
    .success()
    .stderr(contains("the input of the head kept"));
    let config = fs::read_to_string(at.join("run/adapter_config.json")).expect("the settings");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["target_modules"], "dummy-target-modules");
    assert_eq!(config["modules_to_save"], json!(["classifier.6"]));
    // From zeros every class is as likely as any other.
    let losses = fs::read_to_string(at.join("run/metrics.jsonl")).expect("metrics");
    let first: Value = serde_json::from_str(losses.lines().next().expect("a line")).expect("JSON");
    let loss = first["loss"].as_f64().expect("a loss");
    assert!((loss - 3f64.ln()).abs() < 1e-6, "{loss}");
    answers(at, "run");
}

fn behind() {
    let folder = own_data();
    let at = folder.path();
    pictures(&at.join("data"), "goldfish", &[(40, 50)]);
    let flags = ["-o", "run", "--keep-imagenet", "--epochs", "2"];
    train(at, &[&flags[..], &["--targets", "head"]].concat())
        .success()
        .stderr(contains(
            "8 images in 4 classes, your own behind ImageNet's",
        ));
    let report = answers(at, "run");
    let goldfish = report["images"]
        .as_array()
        .expect("images")
        .iter()
        .find(|image| image["path"].as_str().expect("a path").contains("goldfish"))
        .expect("it was asked of");
    assert_eq!(goldfish["predictions"].as_array().expect("five").len(), 5);
    let stored = files::load(&gpu(), &at.join("run"), VGG19_TINY, 32).expect("it is read");
    let head = stored.adapter.head.expect("a head");
    assert_eq!((head.frozen(), head.outputs()), (1000, 1003));
    // The base's part of the answers is the base's own, to the bit where no layer below is adapted.
    let logits = |adapter: &[&str]| {
        let arguments = [
            "predict",
            "data/goldfish",
            "--format",
            "json",
            "--top",
            "1003",
        ];
        let report = ask(at, &[&arguments[..], &TINY, adapter].concat()).success();
        let report: Value = serde_json::from_str(&stdout(&report)).expect("JSON");
        let all = report["images"][0]["predictions"]
            .as_array()
            .expect("all")
            .clone();
        let mut all: Vec<(u64, f64)> = all
            .iter()
            .map(|p| {
                (
                    p["index"].as_u64().expect("an index"),
                    p["logit"].as_f64().expect("a logit"),
                )
            })
            .filter(|(index, _)| *index < 1000)
            .collect();
        all.sort_by_key(|(index, _)| *index);
        all
    };
    assert_eq!(logits(&["--adapter", "run"]), logits(&[]));
    // With the layers below adapted too, and going on.
    train(at, &flags)
        .code(3)
        .stderr(contains("holds an adapter already"));
    train(at, &[&flags[..], &["--overwrite"]].concat()).success();
    train(
        at,
        &["-o", "more", "--init-adapter", "run", "--epochs", "1"],
    )
    .success();
}

fn which() {
    let folder = dataset();
    let at = folder.path();
    // All are ImageNet's: today's defaults, unless one says otherwise.
    train(at, &["-o", "imagenet", "--epochs", "1"]).success();
    assert!(!at.join("imagenet/classes.txt").exists());
    train(at, &["-o", "own", "--classes", "own", "--epochs", "1"]).success();
    let list = fs::read_to_string(at.join("own/classes.txt")).expect("a list");
    assert_eq!(list, "goldfish\ntench\n");
    // What is written over it leaves no names of it behind.
    train(at, &["-o", "own", "--epochs", "1", "--overwrite"]).success();
    assert!(!at.join("own/classes.txt").exists());
    ask(at, &["eval", "data", "--adapter", "own"]).success();
    train(at, &["--targets", "head"])
        .code(2)
        .stderr(contains("--targets").and(contains("classes of one's own")));
    train(at, &["--head", "zero"])
        .code(2)
        .stderr(contains("--head says how a new last layer starts"));
    train(at, &["--keep-imagenet"])
        .code(3)
        .stderr(contains("none is a class to add"));
    train(at, &["--keep-imagenet", "--classes", "own"])
        .code(3)
        .stderr(
            contains("\"goldfish\" is one of ImageNet's categories already")
                .or(contains("\"tench\" is one")),
        );
    pictures(&at.join("data"), "my cat", &[(40, 40), (30, 50)]);
    train(at, &[]).code(3).stderr(
        contains("(goldfish; tench)")
            .and(contains("\"my cat\" (nearest"))
            .and(contains("--classes own")),
    );
    train(at, &["--classes", "imagenet"])
        .code(3)
        .stderr(contains("no category is called \"my cat\""));
    // A name that means one of two categories is no new class.
    pictures(&at.join("data"), "CARDIGAN", &[(40, 40), (30, 50)]);
    train(at, &["--keep-imagenet"])
        .code(3)
        .stderr(contains("\"CARDIGAN\" (Cardigan or cardigan)"));
    // Numbers may be either.
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for digit in ["0", "1"] {
        pictures(&at.join("data"), digit, &[(40, 40), (30, 50)]);
    }
    train(at, &[])
        .code(3)
        .stderr(contains("named by numbers").and(contains("--classes own, --classes imagenet")));
    train(at, &["--classes", "own", "-o", "own", "--epochs", "1"]).success();
    train(
        at,
        &["--classes", "imagenet", "-o", "theirs", "--epochs", "1"],
    )
    .success();
    assert_eq!(
        fs::read_to_string(at.join("own/classes.txt")).expect("a list"),
        "0\n1\n"
    );
    assert!(!at.join("theirs/classes.txt").exists());
    // One class teaches nothing, and one picture neither.
    let one = ["--classes", "own", "-o", "one"];
    pictures(&at.join("data"), "2", &[(40, 40)]);
    train(at, &one)
        .code(3)
        .stderr(says("data/2: this class has 1 image"));
    fs::write(at.join("data/2/bad.png"), b"no picture").expect("a file");
    train(at, &[&one[..], &["--skip-bad"]].concat())
        .code(3)
        .stderr(contains("has 1 image that can be read"));
    for class in ["0", "2"] {
        fs::remove_dir_all(at.join("data").join(class)).expect("it is gone");
    }
    train(at, &one)
        .code(3)
        .stderr(contains("there is one class"));
    assert!(!at.join("one").exists(), "nothing is written");
}
