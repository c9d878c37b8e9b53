//! Augmentation: torchvision's pictures for torchvision's parameters, torchvision's distributions, and variants that hang on
//! the seed and the picture alone.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish::data::{
    Adjustment, Augment, Decoded, Draw, ImageStore, Jitter, RandomCrop, Region, Transform, Variant,
    Variants,
};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Arch};
use goldfish::train::{
    Frozen, Plan, Prefix, Room, Snapshot, Split, StepRecord, Task, Trained, answers, train,
};
use goldfish::{Error, Gpu};
use libtest_mimic::Trial;
use safetensors::SafeTensors;

use crate::cli::{TINY, goldfish};
use crate::support::{adapter, gpu, gpu_trial, network_under, pictures, root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "augment::the_same_parameters_give_torchvisions_pictures",
            torchvisions_pictures,
        ),
        trial(
            "augment::random_parts_are_distributed_as_torchvisions",
            parts,
        ),
        trial("augment::a_part_that_never_fits_is_the_middle", fallback),
        trial(
            "augment::factors_and_their_order_are_distributed_as_torchvisions",
            factors,
        ),
        trial("augment::what_cannot_be_drawn_is_refused_by_name", refused),
        trial(
            "augment::a_variant_hangs_on_the_seed_and_the_picture_alone",
            alone,
        ),
        trial(
            "augment::without_a_random_part_the_middle_is_changed",
            the_middle,
        ),
        gpu_trial(
            "augment::variants_that_are_kept_and_those_that_are_not_give_the_same_bits",
            kept_or_not,
        ),
        gpu_trial("augment::what_validates_is_as_it_is", as_it_is),
        gpu_trial(
            "augment::layers_that_no_variant_needs_any_more_are_given_back",
            given_back,
        ),
        gpu_trial(
            "augment::a_run_says_what_it_draws_keeps_and_pays_and_is_done_again_by_its_settings",
            typed,
        ),
        trial(
            "augment::flags_that_do_not_go_together_are_refused",
            mistyped,
        ),
        gpu_trial(
            "augment::a_run_that_is_taken_up_goes_on_with_its_variants",
            taken_up,
        ),
    ]
}

fn recorded() -> Vec<u8> {
    fs::read(root().join("tests/fixtures/augment.safetensors")).expect("the fixture is there")
}

/// The variant and the side of its crop that the steps of a fixture's name say.
fn variant<'a>(steps: impl Iterator<Item = &'a str>) -> (Variant, Option<usize>) {
    let (mut variant, mut side) = (Variant::default(), None);
    for step in steps {
        let (name, numbers) = step.split_once(' ').unwrap_or((step, ""));
        let numbers: Vec<f64> = numbers
            .split_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect();
        match (name, &numbers[..]) {
            ("crop", &[top, left, height, width, length]) => {
                let [top, left, height, width] = [top, left, height, width].map(|n| n as usize);
                variant.region = Some(Region {
                    top,
                    left,
                    width,
                    height,
                });
                side = Some(length as usize);
            }
            ("flip", []) => variant.flip = true,
            ("brightness", &[f]) => variant.colours.push(Adjustment::Brightness(f)),
            ("contrast", &[f]) => variant.colours.push(Adjustment::Contrast(f)),
            ("saturation", &[f]) => variant.colours.push(Adjustment::Saturation(f)),
            ("hue", &[f]) => variant.colours.push(Adjustment::Hue(f)),
            _ => panic!("{step:?}"),
        }
    }
    (variant, side)
}

fn torchvisions_pictures() {
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let (mut cases, mut samples, mut off) = (0, 0, 0);
    for case in file.names().into_iter().filter(|name| name.contains('|')) {
        let mut steps = case.split(" | ");
        let picture = file.tensor(steps.next().expect("a picture"));
        let picture = picture.expect("it is there");
        let picture = Decoded {
            rgb: picture.data().to_vec(),
            width: picture.shape()[1],
            height: picture.shape()[0],
        };
        let (variant, side) = variant(steps);
        let found = match side {
            Some(size) => variant.of(&picture, Transform { size }),
            None => {
                let mut rgb = picture.rgb.clone();
                if variant.flip {
                    let rows = picture.rgb.chunks(picture.width * 3);
                    rgb = rows
                        .flat_map(|row| row.chunks(3).rev())
                        .flatten()
                        .copied()
                        .collect();
                }
                variant.colours.iter().for_each(|c| c.apply(&mut rgb));
                rgb
            }
        };
        let expected = file.tensor(case).expect("it is listed").data().to_vec();
        assert_eq!(found.len(), expected.len(), "{case}");
        for (a, b) in found.iter().zip(&expected) {
            assert!(a.abs_diff(*b) <= 1, "{case}: {a}, torchvision's is {b}");
            off += usize::from(a != b);
        }
        samples += found.len();
        cases += 1;
    }
    // One sample in a thousand may lie a level aside, where f32 rounds next to a whole level.
    assert!(cases > 80 && samples > 80_000, "{cases}, {samples}");
    assert!(off * 1000 <= samples, "{off} of {samples}");
}

fn draws(augment: Augment, size: [usize; 2], count: usize) -> Vec<Variant> {
    let draw = |variant| {
        let which = Draw {
            seed: 3,
            name: "class/picture.jpg",
            variant,
        };
        augment.draw(which, size)
    };
    (0..count).map(draw).collect()
}

fn parts() {
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let mut seen = 0;
    for case in file.names().into_iter().filter(|n| n.starts_with("crops ")) {
        let numbers: Vec<f64> = case["crops ".len()..]
            .split_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect();
        let augment = Augment {
            crop: Some(RandomCrop {
                scale: [numbers[2], numbers[3]],
                ..RandomCrop::default()
            }),
            ..Augment::default()
        };
        let count = 40_000;
        let drawn = draws(augment, [numbers[0] as usize, numbers[1] as usize], count);
        let drawn: Vec<Region> = drawn.iter().filter_map(|variant| variant.region).collect();
        let table = file.tensor(case).expect("it is listed");
        let table: Vec<f64> = bytemuck::pod_collect_to_vec(table.data());
        let parts: [fn(&Region) -> usize; 4] = [|r| r.top, |r| r.left, |r| r.height, |r| r.width];
        for (part, levels) in parts.iter().zip(table.chunks(18)) {
            for level in levels.chunks(2) {
                let below = drawn.iter().filter(|r| part(r) as f64 <= level[0]).count();
                let share = below as f64 / count as f64;
                // Four and a half deviations of the difference of two such shares.
                let allowed = 4.5 * (2.0 * level[1] * (1.0 - level[1]) / count as f64).sqrt();
                assert!(
                    (share - level[1]).abs() <= allowed + 1e-9,
                    "{case}: {share} are up to {}, of torchvision's {}",
                    level[0],
                    level[1]
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 3 * 4 * 9);
}

fn fallback() {
    let whole = RandomCrop {
        scale: [1.0, 1.0],
        ..RandomCrop::default()
    };
    let augment = Augment {
        crop: Some(whole),
        ..Augment::default()
    };
    // What `RandomResizedCrop.make_params` comes to after its ten attempts.
    for (size, [top, left, height, width]) in [
        ([1000, 10], [0, 493, 10, 13]),
        ([10, 1000], [493, 0, 13, 10]),
        ([1, 90], [44, 0, 1, 1]),
    ] {
        let expected = Region {
            top,
            left,
            width,
            height,
        };
        for variant in draws(augment, size, 20) {
            assert_eq!(variant.region, Some(expected), "{size:?}");
        }
    }
}

/// That `numbers` are uniform in a range: Kolmogorov and Smirnov's, one in a thousand.
fn assert_uniform(name: &str, mut numbers: Vec<f64>, [least, most]: [f64; 2]) {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len() as f64;
    let distance = numbers.iter().enumerate().map(|(i, x)| {
        let expected = (x - least) / (most - least);
        assert!((0.0..=1.0).contains(&expected), "{name}: {x}");
        (expected - i as f64 / n)
            .abs()
            .max((expected - (i + 1) as f64 / n).abs())
    });
    let distance = distance.fold(0.0, f64::max) * n.sqrt();
    assert!(distance < 1.95, "{name}: {distance}");
}

fn factors() {
    let augment = Augment {
        crop: None,
        flip: 0.3,
        jitter: Jitter {
            brightness: 0.4,
            contrast: 1.5,
            saturation: 0.1,
            hue: 0.25,
        },
    };
    let count = 24_000;
    let drawn = draws(augment, [9, 9], count);
    let flips = drawn.iter().filter(|variant| variant.flip).count() as f64;
    let deviation = (count as f64 * 0.3 * 0.7).sqrt();
    assert!(
        (flips - count as f64 * 0.3).abs() < 4.0 * deviation,
        "{flips}"
    );
    let mut factors = [const { Vec::new() }; 4];
    let mut orders = std::collections::BTreeMap::new();
    for variant in &drawn {
        let order: Vec<usize> = variant
            .colours
            .iter()
            .map(|&colour| {
                let (kind, factor) = match colour {
                    Adjustment::Brightness(factor) => (0, factor),
                    Adjustment::Contrast(factor) => (1, factor),
                    Adjustment::Saturation(factor) => (2, factor),
                    Adjustment::Hue(factor) => (3, factor),
                };
                factors[kind].push(factor);
                kind
            })
            .collect();
        *orders.entry(order).or_insert(0) += 1;
    }
    // A contrast of less than nothing there is not.
    let ranges = [[0.6, 1.4], [0.0, 2.5], [0.9, 1.1], [-0.25, 0.25]];
    for ((name, factors), range) in ["brightness", "contrast", "saturation", "hue"]
        .iter()
        .zip(factors)
        .zip(ranges)
    {
        assert_eq!(factors.len(), count, "{name}");
        assert_uniform(name, factors, range);
    }
    let expected = count as f64 / 24.0;
    let square: f64 = orders
        .values()
        .map(|&n| (f64::from(n) - expected).powi(2) / expected)
        .sum();
    // 23 degrees of freedom: 49.7 is one in a thousand.
    assert!(orders.len() == 24 && square < 49.7, "{square}: {orders:?}");
    // What is off is not drawn.
    let only = Augment {
        jitter: Jitter {
            hue: 0.1,
            ..Jitter::default()
        },
        ..Augment::default()
    };
    for variant in draws(only, [9, 9], 9) {
        assert!(!variant.flip && variant.region.is_none());
        assert!(matches!(variant.colours[..], [Adjustment::Hue(_)]));
    }
}

fn refused() {
    let crop = |scale, ratio| Augment {
        crop: Some(RandomCrop { scale, ratio }),
        ..Augment::default()
    };
    let jitter = |brightness, hue| Augment {
        jitter: Jitter {
            brightness,
            hue,
            ..Jitter::default()
        },
        ..Augment::default()
    };
    let flip = |flip| Augment {
        flip,
        ..Augment::default()
    };
    let ratio = [0.75, 1.5];
    for (augment, setting) in [
        (flip(1.1), "flip"),
        (flip(-0.1), "flip"),
        (flip(f64::NAN), "flip"),
        (crop([0.0, 1.0], ratio), "crop_scale"),
        (crop([0.5, 0.4], ratio), "crop_scale"),
        (crop([0.5, 1.1], ratio), "crop_scale"),
        (crop([f64::NAN, 1.0], ratio), "crop_scale"),
        (crop([0.1, 1.0], [0.0, 1.0]), "crop_ratio"),
        (crop([0.1, 1.0], [1.0, f64::INFINITY]), "crop_ratio"),
        (jitter(-0.1, 0.0), "jitter"),
        (jitter(f64::NAN, 0.0), "jitter"),
        (jitter(0.0, 0.6), "jitter"),
    ] {
        let error = augment.check().expect_err("it is refused");
        assert!(
            matches!(error, Error::Setting { name, .. } if name == setting),
            "{error}"
        );
    }
    for sound in [
        Augment::default(),
        flip(1.0),
        crop([1.0, 1.0], [1.0, 1.0]),
        jitter(3.0, 0.5),
    ] {
        assert!(sound.check().is_ok());
    }
}

/// A folder of pictures of several shapes, their paths in order.
fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let sizes = [(40, 50), (60, 40), (33, 90), (32, 32), (64, 64)];
    pictures(folder.path(), "goldfish", &sizes);
    let found = fs::read_dir(folder.path().join("goldfish")).expect("it is there");
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    (folder, paths)
}

fn open(paths: &[PathBuf], memory: u64) -> Arc<ImageStore> {
    let transform = Transform { size: 32 };
    let opened = ImageStore::open(paths, transform, false, memory, false, |_| Ok(()));
    opened.expect("images").0
}

const ALL: Augment = Augment {
    crop: Some(RandomCrop {
        scale: [0.3, 1.0],
        ratio: [0.75, 1.25],
    }),
    flip: 0.5,
    jitter: Jitter {
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.1,
    },
};

fn alone() {
    let (_folder, paths) = folder();
    let crops = |store: &ImageStore, indices: &[usize]| store.batch(indices).expect("crops").crops;
    let plain = crops(&open(&paths, 0), &[0, 1, 2, 3, 4]);
    for augment in [ALL, Augment { crop: None, ..ALL }] {
        let store = |paths: &[PathBuf], memory, seed, count| {
            let variants = Variants {
                augment,
                seed,
                count,
            };
            let all: Vec<usize> = (0..paths.len()).collect();
            let augmented = open(paths, memory).augmented(variants, &all);
            augmented.expect("augmented")
        };
        let images = store(&paths, 1 << 20, 7, Some(3));
        assert_eq!(images.len(), 5);
        // The images themselves come first.
        let all = crops(&images, &(0..20).collect::<Vec<_>>());
        assert_eq!(all[..5 * 3072], plain);
        let one = |index: usize| &all[index * 3072..][..3072];
        for a in 0..20 {
            for b in 0..a {
                assert_ne!(one(a), one(b), "{a} and {b}");
            }
        }
        // In any order, whatever was made before and whatever is in memory.
        for memory in [0, 20_000, 1 << 20] {
            let images = store(&paths, memory, 7, Some(3));
            let order = [19, 3, 8, 13, 3, 0, 5, 10];
            let found = crops(&images, &order);
            for (found, index) in found.chunks(3072).zip(order) {
                assert_eq!(found, one(index), "{memory}: {index}");
                assert_eq!(images.path(index), paths[index % 5]);
                assert_eq!(images.image(index), index % 5);
            }
        }
        // Beside other pictures, without an end of variants.
        let fewer = store(&paths[2..], 0, 7, None);
        for (image, variant) in [(0, 0), (1, 2), (2, 1)] {
            assert_eq!(
                crops(&fewer, &[fewer.position(image, variant)]),
                one(images.position(image + 2, variant))
            );
        }
        assert_eq!(images.position(2, 4), images.position(2, 1));
        // Where the data lies somewhere else.
        let (_other, moved) = folder();
        assert_eq!(crops(&store(&moved, 0, 7, None), &[9]), one(9));
        // Another seed, other variants.
        assert_ne!(crops(&store(&paths, 0, 8, None), &[9]), one(9));
    }
    assert_eq!(open(&paths, 0).position(3, 2), 3);
    let variants = Variants {
        augment: ALL,
        seed: 0,
        count: None,
    };
    for count in [Some(0), Some(usize::MAX)] {
        let wrong = Variants { count, ..variants };
        let error = open(&paths, 0)
            .augmented(wrong, &[0])
            .expect_err("it is refused");
        assert!(error.to_string().contains("between 1 and"), "{error}");
    }
    let augment = Augment { flip: 2.0, ..ALL };
    let wrong = Variants {
        augment,
        ..variants
    };
    assert!(open(&paths, 0).augmented(wrong, &[0]).is_err());
    // What is not trained on has none, and is asked for again and again.
    let few = |count| {
        let variants = Variants { count, ..variants };
        let images = open(&paths, 0).augmented(variants, &[4, 1]);
        images.expect("augmented")
    };
    let images = few(None);
    assert_eq!(
        [0, 1, 4].map(|image| images.position(image, 6)),
        [0, 36, 39]
    );
    assert_eq!(images.lasting(), [0, 2, 3]);
    assert_eq!(few(Some(2)).lasting(), [0, 6, 11, 2, 3, 9, 14]);
    assert_eq!(open(&paths, 0).lasting(), [0, 1, 2, 3, 4]);
}

fn the_middle() {
    let (_folder, paths) = folder();
    let plain = open(&paths, 0);
    let crops = |augment: Augment| {
        let variants = Variants {
            augment,
            seed: 0,
            count: Some(1),
        };
        let all = [0, 1, 2, 3, 4];
        let images = plain.clone().augmented(variants, &all).expect("augmented");
        images.batch(&[5, 6, 7, 8, 9]).expect("crops").crops
    };
    let middle = plain.batch(&[0, 1, 2, 3, 4]).expect("crops").crops;
    assert!(Augment::default().is_none() && !ALL.is_none());
    assert_eq!(crops(Augment::default()), middle);
    let flipped = middle.chunks(32 * 3).flat_map(|row| row.chunks(3).rev());
    let flipped: Vec<u8> = flipped.flatten().copied().collect();
    assert_eq!(
        crops(Augment {
            flip: 1.0,
            ..Augment::default()
        }),
        flipped
    );
}

const PLAN: Plan = Plan {
    epochs: 4,
    batch_size: 2,
    lr: 1e-3,
    seed: 5,
    dropout: 0.1,
    ..Plan::TUTORIAL
};

/// A run on five pictures, of which those that `split` says are augmented.
struct Run {
    gpu: Gpu,
    start: Adapter,
    images: Arc<ImageStore>,
    split: Split,
    _folder: tempfile::TempDir,
}

const LABELS: [u32; 5] = [1, 7, 1, 999, 7];

impl Run {
    fn new(targets: &str, variants: Option<Variants>, validation: &[usize]) -> Self {
        let (_folder, paths) = folder();
        let gpu = gpu();
        let train: Vec<usize> = (0..5).filter(|i| !validation.contains(i)).collect();
        let images = open(&paths, 1 << 20);
        Run {
            start: adapter(&gpu, VGG19_TINY, 32, targets, [3, 3], (Init::Kaiming, 1)),
            images: match variants {
                Some(variants) => images.augmented(variants, &train).expect("augmented"),
                None => images,
            },
            split: Split {
                train,
                validation: validation.to_vec(),
            },
            gpu,
            _folder,
        }
    }

    fn prefix(&self, cache: bool) -> Prefix {
        let base = network_under(&self.gpu, 2, &self.start);
        let room = cache.then(|| Room::of(1 << 30));
        let mut prefix = Prefix::new(base, &self.start, &self.images, room);
        prefix.fill(&self.images, |_| Ok(())).expect("filled");
        prefix
    }

    fn train(&self, prefix: &mut Prefix, start: impl Into<Snapshot>, epochs: usize) -> Trained {
        let task = Task {
            images: &self.images,
            labels: &LABELS,
            split: &self.split,
            plan: Plan { epochs, ..PLAN },
            stop: &AtomicBool::new(false),
        };
        train(prefix, task, start, &mut |_: StepRecord| Ok(())).expect("a run")
    }

    /// The adapter's bits and the losses after all epochs, and how many images went through the frozen layers.
    fn whole(&self, cache: bool) -> (Vec<u32>, usize) {
        let mut prefix = self.prefix(cache);
        let trained = self.train(&mut prefix, self.start.clone(), PLAN.epochs);
        assert!(trained.end.is_ok(), "{:?}", trained.end);
        (bits(&trained), prefix.passes())
    }
}

fn bits(trained: &Trained) -> Vec<u32> {
    let factors = trained.adapter.trained();
    let factors = factors.iter().flat_map(|f| f.to_vec().expect("numbers"));
    let losses = trained.losses.iter().copied();
    factors.chain(losses).map(f32::to_bits).collect()
}

fn variants(count: Option<usize>) -> Variants {
    Variants {
        augment: ALL,
        seed: 5,
        count,
    }
}

fn kept_or_not() {
    for (targets, frozen) in [
        ("pixels", true),
        ("classifier.3", true),
        ("features.0", false),
    ] {
        let run = |variants, cache| Run::new(targets, variants, &[]).whole(cache);
        let passes = |n: usize| if frozen { n } else { 0 };
        // Two of each, kept: each goes through the frozen layers once. Not kept, in every epoch.
        let (two, once) = run(Some(variants(Some(2))), true);
        assert_eq!(once, passes(10), "{targets}");
        let (streamed, each) = run(Some(variants(Some(2))), false);
        assert_eq!(each, passes(20), "{targets}");
        assert!(two == streamed, "{targets}: kept or not");
        assert!(
            two == run(Some(variants(Some(2))), true).0,
            "{targets}: twice"
        );
        // As many as epochs are those of an endless row, of which none is kept.
        let (endless, each) = run(Some(variants(None)), true);
        assert_eq!(each, passes(20), "{targets}");
        assert!(
            endless == run(Some(variants(Some(4))), true).0,
            "{targets}: endless"
        );
        // They are different runs, by the number of variants, by their seed, and without.
        let other = Variants {
            seed: 6,
            ..variants(None)
        };
        assert!(
            endless != two && endless != run(Some(other), false).0,
            "{targets}"
        );
        assert!(endless != run(None, true).0, "{targets}: as they are");
    }
}

fn as_it_is() {
    for cache in [true, false] {
        let of = |variants| {
            let run = Run::new("classifier.3", variants, &[1, 3]);
            let mut prefix = run.prefix(cache);
            let filled = prefix.passes();
            let mut said = Vec::new();
            // Those that are trained on as well, when they are asked for themselves.
            let all = [0, 1, 2, 3, 4];
            answers(
                &mut prefix,
                &run.images,
                &all,
                &run.start,
                |image, logits| {
                    said.push((
                        image,
                        logits.iter().map(|l| l.to_bits()).collect::<Vec<_>>(),
                    ));
                    Ok(())
                },
            )
            .expect("answers");
            (said, filled)
        };
        let (plain, filled) = of(None);
        assert_eq!(filled, if cache { 5 } else { 0 });
        // Two that validate, and no variants or three of each that is trained on.
        for (count, kept) in [(None, 2), (Some(3), 2 + 3 * 3)] {
            let (said, filled) = of(Some(variants(count)));
            assert_eq!(filled, if cache { kept } else { 0 });
            assert!(said == plain, "{count:?}, {cache}");
        }
    }
}

fn given_back() {
    let fresh = |run: &Run, steps: bool| {
        let base = network_under(&run.gpu, 2, &run.start);
        let room = Some(Room::of(1 << 30));
        let frozen = Frozen::new(&run.gpu, VGG19_TINY, &run.start, &run.images, room);
        let frozen = if steps { frozen.for_steps() } else { frozen };
        let mut prefix = Prefix::over(base, frozen);
        prefix.fill(&run.images, |_| Ok(())).expect("filled");
        prefix
    };
    // Whether the layers below are there yet: an image of its own goes through them.
    let there = |run: &Run, prefix: &mut Prefix| {
        let said = answers(prefix, &run.images, &[0], &run.start, |_, _| Ok(()));
        match said {
            Ok(()) => true,
            Err(error) => {
                assert!(error.to_string().contains("was released"), "{error}");
                false
            }
        }
    };
    for (count, steps, expected) in [
        (Some(2), true, false),
        (Some(2), false, true),
        (None, true, true),
    ] {
        let run = Run::new("classifier.3", Some(variants(count)), &[1, 3]);
        let mut prefix = fresh(&run, steps);
        let trained = run.train(&mut prefix, run.start.clone(), PLAN.epochs);
        assert!(trained.end.is_ok(), "{:?}", trained.end);
        assert!(bits(&trained) == run.whole(false).0, "{count:?} {steps}");
        assert_eq!(there(&run, &mut prefix), expected, "{count:?} {steps}");
        // For another run on the same variants, and for no other.
        let frozen = prefix.into_frozen();
        assert_eq!(frozen.complete(), !expected, "{count:?} {steps}");
        let suits = |run: &Run| frozen.suits(VGG19_TINY, &run.start, &run.images);
        let of = |targets, variants, apart: &[usize]| suits(&Run::new(targets, variants, apart));
        assert!(suits(&run) && of("classifier.3", Some(variants(count)), &[1, 3]));
        assert!(!of("classifier.3", Some(variants(count)), &[1]));
        assert!(!of("classifier.3", Some(variants(Some(3))), &[1, 3]));
        let other = Variants {
            seed: 6,
            ..variants(count)
        };
        assert!(!of("classifier.3", Some(other), &[1, 3]));
        assert!(!of("classifier.3", None, &[1, 3]));
        assert!(!of("classifier.0", Some(variants(count)), &[1, 3]));
        // The same layer by number, of another network.
        let arch = Arch {
            name: "another",
            ..VGG19_TINY
        };
        assert!(!frozen.suits(arch, &run.start, &run.images));
    }
}

fn taken_up() {
    for count in [None, Some(3)] {
        let run = Run::new("classifier.3", Some(variants(count)), &[2]);
        let (whole, _) = run.whole(true);
        let first = run.train(&mut run.prefix(true), run.start.clone(), 2);
        let snapshot = first.snapshot.expect("it did not diverge");
        let rest = run.train(&mut run.prefix(false), snapshot, PLAN.epochs);
        let losses: Vec<f32> = first
            .losses
            .into_iter()
            .chain(rest.losses.clone())
            .collect();
        assert!(bits(&Trained { losses, ..rest }) == whole, "{count:?}");
    }
}

/// `data/` with two classes of three images.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc"] {
        let sizes = [(40, 50), (60, 40), (33, 90)];
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

fn typed() {
    let folder = data();
    let at = folder.path();
    let run = |out: &str, more: &[&str]| {
        let words = ["train", "-o", out, "--overwrite", "--store", "off"];
        let done = goldfish(at).args([&words[..], more].concat()).assert();
        let done = done.success();
        let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
        let file = |name: &str| fs::read(at.join(out).join(name)).expect("a file");
        let settings = String::from_utf8(file("run.toml")).expect("text");
        let settings: toml::Table = settings.parse().expect("settings");
        (said, settings, file("adapter_model.safetensors"))
    };
    let usual = ["data", "--val-split", "0.34", "--epochs", "3"];
    let with = |more: &[&'static str]| [&usual[..], &TINY, more].concat();
    let floats = |settings: &toml::Table, name: &str| -> Option<Vec<f64>> {
        let numbers = settings.get(name)?.as_array()?.iter();
        Some(numbers.map(|n| n.as_float().expect("a number")).collect())
    };
    let (said, settings, plain) = run("plain", &with(&[]));
    assert!(!said.contains("augment "), "{said}");
    assert_eq!(settings["augment"].as_str(), Some("none"));
    assert_eq!(settings["flip"].as_float(), Some(0.0));
    assert_eq!(floats(&settings, "jitter"), Some(vec![0.0; 4]));
    assert_eq!(floats(&settings, "crop_scale"), None);
    let (said, settings, strong) = run("strong", &with(&["--augment", "strong"]));
    for words in [
        "augment  parts of 8 to 100 % of a picture, 0.75 to 1.333 times as wide as high, 50 % flipped, brightness by up to 0.4,",
        "augment  other variants in every epoch, none kept: 4 passes through the frozen layers in every epoch, 3 times",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(settings["flip"].as_float(), Some(0.5));
    assert_eq!(floats(&settings, "crop_scale"), Some(vec![0.08, 1.0]));
    assert_eq!(floats(&settings, "jitter"), Some(vec![0.4, 0.4, 0.4, 0.1]));
    assert!(strong != plain);
    assert!(run("again", &["--config", "strong/run.toml"]).2 == strong);
    let two = [
        "--augment",
        "strong",
        "--flip",
        "0.25",
        "--cache-variants",
        "2",
    ];
    let (said, settings, two) = run("two", &with(&two));
    let words =
        "augment  2 variants of each of 4 images, kept: 8 passes through the frozen layers once, ";
    assert!(said.contains(words), "{said}");
    assert!(said.contains("25 % flipped"), "{said}");
    assert_eq!(settings["cache_variants"].as_integer(), Some(2));
    assert_eq!(settings["flip"].as_float(), Some(0.25));
    assert!(run("again", &["--config", "two/run.toml", "--cache", "off"]).2 == two);
}

fn mistyped() {
    let folder = data();
    for (words, problem) in [
        (&["--jitter", "0.1,0.1"][..], "--jitter takes 4 numbers"),
        (&["--crop-scale", "0.5"], "--crop-scale takes 2 numbers"),
        (&["--crop-scale", "0.5,2"], "--crop-scale must be"),
        (&["--crop-ratio", "2,1"], "--crop-ratio must be"),
        (&["--flip", "1.5"], "--flip must"),
        (
            &["--augment", "light", "--cache-variants", "0"],
            "--cache-variants must",
        ),
        (&["--cache-variants", "2"], "say how with --augment"),
    ] {
        let words = [&["train", "data", "-o", "run"][..], &TINY, words].concat();
        let done = goldfish(folder.path()).args(words).assert().code(2);
        let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
        assert!(said.contains(problem), "{said}");
        assert!(!folder.path().join("run").exists());
    }
}
