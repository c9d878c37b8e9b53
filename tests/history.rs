//! What a run leaves for those who look at it: metrics as a table and as TensorBoard's events, verdicts on pictures.

use std::fs;
use std::path::Path;

use goldfish::data::{Classes, Score};
use goldfish::formats::events::{Scalar, events};
use goldfish::train::history::History;
use goldfish::train::judged::{self, Answer, Judged};
use goldfish::train::{EpochRecord, StepRecord};
use libtest_mimic::Trial;

use crate::support::{root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::event_files_are_tensorboards_to_the_byte", real),
        trial("history::a_run_is_read_back_and_written_as_a_table", table),
        trial(
            "history::a_run_of_no_validation_has_no_curves_of_it",
            training,
        ),
        trial("history::what_is_no_line_is_named", broken),
        trial("history::verdicts_come_back_as_they_were", verdicts),
    ]
}

/// The points of `tests/fixtures/events.py`.
fn real() {
    let point = |tag, step, time, value| Scalar {
        tag,
        step,
        time,
        value,
    };
    let points = [
        point("step/loss", 1, 1_750_000_000.25, 2.5),
        point("step/lr", 1, 1_750_000_000.25, 1e-3),
        point("step/loss", 300, 1_750_000_001.5, -0.125),
        point("epoch/top1", 1 << 40, 1_750_000_002.0, 0.0),
        point("Ж/<b>", 7, 0.0, f32::MAX),
    ];
    let file = root().join("tests/fixtures/events/events.out.tfevents.real");
    assert_eq!(
        events(points),
        fs::read(file).expect("the fixture is there")
    );
}

const METRICS: &str = r#"{"step":1,"epoch":1,"loss":2.5,"lr":0.001}
{"step":2,"epoch":1,"loss":1.25,"lr":0.001}
{"epoch":1,"step":2,"train_loss":1.875,"lr":0.001,"validation":{"count":4,"loss":0.75,"top1":0.5,"top5":1.0},"best":true}
{"step":3,"epoch":2,"loss":1.0,"lr":0.0005}
{"epoch":2,"step":3,"train_loss":1.0,"lr":0.0005}
"#;

fn run(metrics: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("metrics.jsonl"), metrics).expect("it is written");
    folder
}

fn table() {
    // The last line was being written when the run was cut.
    let folder = run(&format!("{METRICS}{{\"step\":4,\"ep"));
    let timing = "{\"step\":2,\"epoch\":1,\"unix\":1000.0,\"seconds\":10.0}\n{\"step\":3,\"epoch\":2,\"unix\":1020.0,\"seconds\":14.0}\n";
    fs::write(folder.path().join("timing.jsonl"), timing).expect("it is written");
    let history = History::read(folder.path()).expect("a run");
    assert_eq!(history.steps.len(), 3);
    let last = StepRecord {
        step: 3,
        epoch: 2,
        loss: 1.0,
        lr: 0.0005,
    };
    assert_eq!(history.steps[2], last);
    let first = EpochRecord {
        epoch: 1,
        step: 2,
        train_loss: 1.875,
        lr: 0.001,
        validation: Some(Score {
            count: 4,
            loss: 0.75,
            top1: 0.5,
            top5: 1.0,
        }),
        best: Some(true),
    };
    assert_eq!((history.epochs[0], history.seconds()), (first, 14.0));
    let expected = "step,epoch,loss,lr,train_loss,validation_loss,validation_top1,validation_top5\n\
                    1,1,2.5,0.001,,,,\n2,1,1.25,0.001,1.875,0.75,0.5,1\n3,2,1,0.0005,1,,,\n";
    history.write(folder.path()).expect("it is written");
    history.write(folder.path()).expect("and once more");
    let found = fs::read_to_string(folder.path().join("metrics.csv")).expect("a table");
    assert_eq!(found, expected);
    let read = |name: &str| {
        let path = format!("events/{name}/events.out.tfevents.goldfish");
        fs::read(folder.path().join(path)).expect("events")
    };
    let point = |tag, step, time, value| Scalar {
        tag,
        step,
        time,
        value,
    };
    assert_eq!(
        read("train"),
        events([
            point("step/loss", 1, 995.0, 2.5),
            point("step/lr", 1, 995.0, 0.001),
            point("step/loss", 2, 1000.0, 1.25),
            point("step/lr", 2, 1000.0, 0.001),
            point("step/loss", 3, 1020.0, 1.0),
            point("step/lr", 3, 1020.0, 0.0005),
            point("epoch/loss", 2, 1000.0, 1.875),
            point("epoch/loss", 3, 1020.0, 1.0),
        ])
    );
    assert_eq!(
        read("validation"),
        events([
            point("epoch/loss", 2, 1000.0, 0.75),
            point("epoch/top1", 2, 1000.0, 0.5),
            point("epoch/top5", 2, 1000.0, 1.0),
        ])
    );
}

fn training() {
    let folder = run("{\"step\":1,\"epoch\":1,\"loss\":2.5,\"lr\":0.001}\n");
    let history = History::read(folder.path()).expect("a run");
    history.write(folder.path()).expect("it is written");
    assert!(folder.path().join("events/train").exists());
    assert!(!folder.path().join("events/validation").exists());
}

fn broken() {
    for (line, says) in [
        ("{\"step\":1}", "line 1: missing field `epoch`"),
        (
            "{\"step\":1,\"epoch\":1,\"lr\":1}",
            "line 1 has neither a loss nor a train_loss",
        ),
        (
            "{\"step\":-1,\"epoch\":1,\"lr\":1,\"loss\":1}",
            "line 1: invalid value",
        ),
        ("\u{0}", "line 1: expected value"),
    ] {
        let folder = run(&format!("{line}\n"));
        let error = History::read(folder.path())
            .expect_err("no metrics")
            .to_string();
        assert!(
            error.contains(says) && error.contains("metrics.jsonl"),
            "{error}"
        );
    }
    assert!(History::read(Path::new("/nowhere")).is_err());
    let folder = run(METRICS);
    for line in [
        "{}",
        "{\"path\":\"a\",\"label\":0,\"category\":\"a\",\"after\":{\"said\":0,\"confidence\":1e999,\"rank\":0,\"loss\":0,\"top\":[]}}",
    ] {
        let file = folder.path().join("validation.jsonl");
        fs::write(file, format!("{line}\n")).expect("it is written");
        assert!(judged::read(folder.path()).is_err(), "{line}");
    }
}

fn verdicts() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(judged::read(folder.path()).expect("no file"), None);
    let classes = Classes::own(["Grün", "a\u{2028}b", "<i>"].map(String::from).to_vec());
    let classes = classes.expect("sound names");
    let one = |path: &str, before: Option<[f32; 3]>, after: [f32; 3], label| Judged {
        path: path.into(),
        label,
        category: classes.name(label),
        before: before.map(|logits| Answer::new(&logits, label, &classes)),
        after: Answer::new(&after, label, &classes),
    };
    let all = vec![
        one("a/\"b\"\n.png", Some([0.1, 0.7, -3.0]), [5.0, 1.0, 1.0], 0),
        one("c.png", None, [0.25, 0.5, 0.125], 2),
    ];
    judged::write(folder.path(), &all).expect("it is written");
    assert_eq!(
        judged::read(folder.path()).expect("verdicts"),
        Some(all.clone())
    );
    let after = &all[0].after;
    assert_eq!((after.verdict.said, after.top.len()), (0, 3));
    assert_eq!(after.top[0].probability, after.verdict.confidence as f32);
    let text = fs::read_to_string(folder.path().join("validation.jsonl")).expect("text");
    assert_eq!(text.lines().count(), 2);
}
