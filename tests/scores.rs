//! How good a network is: the figures are scikit-learn's, and `goldfish eval` shows them.

use goldfish::data::{Calibration, Confusion, Quality, Score, Tally, Verdict};
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::{TINY, dataset, goldfish, stdout, train};
use crate::support::{gpu_trial, pictures, root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("scores::every_figure_is_scikit_learns", figures),
        trial("scores::equal_logits_come_by_index", equal),
        trial("scores::of_no_picture_there_are_zeros", nothing),
        gpu_trial("scores::eval_says_what_predict_says", evaluation),
        gpu_trial("scores::eval_writes_tables_for_other_programs", tables),
        gpu_trial(
            "scores::what_an_adapter_gained_and_lost_is_counted",
            against,
        ),
        gpu_trial(
            "scores::behind_imagenet_the_base_is_asked_about_its_own",
            behind,
        ),
    ]
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|n| n.as_f64().expect("a number")).collect()
}

fn whole(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|n| n as usize).collect()
}

/// Both are computed in f64; what differs is the order of the sums.
fn near(found: f64, expected: f64, what: &str) {
    let distance = (found - expected).abs();
    assert!(
        distance <= 1e-12 * expected.abs().max(1.0),
        "{what}: {found} for {expected}"
    );
}

fn figures() {
    let text =
        std::fs::read_to_string(root().join("tests/fixtures/scores.json")).expect("it is there");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let labels = whole(&case["labels"]);
        let said = whole(&case["said"]);
        let mut tally = Tally::default();
        let (mut confusion, mut calibration) = (Confusion::default(), Calibration::default());
        for (image, &label) in labels.iter().enumerate() {
            let logits: Vec<f32> = numbers(&case["logits"][image])
                .iter()
                .map(|&z| z as f32)
                .collect();
            let verdict = Verdict::new(&logits, label);
            assert_eq!(verdict.said, said[image], "{name}, image {image}");
            assert_eq!(verdict.is_right(), said[image] == label);
            tally.add(&logits, label);
            confusion.add(label, verdict.said);
            calibration.add(&verdict);
        }
        let score = tally.score();
        assert_eq!(score.count, labels.len());
        for (found, key) in [
            (score.top1, "top1"),
            (score.top5, "top5"),
            (score.loss, "loss"),
            (calibration.confidence(), "confidence"),
            (calibration.error(), "ece"),
        ] {
            near(
                found,
                case[key].as_f64().expect("a number"),
                &format!("{name}, {key}"),
            );
        }
        let union = whole(&case["union"]);
        assert_eq!(confusion.classes(), union, "{name}");
        for (at, class) in confusion.each().iter().enumerate() {
            let of = |key: &str| case[key][at].as_f64().expect("a number");
            assert_eq!(
                (class.index, class.count),
                (union[at], of("support") as usize)
            );
            near(class.quality.precision, of("precision"), name);
            near(class.quality.recall, of("recall"), name);
            near(class.quality.f1, of("f1"), name);
            let row: Vec<usize> = union
                .iter()
                .map(|&s| confusion.count(class.index, s))
                .collect();
            assert_eq!(row, whole(&case["confusion"][at]), "{name}");
            let taken: usize = confusion.taken_for(class.index).iter().map(|t| t.1).sum();
            assert_eq!(taken, class.count);
        }
        for (found, key) in [
            (confusion.macro_average(), "macro"),
            (confusion.weighted_average(), "weighted"),
        ] {
            let expected = numbers(&case[key]);
            near(found.precision, expected[0], name);
            near(found.recall, expected[1], name);
            near(found.f1, expected[2], name);
        }
        for (bin, expected) in calibration
            .bins()
            .iter()
            .zip(case["bins"].as_array().expect("bins"))
        {
            let expected = numbers(expected);
            assert_eq!(bin.count, expected[0] as usize, "{name}, {bin:?}");
            near(bin.accuracy, expected[1], name);
            near(bin.confidence, expected[2], name);
        }
    }
}

fn equal() {
    let logits = [1.0, 2.0, 2.0, 0.0, 2.0, 2.0, 2.0];
    let ranks: Vec<usize> = (0..7)
        .map(|label| Verdict::new(&logits, label).rank)
        .collect();
    assert_eq!(ranks, [5, 0, 1, 6, 2, 3, 4]);
    assert_eq!(Verdict::new(&logits, 4).said, 1);
    let mut tally = Tally::default();
    (0..7).for_each(|label| tally.add(&logits, label));
    let score = tally.score();
    assert_eq!((score.top1, score.top5), (1.0 / 7.0, 5.0 / 7.0));
}

fn nothing() {
    assert_eq!(Tally::default().score(), Score::default());
    assert_eq!(Confusion::default().macro_average(), Quality::default());
    assert_eq!(Calibration::default().error(), 0.0);
}

fn json(folder: &std::path::Path, arguments: &[&str]) -> Value {
    let assert = goldfish(folder).args(arguments).assert().success();
    serde_json::from_str(&stdout(&assert)).expect("JSON")
}

fn evaluation() {
    let folder = dataset();
    let at = folder.path();
    train(at, &["-o", "run", "--epochs", "3"]).success();
    let eval = json(at, &["eval", "data", "--adapter", "run", "--json"]);
    let predict = json(
        at,
        &[
            "predict",
            "data",
            "--adapter",
            "run",
            "--json",
            "--top",
            "1000",
        ],
    );
    let images = eval["images"].as_array().expect("images");
    let predicted = predict["images"].as_array().expect("images");
    assert_eq!((images.len(), predicted.len()), (5, 5));
    let (mut right, mut confidence) = (0, 0.0);
    for image in images {
        let same = predicted.iter().find(|p| p["path"] == image["path"]);
        let all = same.expect("the same picture")["predictions"]
            .as_array()
            .expect("a list");
        assert_eq!(image["said"], all[0]["category"]);
        let close = |found: &Value, expected: &Value| {
            let distance = found.as_f64().expect("a number") - expected.as_f64().expect("one");
            assert!(distance.abs() < 1e-6, "{found} for {expected}");
        };
        close(&image["confidence"], &all[0]["probability"]);
        let own = all.iter().find(|p| p["category"] == image["category"]);
        close(
            &image["probability"],
            &own.expect("its class")["probability"],
        );
        assert_eq!(image["right"], image["said"] == image["category"]);
        right += usize::from(image["right"] == true);
        confidence += image["confidence"].as_f64().expect("a number") / 5.0;
    }
    near(
        eval["top1"].as_f64().expect("a share"),
        right as f64 / 5.0,
        "top-1",
    );
    near(
        eval["mean_confidence"].as_f64().expect("a share"),
        confidence,
        "confidence",
    );
    assert_eq!(eval["calibration_bins"].as_array().map(Vec::len), Some(15));
    let counts = eval["confusion"]["counts"].as_array().expect("rows");
    let all: f64 = counts.iter().flat_map(numbers).sum();
    assert_eq!(all, 5.0);
    assert!(eval.get("against").is_none() && images[0].get("before").is_none());
    let shown = goldfish(at)
        .args(["eval", "data", "--adapter", "run"])
        .assert();
    shown.success().stdout(
        contains("precision")
            .and(contains("5 images: top-1"))
            .and(contains("expected calibration error"))
            .and(contains("mean of the classes")),
    );
}

fn tables() {
    let folder = dataset();
    let at = folder.path();
    train(
        at,
        &[
            "-o",
            "run",
            "--epochs",
            "1",
            "--classes",
            "own",
            "--targets",
            "head",
        ],
    )
    .success();
    let eval = |more: &[&str]| {
        let mut command = goldfish(at);
        command
            .args(["eval", "data", "--adapter", "run"])
            .args(more);
        command.assert()
    };
    let files = ["--confusion", "matrix.csv", "--list-wrong", "wrong.csv"];
    let table = stdout(&eval(&[&["--format", "csv"][..], &files].concat()).success());
    assert!(
        table.starts_with("index,category,count,precision,recall,f1,top1,top5,loss\n0,goldfish,3,"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3);
    let json: Value = serde_json::from_str(&stdout(&eval(&["--json"]).success())).expect("JSON");
    let matrix = std::fs::read_to_string(at.join("matrix.csv")).expect("a matrix");
    let mut expected = vec![format!("true \\ said,{}", names(&json).join(","))];
    for (name, counts) in names(&json)
        .iter()
        .zip(json["confusion"]["counts"].as_array().expect("rows"))
    {
        let counts: Vec<String> = numbers(counts).iter().map(f64::to_string).collect();
        expected.push(format!("{name},{}", counts.join(",")));
    }
    assert_eq!(matrix.lines().collect::<Vec<_>>(), expected);
    let wrong = std::fs::read_to_string(at.join("wrong.csv")).expect("a list");
    let images = json["images"].as_array().expect("images");
    let count = images
        .iter()
        .filter(|image| image["right"] == false)
        .count();
    assert_eq!(wrong.lines().count(), 1 + count);
    eval(&files)
        .code(3)
        .stderr(contains("with --confusion, or pass --overwrite"));
    eval(&[&files[..], &["--overwrite"]].concat()).success();
    let own = ["--list-wrong", "data/tench/0.png", "--overwrite"];
    eval(&own).code(3).stderr(contains("is one of the images"));
    // The base of this adapter has other classes.
    eval(&["--compare-base"])
        .success()
        .stdout(contains("it has no such classes"));
    let mut base = goldfish(at);
    base.args(["eval", "data", "--compare-base"])
        .args(TINY)
        .assert()
        .code(2)
        .stderr(contains("--adapter"));
}

fn names(json: &Value) -> Vec<String> {
    let names = json["confusion"]["categories"].as_array().expect("names");
    names
        .iter()
        .map(|name| name.as_str().expect("a name").to_string())
        .collect()
}

fn against() {
    let folder = dataset();
    let at = folder.path();
    train(at, &["-o", "run", "--epochs", "30", "--lr", "0.01"]).success();
    pictures(&at.join("data"), "nail", &[(40, 40), (50, 45)]);
    let alone = json(at, &[&["eval", "data", "--json"][..], &TINY].concat());
    let both = json(
        at,
        &[
            "eval",
            "data",
            "--adapter",
            "run",
            "--compare-base",
            "--json",
        ],
    );
    let against = &both["against"];
    let number = |value: &Value| value.as_f64().expect("a number");
    assert_eq!(against["all"]["count"], 7);
    assert_eq!(
        (&against["all"]["before"], &against["all"]["after"]),
        (&alone["top1"], &both["top1"])
    );
    let gained = against["gained"].as_array().expect("paths").len() as f64;
    let lost = against["lost"].as_array().expect("paths").len() as f64;
    assert_eq!(number(&against["all"]["gained"]), gained);
    near(
        (number(&both["top1"]) - number(&alone["top1"])) * 7.0,
        gained - lost,
        "the balance",
    );
    assert_eq!(
        (&against["trained"]["count"], &against["trained"]["after"]),
        (&5.into(), &1.0.into())
    );
    assert_eq!(against["others"]["count"], 2);
    let trained: Vec<&Value> = against["categories"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| &c["trained"])
        .collect();
    assert_eq!(trained, [&Value::from(true), &true.into(), &false.into()]);
    // Picture by picture, what the base said alone.
    for (image, alone) in both["images"]
        .as_array()
        .expect("images")
        .iter()
        .zip(alone["images"].as_array().expect("images"))
    {
        assert_eq!(
            (&image["path"], &image["before"]["said"]),
            (&alone["path"], &alone["said"])
        );
    }
    let table = goldfish(at)
        .args(["eval", "data", "--adapter", "run", "--compare-base"])
        .assert();
    table
        .success()
        .stdout(contains("classes it was trained on").and(contains("other classes")));
}

fn behind() {
    let folder = dataset();
    let at = folder.path();
    pictures(&at.join("data"), "float rod", &[(40, 40), (50, 45)]);
    train(
        at,
        &[
            "-o",
            "run",
            "--keep-imagenet",
            "--targets",
            "head,classifier.3",
            "--epochs",
            "8",
            "--lr",
            "0.01",
        ],
    )
    .success();
    let both = json(
        at,
        &[
            "eval",
            "data",
            "--adapter",
            "run",
            "--compare-base",
            "--json",
        ],
    );
    let against = &both["against"];
    assert_eq!(
        (&both["count"], &against["all"]["count"]),
        (&7.into(), &5.into())
    );
    assert!(
        against["note"]
            .as_str()
            .expect("a note")
            .starts_with("2 of the pictures")
    );
    // The base is the same with the last layer of its own.
    std::fs::rename(at.join("data/float rod"), at.join("float rod")).expect("it is away");
    let alone = json(at, &[&["eval", "data", "--json"][..], &TINY].concat());
    assert_eq!(against["all"]["before"], alone["top1"]);
    for image in alone["images"].as_array().expect("images") {
        let same = both["images"]
            .as_array()
            .expect("images")
            .iter()
            .find(|i| i["path"] == image["path"]);
        assert_eq!(same.expect("it is there")["before"]["said"], image["said"]);
    }
}
