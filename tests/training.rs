//! Training on a tiny network: what must change changes, what must not does not, to the bit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::data::{ImageStore, Transform};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Loading, Source, Vgg};
use goldfish::train::{Plan, Prefix, Room, Split, StepRecord, Task, Trained, train};
use goldfish::{Error, Gpu, GpuOptions, Precision, Tensor};
use libtest_mimic::Trial;

use crate::support::{adapter, gpu, gpu_trial, gpu_with, network, pictures, portable};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "training::the_loss_falls_and_the_base_does_not_change",
            learns,
        ),
        gpu_trial("training::a_moves_from_the_second_step", a_moves),
        gpu_trial(
            "training::one_seed_gives_one_adapter_and_another_another",
            reproducible,
        ),
        gpu_trial(
            "training::a_cached_run_and_an_uncached_one_give_the_same_adapter",
            cache_is_exact,
        ),
        gpu_trial(
            "training::adapted_layers_learn_cached_or_not_checkpointed_or_not_to_the_same_bits",
            layers_learn,
        ),
        gpu_trial(
            "training::a_batch_in_parts_has_the_gradients_of_the_whole",
            parts_add_up,
        ),
        gpu_trial(
            "training::dropout_is_reproducible_and_changes_the_run",
            dropout_is_seeded,
        ),
        gpu_trial(
            "training::losses_in_half_precision_are_near_those_in_full",
            half_is_near,
        ),
        gpu_trial(
            "training::live_buffers_are_as_many_at_step_ten_as_at_step_two",
            no_leak,
        ),
        gpu_trial(
            "training::a_loss_that_is_not_finite_stops_with_the_last_good_adapter",
            diverges,
        ),
        gpu_trial(
            "training::layers_that_diverge_stop_with_the_last_good_adapter_in_either_family",
            layers_diverge,
        ),
        gpu_trial(
            "training::an_adapter_that_is_not_finite_is_refused",
            refuses_nan,
        ),
        gpu_trial("training::folded_grids_give_the_same_bits", grids_fold),
        gpu_trial("training::a_stop_keeps_the_adapter_so_far", stops),
    ]
}

const SIZE: usize = 32;
const PLAN: Plan = Plan {
    epochs: 4,
    batch_size: 3,
    lr: 1e-3,
    seed: 5,
    ..Plan::TUTORIAL
};

/// Seven images of three categories; batches of three leave a last one of one.
fn images() -> (tempfile::TempDir, Arc<ImageStore>, Vec<u32>) {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(
        folder.path(),
        "a",
        &[
            (40, 50),
            (60, 40),
            (33, 90),
            (32, 32),
            (64, 64),
            (50, 41),
            (99, 37),
        ],
    );
    let paths: Vec<PathBuf> = (0..7)
        .map(|i| folder.path().join(format!("a/{i}.png")))
        .collect();
    let transform = Transform { size: SIZE };
    let (images, _) =
        ImageStore::open(&paths, transform, false, 1 << 20, false, |_| Ok(())).expect("images");
    (folder, images, vec![1, 1, 7, 1, 7, 999, 999])
}

fn lora(gpu: &Gpu, seed: u64) -> Adapter {
    adapter(
        gpu,
        VGG19_TINY,
        SIZE,
        "pixels",
        [5, 5],
        (Init::Tutorial, seed),
    )
}

fn base(gpu: &Gpu) -> Vgg {
    network(gpu, VGG19_TINY, 2, false)
}

fn keep(cache: bool) -> Option<Room> {
    cache.then(|| Room::of(1 << 30))
}

fn run(gpu: &Gpu, plan: Plan, cache: bool, seed: u64) -> Trained {
    let (_folder, images, labels) = images();
    let start = lora(gpu, seed);
    let mut prefix = Prefix::new(base(gpu), &start, &images, keep(cache));
    let stop = AtomicBool::new(false);
    train(
        &mut prefix,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan,
            stop: &stop,
        },
        start,
        &mut |_: StepRecord| Ok(()),
    )
    .expect("a run")
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor
        .to_vec()
        .expect("data")
        .iter()
        .map(|v| v.to_bits())
        .collect()
}

fn adapter_bits(trained: &Trained) -> Vec<Vec<u32>> {
    trained.adapter.trained().iter().map(bits).collect()
}

fn learns() {
    let gpu = gpu();
    let (_folder, images, labels) = images();
    let vgg = network(&gpu, VGG19_TINY, 2, true);
    let before: Vec<Vec<u32>> = vgg.parameters().values().map(bits).collect();
    let start = lora(&gpu, 1);
    let mut frozen = Prefix::new(vgg.clone(), &start, &images, keep(true));
    let plan = Plan { epochs: 12, ..PLAN };
    let trained = train(
        &mut frozen,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan,
            stop: &AtomicBool::new(false),
        },
        start,
        &mut |_: StepRecord| Ok(()),
    );
    let losses = trained.expect("a run").losses;
    assert_eq!(losses.len(), 36);
    assert_eq!(frozen.passes(), 7, "each image passes the base once");
    let (first, last) = (losses[0], losses[35]);
    assert!(first > 6.0 && last < 0.5, "{first} to {last}");
    let after: Vec<Vec<u32>> = vgg.parameters().values().map(bits).collect();
    assert!(before == after, "the base is frozen");
}

fn a_moves() {
    let gpu = gpu();
    let start = bits(&lora(&gpu, 1).trained()[0]);
    let steps = |epochs| {
        run(
            &gpu,
            Plan {
                epochs,
                batch_size: 7,
                ..PLAN
            },
            true,
            1,
        )
    };
    // B starts at zero, so that A's first gradient is exactly zero.
    let (one, two) = (steps(1), steps(2));
    assert!(
        bits(&one.adapter.trained()[0]) == start,
        "A rests in step 1"
    );
    assert!(
        bits(&one.adapter.trained()[1]).iter().any(|&b| b != 0),
        "B moves in step 1"
    );
    assert!(
        bits(&two.adapter.trained()[0]) != start,
        "A moves in step 2"
    );
}

fn reproducible() {
    let gpu = gpu();
    let (one, same, other) = (
        run(&gpu, PLAN, true, 1),
        run(&gpu, PLAN, true, 1),
        run(&gpu, PLAN, true, 2),
    );
    assert!(adapter_bits(&one) == adapter_bits(&same));
    assert!(one.losses == same.losses);
    assert!(adapter_bits(&one) != adapter_bits(&other));
}

fn cache_is_exact() {
    let gpu = gpu();
    let (cached, uncached) = (run(&gpu, PLAN, true, 1), run(&gpu, PLAN, false, 1));
    assert!(cached.losses == uncached.losses);
    assert!(adapter_bits(&cached) == adapter_bits(&uncached));
}

fn no_leak() {
    // A device of its own: other tests' buffers are not counted.
    let gpu = gpu_with(GpuOptions::default());
    let (_folder, images, labels) = images();
    let start = lora(&gpu, 1);
    let mut frozen = Prefix::new(base(&gpu), &start, &images, keep(true));
    let plan = Plan {
        epochs: 12,
        batch_size: 7,
        ..PLAN
    };
    let mut live = Vec::new();
    let mut report = |_| {
        live.push(gpu.pool_stats().live);
        Ok(())
    };
    train(
        &mut frozen,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan,
            stop: &AtomicBool::new(false),
        },
        start,
        &mut report,
    )
    .expect("a run");
    assert_eq!(live.len(), 12);
    assert_eq!(live[1], live[9], "{live:?}");
}

fn diverges() {
    let gpu = gpu();
    // The first update moves every B by the learning rate; products of 1e38 overflow.
    let trained = run(&gpu, Plan { lr: 1e38, ..PLAN }, true, 1);
    ended_in_divergence(&trained, 1e38);
}

/// The run stopped at the step that diverged, and all that it kept is finite.
fn ended_in_divergence(trained: &Trained, rate: f64) {
    let Err(Error::NonFinite { step, loss, lr }) = trained.end else {
        panic!("lr {rate}: {:?}, {:?}", trained.end, trained.losses)
    };
    // A loss that is not finite is of the step after the last finished one; an update that overflows of that one itself.
    let finished = trained.losses.len() as u64;
    assert_eq!((step, lr), (finished + u64::from(!loss.is_finite()), rate));
    assert!(trained.losses.iter().all(|l| l.is_finite()));
    assert!(finished > 0, "the loss of the start is finite");
    let factors = trained.adapter.trained();
    let values: Vec<Vec<f32>> = factors.iter().map(|t| t.to_vec().expect("data")).collect();
    assert!(values.iter().flatten().all(|v| v.is_finite()));
}

fn layers_diverge() {
    let gpu = gpu();
    for how in [Loading::default(), portable()] {
        for (targets, lr) in [
            ("all", 100.0),
            ("all", 1e20),
            ("features.0", 1e38),
            ("classifier.6", 1e38),
            ("features.34", 1e39),
        ] {
            let plan = Plan { lr, ..PLAN };
            let trained = run_layers(&gpu, targets, plan, true, how.clone());
            ended_in_divergence(&trained, lr);
        }
    }
}

fn refuses_nan() {
    let gpu = gpu();
    let (_folder, images, labels) = images();
    let mut start = lora(&gpu, 1);
    let mut b = start.loras[0].1.b.to_vec().expect("data");
    b[17] = f32::NAN;
    start.loras[0].1.b =
        Tensor::from_slice(&gpu, start.loras[0].1.b.shape().clone(), &b).expect("B");
    let mut prefix = Prefix::new(base(&gpu), &start, &images, keep(true));
    let stop = AtomicBool::new(false);
    let end = train(
        &mut prefix,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan: PLAN,
            stop: &stop,
        },
        start,
        &mut |_: StepRecord| Ok(()),
    );
    let text = end.map(drop).expect_err("NaN in B").to_string();
    assert!(text.contains("not finite"), "{text}");
}

/// On a device whose grids are as small as its kernels can do with: 64 positions of a Winograd tile.
fn grids_fold() {
    let small = gpu_with(GpuOptions {
        max_groups: Some(64),
        ..GpuOptions::default()
    });
    let plan = Plan {
        epochs: 1,
        dropout: 0.25,
        lr: 1e-2,
        ..PLAN
    };
    for how in [Loading::default(), portable()] {
        let [whole, folded] =
            [&gpu(), &small].map(|gpu| run_layers(gpu, "all", plan, true, how.clone()));
        assert_eq!(whole.losses, folded.losses);
        assert!(adapter_bits(&whole) == adapter_bits(&folded));
        let pixels = crate::parity::noise(1, 96);
        let [whole, folded] = [&gpu(), &small].map(|gpu| {
            let base = Vgg::load(gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(()));
            base.expect("a network")
                .logits(&pixels, 96)
                .expect("logits")
        });
        assert_eq!(whole, folded);
    }
}

fn stops() {
    let gpu = gpu();
    let (_folder, images, labels) = images();
    let start = lora(&gpu, 1);
    let mut frozen = Prefix::new(base(&gpu), &start, &images, keep(true));
    let stop = AtomicBool::new(false);
    // One step an epoch.
    let plan = Plan {
        epochs: 12,
        batch_size: images.len(),
        ..PLAN
    };
    let mut report = |record: StepRecord| {
        stop.store(record.step == 2, Ordering::Relaxed);
        Ok(())
    };
    let trained = train(
        &mut frozen,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan,
            stop: &stop,
        },
        start,
        &mut report,
    )
    .expect("a run");
    let Err(Error::Interrupted { step }) = trained.end else {
        panic!("{:?}", trained.end)
    };
    assert_eq!(step, trained.losses.len() as u64);
    assert!((2..12).contains(&step), "{step}");
    // What is kept is the adapter of a run of as many steps.
    let whole = run(
        &gpu,
        Plan {
            epochs: step as usize,
            ..plan
        },
        true,
        1,
    );
    assert_eq!(trained.losses, whole.losses);
    assert!(adapter_bits(&trained) == adapter_bits(&whole));
}

/// A run of `targets` on a network that is loaded so.
fn run_layers(gpu: &Gpu, targets: &str, plan: Plan, cache: bool, how: Loading) -> Trained {
    let (_folder, images, labels) = images();
    let start = adapter(gpu, VGG19_TINY, SIZE, targets, [3, 6], (Init::Kaiming, 4));
    let how = Loading {
        ranks: start.ranks(),
        trained: true,
        ..how
    };
    let base = Vgg::load(gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(())).expect("a network");
    let mut prefix = Prefix::new(base, &start, &images, keep(cache));
    if cache {
        prefix.fill(&images, |_| Ok(())).expect("features");
    }
    let stop = AtomicBool::new(false);
    train(
        &mut prefix,
        Task {
            images: &images,
            labels: &labels,
            split: &Split::all(images.len()),
            plan,
            stop: &stop,
        },
        start,
        &mut |_: StepRecord| Ok(()),
    )
    .expect("a run")
}

fn layers_learn() {
    // Of its own: what a step keeps is counted on the device, where other tests would add theirs.
    let gpu = gpu_with(GpuOptions::default());
    let half = Loading {
        precision: Precision::F16,
        ..portable()
    };
    for how in [Loading::default(), portable(), half] {
        for targets in [
            "classifier.6",
            "classifier",
            "features.28,pixels",
            "features.0",
            "all",
        ] {
            let plan = Plan { lr: 1e-2, ..PLAN };
            let run = |plan, cache| run_layers(&gpu, targets, plan, cache, how.clone());
            let cached = run(plan, true);
            let (first, last) = (cached.losses[0], cached.losses[11]);
            assert!(last < first, "{targets}: {first} to {last}");
            let uncached = run(plan, false);
            assert!(cached.losses == uncached.losses, "{targets}");
            assert!(
                adapter_bits(&cached) == adapter_bits(&uncached),
                "{targets}"
            );
            let checkpoint = Plan {
                checkpoint: true,
                ..plan
            };
            let again = run(checkpoint, true);
            if targets == "all" {
                let (less, more) = (again.kept, cached.kept);
                assert!(less > 0 && less < more, "{less} and {more} bytes an image");
            }
            assert!(adapter_bits(&cached) == adapter_bits(&again), "{targets}");
        }
    }
}

fn parts_add_up() {
    // A device whose bindings hold the planes of six images of the widest layer, four channels of 32 x 32.
    let plan = Plan {
        epochs: 2,
        batch_size: 7,
        ..PLAN
    };
    let whole = run_layers(&gpu(), "features.0", plan, true, portable());
    let small = gpu_with(GpuOptions {
        max_binding: Some(100 << 10),
        ..GpuOptions::default()
    });
    let [all, some] =
        [gpu(), small.clone()].map(|gpu| network(&gpu, VGG19_TINY, 2, true).max_batch(0, SIZE));
    assert!(
        all >= 7 && (1..7).contains(&some),
        "{all} and {some} images at a time"
    );
    let parts = run_layers(&small, "features.0", plan, true, portable());
    assert_eq!(parts.losses.len(), whole.losses.len());
    assert!(!whole.losses.is_empty());
    for (part, whole) in parts.losses.iter().zip(&whole.losses) {
        assert!((part - whole).abs() < 1e-4 * whole, "{part} for {whole}");
    }
}

fn dropout_is_seeded() {
    let gpu = gpu();
    let plan = Plan {
        dropout: 0.25,
        ..PLAN
    };
    let run = |plan| {
        run_layers(
            &gpu,
            "features.34,classifier.6",
            plan,
            true,
            Loading::default(),
        )
    };
    let (one, same, none) = (run(plan), run(plan), run(PLAN));
    assert!(adapter_bits(&one) == adapter_bits(&same));
    assert!(adapter_bits(&one) != adapter_bits(&none));
    // Both families drop the same elements.
    let rows = run_layers(&gpu, "features.34,classifier.6", plan, true, portable());
    for (a, b) in one.losses.iter().zip(&rows.losses) {
        assert!((a - b).abs() < 1e-3 * b.max(1.0), "{a} and {b}");
    }
}

fn half_is_near() {
    let gpu = gpu();
    let run = |precision| {
        let how = Loading {
            precision,
            ..portable()
        };
        run_layers(&gpu, "features.28,classifier.3", PLAN, true, how).losses
    };
    let [full, half] = [Precision::F32, Precision::F16].map(run);
    assert_ne!(full, half);
    // The weights' rounding is 5e-4 of each.
    for (a, b) in full.iter().zip(&half) {
        assert!((a - b).abs() < 2e-3 * a, "{a} and {b}");
    }
}
