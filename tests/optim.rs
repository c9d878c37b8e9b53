//! Optimisers, schedules, clipping and criteria against PyTorch's numbers; a run that is taken up again goes on with the
//! same bits.

use std::collections::BTreeMap;

use goldfish::ops::{self, Criterion, Targets, balanced};
use goldfish::optim::{Curve, Optimizer, Rule, Schedule, Settings, clip_norm};
use goldfish::{Gradient, Shape, Tape, Tensor, Var};
use libtest_mimic::Trial;

use crate::support::{error, fixture, gpu, gpu_trial, normal, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("optim::schedules_are_pytorchs", schedules),
        trial(
            "optim::balanced_weights_are_scikit_learns",
            balanced_weights,
        ),
        trial("optim::settings_that_cannot_train_are_refused", refused),
        gpu_trial("optim::ten_steps_are_pytorchs", ten_steps),
        gpu_trial("optim::clipped_gradients_are_pytorchs", clipped),
        gpu_trial("optim::losses_are_pytorchs", losses),
        gpu_trial("optim::all_together_is_pytorchs", together),
        gpu_trial("optim::each_goes_on_where_it_was", goes_on),
        gpu_trial("optim::each_tells_what_overflows", overflows),
    ]
}

/// Numbers of PyTorch in f32 and of ours: largest difference relative to the largest number.
const CLOSE: f64 = 1e-6;

/// Few columns, a multiple of a quad's, an odd length: each is another kernel's. The second has `columns`.
fn shapes(columns: usize) -> [[usize; 2]; 3] {
    [[33, 10], [3, columns], [1, 301]]
}

/// Holds numbers against those of the same names in the fixture.
fn close(found: impl IntoIterator<Item = (String, Vec<f32>)>) {
    let expected = fixture("optim.safetensors");
    let errors = found
        .into_iter()
        .map(|(name, found)| (error(&found, &expected[&name]), name));
    let (error, name) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("some");
    assert!(error < CLOSE, "{name}: {error:.1e}");
}

fn parameters(shapes: &[[usize; 2]; 3]) -> Vec<Tensor> {
    let all = shapes.iter().enumerate();
    all.map(|(i, shape)| normal(&gpu(), 0, &format!("p {i}"), shape, 1.0))
        .collect()
}

/// A step's gradients: two outer products, and one whose numbers are there.
fn gradients(shapes: &[[usize; 2]; 3], step: u64) -> Vec<Gradient> {
    let of = |what: &str, shape: [usize; 2]| normal(&gpu(), step, what, &shape, 0.1);
    let outer = |i: usize| {
        let [rows, columns] = shapes[i];
        Gradient::Outer {
            left: of(&format!("left {i}"), [5, rows]),
            right: of(&format!("right {i}"), [5, columns]),
            alpha: 0.5,
        }
    };
    vec![outer(0), outer(1), of("dense", shapes[2]).into()]
}

fn steps(
    optimizer: &mut Optimizer,
    parameters: &mut [Tensor],
    shapes: &[[usize; 2]; 3],
    numbers: std::ops::Range<u64>,
) {
    for number in numbers {
        let step = optimizer.step(parameters, &gradients(shapes, number));
        step.expect("a step");
    }
}

/// The optimisers of the fixture.
fn rules() -> [(&'static str, Settings); 6] {
    let adam = Settings::default();
    let sgd = Settings {
        rule: Rule::Sgd,
        weight_decay: 0.1,
        ..adam
    };
    let momentum = Settings {
        momentum: 0.9,
        ..sgd
    };
    [
        ("adam", adam),
        (
            "adam_decay",
            Settings {
                betas: [0.8, 0.95],
                eps: 1e-6,
                weight_decay: 0.1,
                ..adam
            },
        ),
        (
            "adamw",
            Settings {
                rule: Rule::AdamW,
                weight_decay: 0.5,
                ..adam
            },
        ),
        ("sgd", sgd),
        ("momentum", momentum),
        (
            "nesterov",
            Settings {
                nesterov: true,
                ..momentum
            },
        ),
    ]
}

fn fresh(settings: &Settings) -> Optimizer {
    let lr = match settings.rule {
        Rule::Sgd => 0.1,
        Rule::Adam | Rule::AdamW => 0.01,
    };
    Optimizer::new(settings, lr)
}

fn ten_steps() {
    let shapes = shapes(400);
    close(rules().into_iter().flat_map(|(name, settings)| {
        let (mut optimizer, mut p) = (fresh(&settings), parameters(&shapes));
        steps(&mut optimizer, &mut p, &shapes, 0..10);
        let found = numbers(&p).into_iter().enumerate();
        found.map(move |(i, found)| (format!("{name}.{i}"), found))
    }));
}

fn schedules() {
    let step = Curve::Step {
        every: Some(4),
        gamma: 0.3,
    };
    let curves = [
        ("constant", Curve::Constant),
        ("cosine", Curve::Cosine),
        ("linear", Curve::Linear),
        ("step", step),
    ];
    close(curves.into_iter().flat_map(|(name, curve)| {
        [0, 5].map(|warmup| {
            let schedule = Schedule { curve, warmup };
            let found = (0..20).map(|step| schedule.factor(step, 20) as f32);
            (format!("{name}.{warmup}"), found.collect())
        })
    }));
    // A warm-up that is longer than the run, and steps past its end.
    let long = Schedule {
        curve: Curve::Cosine,
        warmup: 30,
    };
    assert_eq!(long.factor(19, 20), 20.0 / 30.0);
    let short = Schedule { warmup: 0, ..long };
    assert!(short.factor(25, 20) < CLOSE && short.factor(0, 0) == 1.0);
    let thirds = Schedule {
        curve: Curve::Step {
            every: None,
            gamma: 0.5,
        },
        warmup: 1,
    };
    let fall: Vec<f64> = (0..8).map(|step| thirds.factor(step, 8)).collect();
    assert_eq!(fall, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
}

fn balanced_weights() {
    let found = balanced(&[3, 0, 3, 3, 5, 0, 3], 6);
    let present = [found[0], found[3], found[5]];
    assert!(error(&present, &fixture("optim.safetensors")["balanced"]) < CLOSE);
    assert_eq!([found[1], found[2], found[4]], [1.0; 3], "without a row");
}

fn refused() {
    let base = Settings::default();
    for (name, wrong) in [
        (
            "betas",
            Settings {
                betas: [0.9, 1.0],
                ..base
            },
        ),
        (
            "eps",
            Settings {
                eps: f64::NAN,
                ..base
            },
        ),
        (
            "weight_decay",
            Settings {
                weight_decay: -0.1,
                ..base
            },
        ),
        (
            "momentum",
            Settings {
                momentum: 1.0,
                ..base
            },
        ),
        (
            "nesterov",
            Settings {
                rule: Rule::Sgd,
                nesterov: true,
                ..base
            },
        ),
    ] {
        let text = wrong.check().expect_err(name).to_string();
        assert!(text.contains(name), "{text}");
    }
    for (_, settings) in rules() {
        settings.check().expect("it can train");
    }
    for (every, gamma) in [(0, 0.1), (1, 0.0), (1, 1.5), (1, f64::NAN)] {
        let every = Some(every);
        let curve = Curve::Step { every, gamma };
        let schedule = Schedule { curve, warmup: 0 };
        assert!(schedule.check().is_err(), "{curve:?}");
    }
}

fn clipped() {
    let given = gradients(&shapes(400), 0);
    let clip = |most: f64| {
        let clipped = clip_norm(&given, most).expect("clipped");
        let dense = clipped.iter().map(Gradient::dense);
        dense.collect::<Result<Vec<_>, _>>().expect("gradients")
    };
    close([0.05, 1000.0].into_iter().flat_map(|most| {
        let found = clip(most);
        assert!(bits(&found) == bits(&clip(most)), "the same bits");
        let found = numbers(&found).into_iter().enumerate();
        found.map(move |(i, found)| (format!("clip.{most}.{i}"), found))
    }));
    assert!(clip_norm(&[], 1.0).expect("nothing").is_empty());
}

const WEIGHTS: [f32; 5] = [0.5, 2.0, 1.0, 0.25, 3.0];

fn losses() {
    let gpu = gpu();
    let mut all = Vec::new();
    let z = normal(&gpu, 0, "logits", &[7, 5], 3.0);
    let t = normal(&gpu, 0, "targets", &[7, 5], 1.0);
    let t: Vec<f32> = numbers(&[t])[0].iter().map(|v| v.abs() / 8.0).collect();
    let kinds = [
        ("classes", Targets::Classes(&[0, 4, 1, 1, 3, 0, 1])),
        ("probabilities", Targets::Probabilities(&t)),
    ];
    for (kind, targets) in kinds {
        for (smoothing, weights) in [
            (0.0, None),
            (0.0, Some(&WEIGHTS[..])),
            (0.1, None),
            (0.1, Some(&WEIGHTS[..])),
        ] {
            let criterion = Criterion {
                label_smoothing: smoothing,
                weights,
                divisor: None,
            };
            let mut tape = Tape::new();
            let leaf = tape.leaf(&z);
            let loss = ops::cross_entropy_by(&mut tape, &leaf, targets, &criterion);
            let loss = loss.expect("a loss");
            let value = loss.tensor.to_vec().expect("a loss");
            let gradients = tape.backward(&loss).expect("gradients");
            let gradient = gradients.of(&leaf).and_then(Gradient::dense);
            let gradient = numbers(&[gradient.expect("a gradient")]).concat();
            let weighed = if weights.is_some() { "weighed" } else { "even" };
            let name = format!("{kind}.{smoothing}.{weighed}");
            all.push((format!("{name}.loss"), value));
            all.push((format!("{name}.gradient"), gradient));
        }
    }
    close(all);
}

/// Twenty steps of a linear classifier: AdamW, a cosine behind a warm-up, clipped, smoothed, weighed; PyTorch's with twelve
/// rows at once, ours with three times four.
fn together() {
    let gpu = gpu();
    let x = numbers(&[normal(&gpu, 0, "rows", &[12, 24], 1.0)]).concat();
    let labels: [u32; 12] = [0, 1, 1, 2, 4, 4, 4, 3, 1, 0, 4, 2];
    let mut weight = [normal(&gpu, 0, "weight", &[5, 24], 0.2)];
    let settings = Settings {
        rule: Rule::AdamW,
        weight_decay: 0.1,
        ..Settings::default()
    };
    let schedule = Schedule {
        curve: Curve::Cosine,
        warmup: 3,
    };
    let criterion = Criterion {
        label_smoothing: 0.1,
        weights: Some(&WEIGHTS),
        divisor: None,
    };
    let whole = criterion.divisor(Targets::Classes(&labels), 12);
    let criterion = Criterion {
        divisor: Some(whole.expect("a weight each")),
        ..criterion
    };
    let lr = 0.02;
    let mut optimizer = Optimizer::new(&settings, lr);
    let mut losses = Vec::new();
    for step in 0..20 {
        optimizer.set_lr(lr * schedule.factor(step, 20));
        let (mut value, mut sum) = (0.0, None::<Vec<f32>>);
        for (x, labels) in x.chunks(4 * 24).zip(labels.chunks(4)) {
            let mut tape = Tape::new();
            let leaf = tape.leaf(&weight[0]);
            let x = Tensor::from_slice(&gpu, [4, 24], x).expect("rows");
            let z = ops::linear(&mut tape, &Var::frozen(&x), &leaf).expect("logits");
            let targets = Targets::Classes(labels);
            let loss = ops::cross_entropy_by(&mut tape, &z, targets, &criterion);
            let loss = loss.expect("a loss");
            value += loss.tensor.to_vec().expect("a loss")[0];
            let gradients = tape.backward(&loss).expect("gradients");
            let more = gradients.of(&leaf).and_then(Gradient::dense);
            let more = numbers(&[more.expect("a gradient")]).concat();
            sum = Some(match sum {
                None => more,
                Some(sum) => sum.iter().zip(&more).map(|(a, b)| a + b).collect(),
            });
        }
        losses.push(value);
        let sum = Tensor::from_slice(&gpu, [5, 24], &sum.expect("parts")).expect("a gradient");
        let clipped = clip_norm(&[sum.into()], 0.5).expect("clipped");
        optimizer.step(&mut weight, &clipped).expect("a step");
    }
    let weight = numbers(&weight).concat();
    close([
        ("together.losses".into(), losses),
        ("together.weight".into(), weight),
    ]);
}

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    let all = tensors.iter().map(Tensor::to_vec);
    all.collect::<Result<_, _>>().expect("numbers")
}

fn bits(tensors: &[Tensor]) -> Vec<Vec<u32>> {
    let bits = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
    numbers(tensors).iter().map(bits).collect()
}

/// Stopped after two steps of five, and gone on with from what was read back.
fn goes_on() {
    let gpu = gpu();
    let shapes = shapes(4000);
    for (name, settings) in rules() {
        let start = || (fresh(&settings), parameters(&shapes));
        let (mut whole, mut expected) = start();
        assert!(whole.state().1.is_empty(), "nothing before the first step");
        steps(&mut whole, &mut expected, &shapes, 0..5);

        let (mut first, mut stopped) = start();
        steps(&mut first, &mut stopped, &shapes, 0..2);
        let (taken, state) = first.state();
        let saved: BTreeMap<String, Vec<f32>> = state
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.to_vec().expect("numbers")))
            .collect();
        let names: Vec<&str> = saved.keys().map(String::as_str).collect();
        let wanted: &[&str] = match settings.rule {
            Rule::Sgd => &[
                "lost",
                "momentum_buffer.0",
                "momentum_buffer.1",
                "momentum_buffer.2",
            ],
            _ => &[
                "exp_avg.0",
                "exp_avg.1",
                "exp_avg.2",
                "exp_avg_sq.0",
                "exp_avg_sq.1",
                "exp_avg_sq.2",
                "lost",
            ],
        };
        assert_eq!(names, wanted, "{name}");
        let mut resumed: Vec<Tensor> = numbers(&stopped)
            .iter()
            .zip(shapes)
            .map(|(p, shape)| Tensor::from_slice(&gpu, shape, p).expect("a tensor"))
            .collect();

        let mut second = fresh(&settings);
        let mut given = Vec::new();
        second
            .restore(taken, &resumed, &mut |name, shape| {
                let tensor = Tensor::from_slice(&gpu, shape.clone(), &saved[name])?;
                given.push((name.to_string(), tensor.clone()));
                Ok(tensor)
            })
            .expect("it is whole");
        steps(&mut second, &mut resumed, &shapes, 2..5);
        assert_eq!(second.steps(), 5);
        assert!(bits(&resumed) == bits(&expected), "{name}");
        assert_eq!(given.len(), saved.len());
        for (of, tensor) in given {
            let now = tensor.to_vec().expect("numbers");
            assert!(now == saved[&of], "{name}: {of} was lent, and written to");
        }

        // What has another shape is refused, and changes nothing.
        let mut other = |_: &str, _: &Shape| Tensor::from_slice(&gpu, [2], &[1.0, 2.0]);
        let refused = second.restore(9, &resumed, &mut other);
        let text = refused.expect_err("another shape").to_string();
        assert!(
            text.contains(": expected ") && text.contains(".0 of shape"),
            "{text}"
        );
        steps(&mut second, &mut resumed, &shapes, 5..6);
        steps(&mut whole, &mut expected, &shapes, 5..6);
        assert_eq!(second.steps(), 6);
        assert!(bits(&resumed) == bits(&expected), "{name}");
    }
}

/// The word `lost` is 0 until a number is not finite, and goes with the state.
fn overflows() {
    let gpu = gpu();
    let word = |optimizer: &Optimizer| {
        let (_, state) = optimizer.state();
        let lost = state.iter().find(|(name, _)| name == "lost");
        lost.expect("there is one").1.to_vec().expect("a word")[0].to_bits()
    };
    let one = |v: f32| Tensor::from_slice(&gpu, [1, 4], &[1.0, 1.0, v, 1.0]).expect("a tensor");
    for (name, settings) in rules() {
        let mut optimizer = fresh(&settings);
        let mut p = [one(1.0)];
        optimizer.step(&mut p, &[one(2.0).into()]).expect("a step");
        assert_eq!(word(&optimizer), 0, "{name}");
        let overflow = optimizer.step(&mut p, &[one(f32::INFINITY).into()]);
        overflow.expect("a step");
        assert_ne!(word(&optimizer), 0, "{name}");
        let (taken, state) = optimizer.state();
        let mut again = fresh(&settings);
        let mut find = |name: &str, _: &Shape| {
            let found = state.iter().find(|(of, _)| of == name);
            Ok(found.expect("a tensor").1.clone())
        };
        again.restore(taken, &p, &mut find).expect("it is whole");
        assert_ne!(word(&again), 0, "{name}");
    }
}
