//! How a run takes its steps: gathered gradients, schedules, the most steps, weighed classes, and a stop between any two of
//! them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::data::{ImageStore, Transform};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::optim::{Curve, Rule, Schedule, Settings};
use goldfish::train::{
    ClassWeights, EpochRecord, Plan, Prefix, Recipe, Room, Snapshot, Split, StepRecord, Task,
    Trained, Watch, train,
};
use libtest_mimic::Trial;
use predicates::str::contains;

use crate::cli::{TINY, goldfish};
use crate::support::{adapter, error, gpu, gpu_trial, network_under, pictures, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "recipe::what_cannot_train_is_refused_by_name",
            refused_by_name,
        ),
        trial("recipe::the_most_steps_cut_the_last_epoch", cut_short),
        gpu_trial("recipe::flags_are_settings_of_a_run", flags),
        gpu_trial("recipe::flags_that_cannot_train_are_refused", wrong_flags),
        gpu_trial("recipe::gathered_batches_are_one_large_batch", gathered),
        gpu_trial("recipe::each_step_has_the_rate_of_the_schedule", rates),
        gpu_trial("recipe::the_rare_weigh_more", weighed),
        gpu_trial(
            "recipe::an_epoch_s_loss_is_that_of_its_images_at_once",
            epoch_loss,
        ),
        gpu_trial(
            "recipe::a_run_that_was_stopped_goes_on_to_the_same_bits",
            goes_on,
        ),
    ]
}

const SIZE: usize = 32;
const LABELS: [u32; 7] = [1, 1, 7, 1, 7, 999, 1];
const SGD: Settings = Settings {
    rule: Rule::Sgd,
    momentum: 0.9,
    nesterov: true,
    weight_decay: 0.01,
    ..Settings::ADAM
};
/// Three steps an epoch.
const PLAN: Plan = Plan {
    epochs: 4,
    batch_size: 3,
    lr: 1e-3,
    seed: 5,
    ..Plan::TUTORIAL
};

/// What a run says, and when it is stopped.
struct Heard<'a> {
    rates: Vec<f64>,
    /// Of each epoch, the mean training loss.
    epochs: Vec<f64>,
    most: u64,
    stop: &'a AtomicBool,
}

impl Watch for Heard<'_> {
    fn step(&mut self, record: StepRecord) -> goldfish::Result<()> {
        self.rates.push(record.lr);
        self.stop.store(record.step >= self.most, Ordering::Relaxed);
        Ok(())
    }

    fn epoch(&mut self, record: EpochRecord) -> goldfish::Result<()> {
        self.epochs.push(record.train_loss);
        Ok(())
    }
}

/// Seven images on a tiny network.
struct Bench {
    _folder: tempfile::TempDir,
    images: Arc<ImageStore>,
    targets: &'static str,
}

impl Bench {
    fn new(targets: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sizes = [
            (40, 50),
            (60, 40),
            (33, 90),
            (32, 32),
            (64, 64),
            (50, 41),
            (99, 37),
        ];
        pictures(folder.path(), "a", &sizes);
        let path = |i| folder.path().join(format!("a/{i}.png"));
        let paths: Vec<PathBuf> = (0..7).map(path).collect();
        let transform = Transform { size: SIZE };
        let images = ImageStore::open(&paths, transform, false, 1 << 20, false, |_| Ok(()));
        Bench {
            images: images.expect("images").0,
            _folder: folder,
            targets,
        }
    }

    /// Goes on from `start`, or starts; stops once `most` steps are done. With the rate of each step.
    fn run(&self, plan: Plan, start: Option<Snapshot>, most: u64) -> (Trained, Vec<f64>) {
        let (trained, [rates, _]) = self.heard(plan, start, most);
        (trained, rates)
    }

    /// The same with the loss of each epoch too.
    fn heard(&self, plan: Plan, start: Option<Snapshot>, most: u64) -> (Trained, [Vec<f64>; 2]) {
        let gpu = gpu();
        let fresh = || {
            adapter(
                &gpu,
                VGG19_TINY,
                SIZE,
                self.targets,
                [4, 4],
                (Init::Kaiming, 1),
            )
        };
        let start = start.unwrap_or_else(|| fresh().into());
        let base = network_under(&gpu, 2, &start.adapter);
        let room = Some(Room::of(1 << 30));
        let mut prefix = Prefix::new(base, &start.adapter, &self.images, room);
        let stop = AtomicBool::new(false);
        let task = Task {
            images: &self.images,
            labels: &LABELS,
            split: &Split::all(LABELS.len()),
            plan,
            stop: &stop,
        };
        let mut heard = Heard {
            rates: Vec::new(),
            epochs: Vec::new(),
            most,
            stop: &stop,
        };
        let trained = train(&mut prefix, task, start, &mut heard);
        (trained.expect("a run"), [heard.rates, heard.epochs])
    }
}

fn numbers(trained: &Trained) -> Vec<Vec<f32>> {
    let factors = trained.adapter.trained();
    let numbers = factors.iter().map(|factor| factor.to_vec());
    numbers.collect::<Result<_, _>>().expect("numbers")
}

fn with(recipe: Recipe) -> Plan {
    Plan { recipe, ..PLAN }
}

fn refused_by_name() {
    let base = Recipe::ADAM;
    for (name, wrong) in [
        (
            "clip_norm",
            Recipe {
                clip_norm: Some(0.0),
                ..base
            },
        ),
        (
            "grad_accum",
            Recipe {
                grad_accum: 0,
                ..base
            },
        ),
        (
            "max_steps",
            Recipe {
                max_steps: Some(0),
                ..base
            },
        ),
        (
            "label_smoothing",
            Recipe {
                label_smoothing: 1.0,
                ..base
            },
        ),
        (
            "momentum",
            Recipe {
                optimizer: Settings {
                    momentum: 1.0,
                    ..SGD
                },
                ..base
            },
        ),
    ] {
        let text = with(wrong).check().expect_err(name).to_string();
        assert!(text.contains(name), "{text}");
    }
    PLAN.check().expect("it can train");
}

fn cut_short() {
    let all: Vec<usize> = (10..17).collect();
    let recipe = |grad_accum, max_steps| {
        with(Recipe {
            grad_accum,
            max_steps,
            ..Recipe::ADAM
        })
    };
    let steps = |plan: &Plan| -> Vec<usize> {
        let epochs = (0..5).map(|epoch| plan.order(epoch, &all).len());
        epochs.collect()
    };
    assert_eq!(steps(&recipe(1, None)), [3, 3, 3, 3, 0]);
    assert_eq!(steps(&recipe(1, Some(5))), [3, 2, 0, 0, 0]);
    assert_eq!(steps(&recipe(2, Some(7))), [2, 2, 2, 1, 0]);
    assert_eq!(steps(&recipe(9, None)), [1, 1, 1, 1, 0]);
    assert_eq!(
        (recipe(2, None).steps(7), recipe(1, Some(99)).steps(7)),
        (8, 12)
    );
    // The gathered are the images of the large batch.
    let large = Plan {
        batch_size: 6,
        ..PLAN
    };
    assert_eq!(recipe(2, None).order(1, &all), large.order(1, &all));
}

/// `data/` with two classes of your own.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc"] {
        let sizes = [(40, 50), (60, 40), (33, 90), (48, 37)];
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

fn flags() {
    let folder = data();
    let at = folder.path();
    let flags = [
        "--optimizer=adamw",
        "--betas=0.8,0.99",
        "--schedule=linear",
        "--warmup=2",
        "--clip-norm=0.5",
        "--batch-size=2",
        "--grad-accum=2",
        "--max-steps=5",
        "--label-smoothing=0.1",
        "--class-weights=balanced",
    ];
    let run = ["train", "data", "--targets", "head", "-o", "one"];
    goldfish(at)
        .args(run)
        .args(TINY)
        .args(flags)
        .assert()
        .success();
    let settings = std::fs::read_to_string(at.join("one/run.toml")).expect("settings");
    let settings: toml::Table = settings.parse().expect("TOML");
    let expected = "optimizer = 'adamw'\nweight_decay = 0.01\nbetas = '0.8,0.99'\neps = 1e-8\nmomentum = 0.0\n\
         nesterov = false\nschedule = 'linear'\nwarmup = 2\nstep_gamma = 0.1\nclip_norm = 0.5\nbatch_size = 2\n\
         grad_accum = 2\nmax_steps = 5\nlabel_smoothing = 0.1\nclass_weights = 'balanced'";
    for (key, value) in expected.parse::<toml::Table>().expect("TOML") {
        assert_eq!(settings.get(&key), Some(&value), "{key}");
    }
    let metrics = std::fs::read_to_string(at.join("one/metrics.jsonl")).expect("metrics");
    let rates: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line.get("loss").is_some())
        .map(|line| line["lr"].as_f64().expect("a rate"))
        .collect();
    assert_eq!(rates.len(), 5, "{metrics}");
    for (rate, share) in rates.iter().zip([0.5, 1.0, 1.0, 2.0 / 3.0, 1.0 / 3.0]) {
        assert!((rate / 1e-3 - share).abs() < 1e-12, "{rates:?}");
    }
    let again = ["train", "--config", "one/run.toml", "-o", "two"];
    goldfish(at).args(again).assert().success();
    let adapter = |run: &str| std::fs::read(at.join(run).join("adapter_model.safetensors"));
    let (one, two) = (adapter("one").expect("one"), adapter("two").expect("two"));
    assert!(one == two, "run.toml does the run again");
}

fn wrong_flags() {
    let folder = data();
    for (flag, code, said) in [
        ("--momentum=1", 2, "--momentum must be"),
        ("--nesterov", 2, "--nesterov looks ahead along a momentum"),
        ("--betas=0.9", 2, "is not two numbers"),
        ("--betas=0.9,1", 2, "--betas must be"),
        ("--eps=0", 2, "--eps must be"),
        ("--weight-decay=-1", 2, "--weight-decay must be"),
        ("--clip-norm=0", 2, "--clip-norm must be"),
        ("--grad-accum=0", 2, "--grad-accum must be"),
        ("--max-steps=0", 2, "--max-steps must be"),
        ("--label-smoothing=1", 2, "--label-smoothing must be"),
        ("--step-gamma=2 --schedule=step", 2, "--step-gamma must be"),
        ("--step-every=0 --schedule=step", 2, "--step-every must be"),
        ("--optimizer=lion", 2, "adamw"),
        ("--fold=1/1", 2, "--fold 1/1: K must lie between 2 and"),
    ] {
        let run = goldfish(folder.path())
            .args(["train", "data", "-o", "run"])
            .args(TINY)
            .args(flag.split(' '))
            .assert();
        run.code(code).stderr(contains(said));
    }
}

/// All that touches a step's images is on.
fn gathered() {
    for targets in ["pixels", "features.28,classifier.0"] {
        let bench = Bench::new(targets);
        let recipe = Recipe {
            optimizer: SGD,
            clip_norm: Some(0.5),
            label_smoothing: 0.1,
            class_weights: ClassWeights::Balanced,
            ..Recipe::ADAM
        };
        let plan = Plan {
            dropout: 0.3,
            lr: 0.01,
            ..with(recipe)
        };
        let large = Plan {
            batch_size: 6,
            ..plan
        };
        let small = Plan {
            batch_size: 2,
            recipe: Recipe {
                grad_accum: 3,
                ..recipe
            },
            ..plan
        };
        let [(one, _), (parts, _)] = [large, small].map(|plan| bench.run(plan, None, u64::MAX));
        let exact = |v: &[f32]| -> Vec<f64> { v.iter().map(|&v| f64::from(v)).collect() };
        assert_eq!(parts.losses.len(), 8);
        let losses = error(&parts.losses, &exact(&one.losses));
        assert!(losses < 1e-6, "{targets}: losses {losses:.1e}");
        for (parts, one) in numbers(&parts).iter().zip(&numbers(&one)) {
            let error = error(parts, &exact(one));
            assert!(error < 1e-5, "{targets}: {error:.1e}");
        }
    }
}

fn rates() {
    let bench = Bench::new("pixels");
    let schedule = Schedule {
        curve: Curve::Linear,
        warmup: 2,
    };
    let (_, found) = bench.run(
        with(Recipe {
            schedule,
            max_steps: Some(7),
            ..Recipe::ADAM
        }),
        None,
        u64::MAX,
    );
    let expected = [0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2];
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found / PLAN.lr - expected).abs() < 1e-12, "{found}");
    }
}

fn weighed() {
    let bench = Bench::new("pixels");
    let whole = Plan {
        batch_size: 7,
        epochs: 1,
        ..PLAN
    };
    let balanced = Plan {
        recipe: Recipe {
            class_weights: ClassWeights::Balanced,
            ..Recipe::ADAM
        },
        ..whole
    };
    let [(even, _), (balanced, _)] = [whole, balanced].map(|plan| bench.run(plan, None, 1));
    assert_ne!(even.losses, balanced.losses);
    assert!(numbers(&even) != numbers(&balanced));
}

/// PyTorch's mean over a batch is by the weights of its labels: that of an epoch is the same over all of its steps.
fn epoch_loss() {
    let bench = Bench::new("pixels");
    for class_weights in [ClassWeights::Even, ClassWeights::Balanced] {
        let recipe = Recipe {
            class_weights,
            label_smoothing: 0.1,
            ..Recipe::ADAM
        };
        let small = Plan {
            epochs: 1,
            // Nothing is learned that a later step could see.
            lr: 1e-30,
            ..with(recipe)
        };
        let whole = Plan {
            batch_size: 7,
            ..small
        };
        let [parts, one] = [small, whole].map(|plan| bench.heard(plan, None, u64::MAX));
        assert_eq!((parts.0.losses.len(), one.0.losses.len()), (3, 1));
        let (parts, one) = (parts.1[1][0], f64::from(one.0.losses[0]));
        assert!((parts - one).abs() < 1e-6 * one, "{parts} and {one}");
    }
}

/// In the middle of an epoch, and at the end of one.
fn goes_on() {
    let adamw = Recipe {
        optimizer: Settings {
            rule: Rule::AdamW,
            weight_decay: 0.1,
            ..Settings::ADAM
        },
        schedule: Schedule {
            curve: Curve::Cosine,
            warmup: 3,
        },
        clip_norm: Some(0.2),
        grad_accum: 2,
        max_steps: Some(7),
        label_smoothing: 0.1,
        class_weights: ClassWeights::Balanced,
    };
    let sgd = Recipe {
        optimizer: SGD,
        schedule: Schedule {
            curve: Curve::Step {
                every: Some(2),
                gamma: 0.5,
            },
            warmup: 0,
        },
        ..adamw
    };
    let bench = Bench::new("pixels");
    for recipe in [adamw, sgd] {
        let plan = Plan {
            dropout: 0.3,
            ..with(recipe)
        };
        let (whole, rates) = bench.run(plan, None, u64::MAX);
        assert_eq!((whole.steps, whole.epochs, rates.len()), (7, 4, 7));
        for most in [3, 4] {
            let (first, mut found) = bench.run(plan, None, most);
            // A GPU has some more under way when it hears of the stop.
            assert!(first.steps >= most);
            let (second, more) = bench.run(plan, first.snapshot, u64::MAX);
            found.extend(more);
            assert_eq!((second.steps, second.epochs), (7, 4));
            assert!(found == rates && numbers(&second) == numbers(&whole));
            // There is nothing left to do.
            let (third, none) = bench.run(plan, second.snapshot, u64::MAX);
            assert!(none.is_empty() && numbers(&third) == numbers(&whole));
        }
    }
}
