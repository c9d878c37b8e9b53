//! What goes between the host and the device, and how often one waits for the other: what is computed on the device and used
//! there does not come to the host in between, and what comes does so while the next thing is computed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish::data::ImageStore;
use goldfish::gpu::Counts;
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Adapter, Source, Vgg};
use goldfish::train::store::{Shelf, Store};
use goldfish::train::{Frozen, Plan, Prefix, Room, Split, StepRecord, Task, embed, predict, train};
use goldfish::{Gpu, GpuOptions};
use libtest_mimic::Trial;

use crate::store::{SIZE, files, key, loading, lora, open};
use crate::support::{gpu_trial, gpu_with};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "journeys::what_the_frozen_layers_make_stays_on_the_device",
            kept,
        ),
        gpu_trial(
            "journeys::what_the_store_keeps_comes_once_while_the_next_batch_is_computed",
            stored,
        ),
        gpu_trial(
            "journeys::a_step_without_the_cache_sends_its_pictures_and_reads_its_loss",
            streamed,
        ),
        gpu_trial(
            "journeys::a_host_that_goes_on_meanwhile_gets_the_same_in_the_same_order",
            overlapped,
        ),
    ]
}

/// What is adapted: a layer whose product is kept too, one in planes, and the branch beside all layers.
const TARGETS: [&str; 3] = ["classifier.0", "features.28", "pixels"];
/// Bytes of a picture as it is sent.
const CROP: u64 = (3 * SIZE * SIZE) as u64;
/// Bytes that say what each 8-bit sample becomes.
const TABLE: u64 = 3 * 256 * 4;

fn device(overlap: bool) -> Gpu {
    // Of its own, since other tests would be counted too.
    gpu_with(GpuOptions {
        overlap,
        ..GpuOptions::default()
    })
}

fn images() -> (tempfile::TempDir, Arc<ImageStore>) {
    let folder = tempfile::tempdir().expect("a folder");
    let images = open(&files(folder.path()), |_| false);
    (folder, images)
}

fn base(gpu: &Gpu, adapter: &Adapter, portable: bool) -> Vgg {
    let how = loading(adapter, portable);
    Vgg::load(gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(())).expect("a network")
}

/// What it takes to have the frozen layers go over `images`, and what they lie in.
fn filled(
    (gpu, portable): (&Gpu, bool),
    targets: &str,
    images: &Arc<ImageStore>,
    room: Room,
    store: Option<&Store>,
) -> (Counts, Prefix) {
    let adapter = lora(gpu, targets, 2);
    let mut frozen = Frozen::new(gpu, VGG19_TINY, &adapter, images, Some(room));
    if let Some(store) = store {
        let how = loading(&adapter, portable);
        let shelf = Shelf::open(store, key(gpu, &adapter, &how));
        assert_eq!(frozen.stock(shelf, images).expect("stocked"), 0);
    }
    let mut prefix = Prefix::over(base(gpu, &adapter, portable), frozen);
    gpu.wait().expect("it is loaded");
    let before = gpu.counts();
    let mut heard = Vec::new();
    prefix
        .fill(images, |done| {
            heard.push(done);
            Ok(())
        })
        .expect("filled");
    let batches = images.len().div_ceil(prefix.base().batch(SIZE));
    let counts = gpu.counts() - before;
    assert_eq!(heard.len(), batches, "{targets}: it hears of each batch");
    assert_eq!(heard.last(), Some(&images.len()));
    assert!(
        counts.waits <= batches as u64,
        "{targets} {portable}: {} waits for {batches} batches",
        counts.waits
    );
    (counts, prefix)
}

/// Bytes of what the lowest adapted layer takes of an image, and of its product.
fn row(prefix: &Prefix) -> u64 {
    let (base, from) = (prefix.base(), prefix.from());
    4 * (base.row_len(from, SIZE) + base.product_len(from).unwrap_or(0)) as u64
}

fn kept() {
    let gpu = device(false);
    let (_folder, images) = images();
    let n = images.len() as u64;
    for portable in [false, true] {
        for targets in TARGETS {
            let room = Room::of(1 << 30);
            let (counts, prefix) = filled((&gpu, portable), targets, &images, room, None);
            assert_eq!(counts.read, 0, "{targets} {portable}");
            let batches = n.div_ceil(prefix.base().batch(SIZE) as u64);
            // The pictures go there once, also where a branch takes them too.
            assert_eq!(
                counts.sent,
                n * CROP + batches * TABLE,
                "{targets} {portable}"
            );
        }
    }
}

fn stored() {
    let gpu = device(false);
    let (folder, images) = images();
    let n = images.len() as u64;
    for portable in [false, true] {
        for targets in TARGETS {
            let home = folder.path().join(format!("{targets}-{portable}"));
            let store = Store::new(&home, 1 << 30);
            let at = (&gpu, portable);
            let (counts, mut prefix) =
                filled(at, targets, &images, Room::of(1 << 30), Some(&store));
            let row = row(&prefix);
            assert_eq!(counts.read, n * row, "{targets} {portable}");
            let batches = n.div_ceil(prefix.base().batch(SIZE) as u64);
            // What came for the store does not go back.
            assert_eq!(
                counts.sent,
                n * CROP + batches * TABLE,
                "{targets} {portable}"
            );
            let shelf = prefix.shelf().expect("a shelf");
            assert_eq!(
                (shelf.counts().put, shelf.notes()),
                (9, vec![]),
                "one is there twice"
            );
            // A store that takes no more asks for nothing.
            let none = Store::new(&home.join("none"), 0);
            let (counts, _) = filled(at, targets, &images, Room::of(1 << 30), Some(&none));
            assert_eq!(counts.read, 0, "{targets} {portable}");
            // Of what has no room on the device, whole batches come.
            let (counts, prefix) = filled(at, targets, &images, Room::of(3 * row), None);
            assert!((1..=n * row).contains(&counts.read), "{targets} {portable}");
            assert_eq!(prefix.passes(), images.len());
        }
    }
}

/// Losses of a run, and what each step but the first two took.
fn steps(
    gpu: &Gpu,
    (targets, portable): (&str, bool),
    images: &Arc<ImageStore>,
) -> (Vec<f32>, Vec<Counts>) {
    let start = lora(gpu, targets, 2);
    let base = base(gpu, &start, portable);
    let mut prefix = Prefix::new(base, &start, images, None);
    let labels: Vec<u32> = (0..images.len() as u32).map(|i| i % 4).collect();
    let mut counted = Vec::new();
    let task = Task {
        images,
        labels: &labels,
        split: &Split::all(images.len()),
        plan: Plan {
            epochs: 1,
            batch_size: 2,
            lr: 1e-3,
            ..Plan::TUTORIAL
        },
        stop: &AtomicBool::new(false),
    };
    let done = train(&mut prefix, task, start, &mut |_: StepRecord| {
        counted.push(gpu.counts());
        Ok(())
    });
    let steps = counted.windows(2).map(|two| two[1] - two[0]).skip(1);
    (done.expect("a run").losses, steps.collect())
}

fn streamed() {
    let gpu = device(false);
    let (_folder, images) = images();
    for portable in [false, true] {
        for targets in TARGETS {
            let (_, steps) = steps(&gpu, (targets, portable), &images);
            for step in steps {
                // The loss, and the word that says whether all factors were finite.
                assert_eq!((step.read, step.waits), (8, 1), "{targets} {portable}");
                // Pictures, once for the frozen layers and the branch, and little else: the labels, and at most a table for each
                // picture and one for the branch.
                let sent = 2 * CROP;
                assert!(
                    (sent..sent + 3 * TABLE + 64).contains(&step.sent),
                    "{targets} {portable}: {} bytes where {sent} are of pictures",
                    step.sent
                );
            }
        }
    }
}

fn overlapped() {
    let (_folder, images) = images();
    let [waits, goes_on] = [false, true].map(device);
    for targets in TARGETS {
        let one = steps(&waits, (targets, false), &images).0;
        let two = steps(&goes_on, (targets, false), &images).0;
        assert!(one.len() == 5 && one == two, "{targets}: {one:?} {two:?}");
    }
    let said = |gpu: &Gpu| {
        let adapter = lora(gpu, "classifier.0", 2);
        let base = base(gpu, &adapter, true);
        let mut said = Vec::new();
        let mut hear = |image: usize, row: &[f32]| {
            said.push((image, row.to_vec()));
            Ok(())
        };
        embed(&base, &images, &adapter, 16, &mut hear).expect("rows");
        let mut prefix = Prefix::new(base, &adapter, &images, None);
        predict(&mut prefix, &images, &adapter, &mut hear).expect("logits");
        said
    };
    let [one, two] = [&waits, &goes_on].map(said);
    let order: Vec<usize> = one.iter().map(|(image, _)| *image).collect();
    assert_eq!(
        order,
        [(0..10).collect::<Vec<_>>(), (0..10).collect()].concat()
    );
    assert!(one == two);
    // An answer that ends it does so in either.
    for gpu in [&waits, &goes_on] {
        let adapter = lora(gpu, "classifier.0", 2);
        let mut prefix = Prefix::new(base(gpu, &adapter, true), &adapter, &images, None);
        let mut heard = 0;
        let ended = predict(&mut prefix, &images, &adapter, |image, _| {
            heard += 1;
            match image {
                4 => Err(goldfish::Error::Interrupted { step: 0 }),
                _ => Ok(()),
            }
        });
        assert!(ended.is_err() && heard == 5, "{heard}");
    }
}
