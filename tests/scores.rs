//! How good a network is: the figures are scikit-learn's.

use goldfish::data::{Calibration, Confusion, Quality, Score, Tally, Verdict};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("scores::every_figure_is_scikit_learns", figures),
        trial("scores::equal_logits_come_by_index", equal),
        trial("scores::of_no_picture_there_are_zeros", nothing),
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
