//! How often a forward pass and a step call the device. What a call costs is the same however much it computes, so that on
//! a fast device the number of them is the time of a small step: it may only fall.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish::data::{ImageStore, Transform};
use goldfish::gpu::Counts;
use goldfish::nn::lora::Init;
use goldfish::nn::{Head, HeadInit, Loading, Source, Vgg};
use goldfish::train::{Plan, Prefix, Room, Split, StepRecord, Task, train};
use goldfish::{Gpu, GpuOptions};
use libtest_mimic::Trial;

use crate::parity::{WIDE, noise};
use crate::support::{adapter, gpu, gpu_trial, gpu_with, network, pictures, trial};

pub fn trials() -> Vec<Trial> {
    // A step on a GPU has as many launches, but how a sum is split there depends on the device.
    let software = !goldfish::gpu::devices().is_empty() && gpu().is_software();
    let counted = gpu_trial(
        "launches::a_pass_and_a_step_call_the_device_as_often_as_recorded",
        all,
    );
    vec![
        counted.with_ignored_flag(!software),
        trial("launches::a_count_that_differs_says_what_to_do", differs),
    ]
}

/// Of the pictures: the last block's planes are still of four pixels.
const SIDE: usize = 64;
const BATCH: usize = 2;

/// What is counted: a forward pass, or a step on these targets.
const FORWARD: &str = "forward";
const WORK: [&str; 5] = [
    FORWARD,
    "pixels",
    "classifier.0,classifier.3,head",
    "features.28",
    "all",
];

/// What was counted last: dispatches and submits by family and work. `benches/RESULTS.md` has the same.
const RECORDED: [(&str, [[u64; 2]; 5]); 2] = [
    // One more for each layer of small planes whose gradient's weights are made where they are used: 234 MiB of a VGG19's.
    ("software", [[74, 2], [9, 1], [26, 1], [56, 1], [519, 9]]),
    ("portable", [[53, 1], [9, 1], [26, 1], [45, 1], [244, 4]]),
];
/// The most that each may wait: whether what is read back lies there already is a matter of time.
const WAITS: u64 = 1;

fn all() {
    let mut wrong = Vec::new();
    let mut families = Vec::new();
    for portable in [false, true] {
        // Of its own, since other tests would be counted too.
        let gpu = gpu_with(GpuOptions::default());
        let family = network(&gpu, WIDE, 3, portable).family();
        let (_, recorded) = RECORDED
            .iter()
            .find(|(name, _)| *name == family)
            .expect("a family");
        families.push(family);
        for (work, [dispatches, submits]) in WORK.into_iter().zip(*recorded) {
            let counted = match work {
                FORWARD => forward(&gpu, portable),
                targets => step(&gpu, targets, portable),
            };
            let recorded = Counts {
                dispatches,
                submits,
                waits: WAITS,
                ..Counts::default()
            };
            wrong.extend(verdict(family, work, counted, recorded));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(families.contains(&"portable"), "{families:?}");
}

/// What is to be done about a count, where something is.
fn verdict(family: &str, work: &str, counted: Counts, recorded: Counts) -> Option<String> {
    let more = counted.dispatches > recorded.dispatches
        || counted.submits > recorded.submits
        || counted.waits > recorded.waits;
    let same = [counted.dispatches, counted.submits] == [recorded.dispatches, recorded.submits];
    let advice = match (more, same) {
        (true, _) => "the device is called more often than it was: find out by what",
        (_, true) => return None,
        (_, false) => {
            "the device is called less often: lower RECORDED in tests/launches.rs and the table in benches/RESULTS.md"
        }
    };
    let said = |c: Counts| Said(c).to_string();
    Some(format!(
        "{family}, {work}: {} where {} are recorded: {advice}",
        said(counted),
        said(recorded)
    ))
}

struct Said(Counts);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            dispatches,
            submits,
            waits,
            ..
        } = self.0;
        write!(
            f,
            "{dispatches} dispatches, {submits} submits, {waits} waits"
        )
    }
}

/// A base's answer to two pictures, from the host and back to it.
fn forward(gpu: &Gpu, portable: bool) -> Counts {
    let base = network(gpu, WIDE, 3, portable);
    let pixels = noise(BATCH, SIDE);
    // What is laid out at the first pass is not of every pass.
    base.logits(&pixels, SIDE).expect("logits");
    let before = gpu.counts();
    base.logits(&pixels, SIDE).expect("logits");
    gpu.counts() - before
}

/// A step in the middle of an epoch, of pictures whose features are kept.
fn step(gpu: &Gpu, targets: &str, portable: bool) -> Counts {
    let (_folder, images) = images();
    let (targets, head) = match targets.strip_suffix(",head") {
        Some(targets) => (targets, true),
        None => (targets, false),
    };
    let mut start = adapter(gpu, WIDE, SIDE, targets, [4, 4], (Init::Kaiming, 4));
    let classes = WIDE.classes;
    if head {
        let head = Head::new(gpu, WIDE, classes, HeadInit::Linear, 1);
        start.head = Some(head.expect("a head"));
    }
    let how = Loading {
        side: SIDE,
        portable,
        ranks: start.ranks(),
        trained: true,
        headless: head,
        ..Loading::default()
    };
    let base = Vgg::load(gpu, WIDE, &Source::Random(2), &how, |_| Ok(())).expect("a network");
    let mut prefix = Prefix::new(base, &start, &images, Some(Room::of(1 << 30)));
    prefix.fill(&images, |_| Ok(())).expect("features");
    let labels: Vec<u32> = (0..images.len()).map(|i| (i % classes) as u32).collect();
    let mut after = Vec::new();
    let task = Task {
        images: &images,
        labels: &labels,
        split: &Split::all(images.len()),
        plan: Plan {
            epochs: 1,
            batch_size: BATCH,
            lr: 1e-3,
            ..Plan::TUTORIAL
        },
        stop: &AtomicBool::new(false),
    };
    let done = train(&mut prefix, task, start, &mut |_: StepRecord| {
        after.push(gpu.counts());
        Ok(())
    });
    assert_eq!(done.expect("a run").losses.len(), after.len());
    // The first ones find nothing to take up again, the last ones are not overlapped.
    let [steps, again] = [[2, 3], [3, 4]].map(|[one, next]| after[next] - after[one]);
    let calls = |c: Counts| [c.dispatches, c.submits];
    assert_eq!(calls(steps), calls(again), "{targets}: each is as the last");
    steps
}

fn images() -> (tempfile::TempDir, Arc<ImageStore>) {
    let folder = tempfile::tempdir().expect("a folder");
    let sizes = [(70, 80); 8 * BATCH];
    pictures(folder.path(), "a", &sizes);
    let paths: Vec<_> = (0..sizes.len())
        .map(|i| folder.path().join(format!("a/{i}.png")))
        .collect();
    let (images, _) = ImageStore::open(
        &paths,
        Transform { size: SIDE },
        false,
        1 << 20,
        false,
        |_| Ok(()),
    )
    .expect("images");
    (folder, images)
}

fn differs() {
    let recorded = Counts {
        dispatches: 10,
        submits: 2,
        waits: 1,
        ..Counts::default()
    };
    let early = Counts {
        waits: 0,
        ..recorded
    };
    assert_eq!(verdict("f", "w", recorded, recorded), None);
    assert_eq!(verdict("f", "w", early, recorded), None);
    let told = |counted| verdict("f", "w", counted, recorded).expect("they differ");
    let less = Counts {
        dispatches: 9,
        ..recorded
    };
    assert!(told(less).starts_with("f, w: 9 dispatches, 2 submits, 1 waits where 10 dispatches"));
    assert!(told(less).contains("lower RECORDED"));
    // More of one is not made up by less of another.
    for other in [Counts { submits: 3, ..less }, Counts { waits: 2, ..less }] {
        assert!(told(other).contains("more often"), "{}", told(other));
    }
}
