//! Training on a tiny network: what must change changes, what must not does not, to the bit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::data::{ImageStore, Transform};
use goldfish::nn::lora::{Init, Lora};
use goldfish::nn::vgg::{VGG19_TINY, Vgg};
use goldfish::nn::{Frozen, Source};
use goldfish::train::{FrozenLogits, Plan, Room, Trained, train};
use goldfish::{Error, Gpu, GpuOptions, Tensor};
use libtest_mimic::Trial;

use crate::support::{gpu, gpu_trial, gpu_with, pictures};

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
            "training::live_buffers_are_as_many_at_step_ten_as_at_step_two",
            no_leak,
        ),
        gpu_trial(
            "training::a_loss_that_is_not_finite_stops_with_the_last_good_adapter",
            diverges,
        ),
        gpu_trial("training::a_stop_keeps_the_adapter_so_far", stops),
    ]
}

const SIZE: usize = 32;
const PLAN: Plan = Plan {
    epochs: 4,
    batch_size: 3,
    lr: 1e-3,
    seed: 5,
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
        ImageStore::open(&paths, transform, false, 1 << 20, false, |_| {}).expect("images");
    (folder, images, vec![1, 1, 7, 1, 7, 999, 999])
}

fn lora(gpu: &Gpu, seed: u64) -> Lora {
    Lora::new(gpu, [3 * SIZE * SIZE, 1000], 5, 5.0, Init::Tutorial, seed).expect("an adapter")
}

fn base(gpu: &Gpu) -> Frozen {
    Frozen::load(gpu, VGG19_TINY, &Source::Random(2), |_| {}).expect("a network")
}

fn run(gpu: &Gpu, plan: Plan, cache: bool, seed: u64) -> Trained {
    let (_folder, images, labels) = images();
    let base = base(gpu);
    let mut frozen = FrozenLogits::new(&base, &images, cache.then(|| Room::of(1 << 30)));
    train(
        &mut frozen,
        &images,
        &labels,
        lora(gpu, seed),
        plan,
        &AtomicBool::new(false),
        |_| Ok(()),
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

fn adapter_bits(trained: &Trained) -> [Vec<u32>; 2] {
    [bits(&trained.lora.a), bits(&trained.lora.b)]
}

fn learns() {
    let gpu = gpu();
    let (_folder, images, labels) = images();
    let vgg = Vgg::load(&gpu, VGG19_TINY, &Source::Random(2), |_| {}).expect("a network");
    let before: Vec<Vec<u32>> = vgg.parameters().values().map(bits).collect();
    let base = Frozen::portable(vgg.clone());
    let mut frozen = FrozenLogits::new(&base, &images, Some(Room::of(1 << 30)));
    let plan = Plan { epochs: 12, ..PLAN };
    let trained = train(
        &mut frozen,
        &images,
        &labels,
        lora(&gpu, 1),
        plan,
        &AtomicBool::new(false),
        |_| Ok(()),
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
    let start = bits(&lora(&gpu, 1).a);
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
    assert!(bits(&one.lora.a) == start, "A rests in step 1");
    assert!(
        bits(&one.lora.b).iter().any(|&b| b != 0),
        "B moves in step 1"
    );
    assert!(bits(&two.lora.a) != start, "A moves in step 2");
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
    let base = base(&gpu);
    let mut frozen = FrozenLogits::new(&base, &images, Some(Room::of(1 << 30)));
    let plan = Plan {
        epochs: 12,
        batch_size: 7,
        ..PLAN
    };
    let mut live = Vec::new();
    let report = |_| {
        live.push(gpu.pool_stats().live);
        Ok(())
    };
    train(
        &mut frozen,
        &images,
        &labels,
        lora(&gpu, 1),
        plan,
        &AtomicBool::new(false),
        report,
    )
    .expect("a run");
    assert_eq!(live.len(), 12);
    assert_eq!(live[1], live[9], "{live:?}");
}

fn diverges() {
    let gpu = gpu();
    // The first update moves every B by the learning rate; products of 1e38 overflow.
    let trained = run(&gpu, Plan { lr: 1e38, ..PLAN }, true, 1);
    let Err(Error::NonFinite { step, lr, .. }) = trained.end else {
        panic!("{:?}", trained.end)
    };
    assert_eq!((step, lr), (trained.losses.len() as u64 + 1, 1e38));
    assert!(trained.losses.iter().all(|l| l.is_finite()));
    let values = [&trained.lora.a, &trained.lora.b].map(|t| t.to_vec().expect("data"));
    assert!(values.iter().flatten().all(|v| v.is_finite()));
}

fn stops() {
    let gpu = gpu();
    let (_folder, images, labels) = images();
    let base = base(&gpu);
    let mut frozen = FrozenLogits::new(&base, &images, Some(Room::of(1 << 30)));
    let stop = AtomicBool::new(false);
    let report = |record: goldfish::train::StepRecord| {
        stop.store(record.step == 2, Ordering::Relaxed);
        Ok(())
    };
    let trained = train(
        &mut frozen,
        &images,
        &labels,
        lora(&gpu, 1),
        PLAN,
        &stop,
        report,
    )
    .expect("a run");
    let Err(Error::Interrupted { step }) = trained.end else {
        panic!("{:?}", trained.end)
    };
    assert_eq!(step, trained.losses.len() as u64);
    assert!((2..12).contains(&step), "{step}");
    // What is kept is the adapter after as many steps of an uninterrupted run: one epoch has three.
    let whole = run(&gpu, PLAN, true, 1);
    assert_eq!(trained.losses, whole.losses[..step as usize]);
}
