//! Against PyTorch: a narrow VGG19 to every gradient, the full one to its logits (`tests/fixtures/vgg19.py`).

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use goldfish::data::{Classes, top};
use goldfish::data::{ImageStore, Transform};
use goldfish::nn::arch::{Arch, VGG19, VGG19_TINY};
use goldfish::nn::lora::{Init, Lora, PIXELS};
use goldfish::nn::{Adapter, Loading, Source, Vgg};
use goldfish::ops::{self, Targets};
use goldfish::optim::Adam;
use goldfish::random::Stream;
use goldfish::train::{Plan, Prefix, Room, Split, StepRecord, Task, train};
use goldfish::{Gpu, Gradient, Tape, Var};
use libtest_mimic::Trial;

use crate::support::{adapter, error, fixture, gpu, gpu_trial, illustrations, network, normal};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "parity::a_narrow_vgg19_has_pytorchs_logits_loss_and_gradients",
            narrow_gradients,
        ),
        gpu_trial("parity::ten_adam_steps_have_pytorchs_losses", adam_losses),
        gpu_trial(
            "parity::the_full_vgg19_has_torchvisions_logits_and_training_losses",
            full,
        ),
        gpu_trial(
            "parity::the_portable_kernels_have_torchvisions_logits_too",
            full_portable,
        ),
        gpu_trial(
            "parity::a_narrow_vgg19_with_every_layer_adapted_has_pefts_gradients_and_losses",
            adapted_gradients,
        ),
        gpu_trial("parity::both_families_agree_at_any_size", families_agree),
        gpu_trial(
            "parity::logits_of_an_image_do_not_depend_on_the_batch",
            batches_agree,
        ),
    ]
}

pub const NARROW: Arch = Arch {
    name: "narrow",
    widths: [2, 3, 4, 5, 6],
    depths: VGG19.depths,
    batch_norm: false,
    hidden: 16,
    classes: 10,
};
/// Wide enough for Winograd's portable kernels.
pub const WIDE: Arch = Arch {
    name: "wide",
    widths: [32, 33, 40, 40, 40],
    depths: VGG19.depths,
    batch_norm: false,
    hidden: 16,
    classes: 10,
};
const LABELS: [u32; 3] = [1, 7, 3];

fn narrow(gpu: &Gpu) -> Vgg {
    let parameters = NARROW.parameters().into_iter().map(|(name, shape)| {
        let fan_in = if shape.rank() > 1 {
            shape.row_len()
        } else {
            100
        };
        let tensor = normal(gpu, 1, &name, shape.dims(), (2.0 / fan_in as f64).sqrt());
        (name, tensor)
    });
    Vgg::new(NARROW, &parameters.collect()).expect("the parameters fit")
}

/// The narrow network's parameters for both families.
pub fn narrow_numbers() -> Source<'static> {
    Source::Numbers(Box::new(
        |name: &str, shape: &[usize], first, out: &mut [f32]| {
            let fan_in = if shape.len() > 1 {
                shape[1..].iter().product()
            } else {
                100
            };
            let deviation = (2.0 / fan_in as f64).sqrt();
            Stream::new(1, name).fill_normal(first, deviation, out);
        },
    ))
}

fn narrow_gradients() {
    let gpu = gpu();
    let expected = fixture("narrow.safetensors");
    let vgg = narrow(&gpu);
    let images = Var::frozen(&normal(&gpu, 1, "images", &[3, 3, 64, 32], 1.0));

    let mut tape = Tape::new();
    let frozen = vgg.forward(&mut tape, &images).expect("logits");
    assert!(tape.is_empty(), "a frozen network records nothing");

    let tracked: BTreeMap<String, Var> = vgg
        .parameters()
        .iter()
        .map(|(name, tensor)| (name.clone(), tape.leaf(tensor)))
        .collect();
    let logits = vgg
        .forward_with(&mut tape, &images, |name| tracked[name].clone())
        .expect("logits");
    let values = logits.tensor.to_vec().expect("logits");
    assert_eq!(values, frozen.tensor.to_vec().expect("logits"));
    // f32 through 19 layers; PyTorch's own f32 is as far from f64.
    assert!(error(&values, &expected["logits"]) < 1e-5);
    let loss = ops::cross_entropy(&mut tape, &logits, Targets::Classes(&LABELS)).expect("a loss");
    assert!(error(&loss.tensor.to_vec().expect("a loss"), &expected["loss"]) < 1e-5);
    let gradients = tape.backward(&loss).expect("gradients");
    for (name, var) in &tracked {
        let gradient = numbers(gradients.of(var).expect("tracked"));
        let error = error(&gradient, &expected[&format!("grad.{name}")]);
        assert!(error < 1e-4, "{name}: {error:.1e}");
    }
}

fn adam_losses() {
    let gpu = gpu();
    let expected = fixture("narrow.safetensors");
    let images = Var::frozen(&normal(&gpu, 1, "images", &[3, 3, 64, 32], 1.0));
    let base = narrow(&gpu)
        .forward(&mut Tape::new(), &images)
        .expect("logits");
    let mut lora = Adapter {
        loras: vec![(
            PIXELS.into(),
            Lora {
                a: normal(&gpu, 1, "a", &[3, 6144], 0.02),
                b: normal(&gpu, 1, "b", &[10, 3], 0.5),
                alpha: 1.5,
                rslora: false,
            },
        )],
        head: None,
    };
    let mut adam = Adam::new(1e-3);
    let mut losses = Vec::new();
    for step in 0..10 {
        let mut tape = Tape::new();
        let (tracked, leaves) = lora.track(&mut tape);
        let logits = tracked.branch(&mut tape, &base, &images).expect("logits");
        let loss =
            ops::cross_entropy(&mut tape, &logits, Targets::Classes(&LABELS)).expect("a loss");
        losses.extend(loss.tensor.to_vec().expect("a loss"));
        let gradients = tape.backward(&loss).expect("gradients");
        let gradients: Vec<Gradient> = leaves
            .iter()
            .map(|v| gradients.of(v).expect("tracked").clone())
            .collect();
        if step == 0 {
            for (gradient, name) in gradients.iter().zip(["grad.a", "grad.b"]) {
                let error = error(&numbers(gradient), &expected[name]);
                assert!(error < 1e-5, "{name}: {error:.1e}");
            }
        }
        let mut factors = lora.trained();
        adam.step(&mut factors, &gradients).expect("a step");
        lora = lora.with(&factors);
    }
    // Adam's first steps have the gradient's sign: roundings of tiny gradients grow.
    assert!(error(&losses, &expected["losses"]) < 1e-4, "{losses:?}");
}

fn numbers(gradient: &Gradient) -> Vec<f32> {
    gradient
        .dense()
        .expect("a gradient")
        .to_vec()
        .expect("a gradient")
}

/// Normalised noise, [n, 3, side, side].
pub fn noise(n: usize, side: usize) -> Vec<f32> {
    Stream::new(4, "noise").normals(n * 3 * side * side, 1.0)
}

fn full_portable() {
    let gpu = gpu();
    let expected = fixture("full.safetensors");
    let image = Transform { size: 224 };
    let path = illustrations().join("goldfish/bowl.png");
    let (images, _) =
        ImageStore::open(&[path], image, false, 0, false, |_| Ok(())).expect("an image");
    let vgg = network(&gpu, VGG19, 7, true);
    let pixels = images.batch(&[0]).expect("a batch").pixels();
    let logits = vgg.logits(&pixels, 224).expect("logits");
    assert!(error(&logits, &expected["logits"][..1000]) < 1e-4);
}

fn families_agree() {
    let gpu = gpu();
    // Widths that are no multiple of a workgroup's channels, planes that are none of a tile's side.
    for (arch, sides) in [
        (VGG19_TINY, [32, 45, 97]),
        (NARROW, [33, 64, 150]),
        (WIDE, [32, 35, 58]),
    ] {
        let [fast, portable] = [false, true].map(|portable| network(&gpu, arch, 6, portable));
        for side in sides {
            let pixels = noise(2, side);
            let found = fast.logits(&pixels, side).expect("logits");
            let expected = portable.logits(&pixels, side).expect("logits");
            let expected: Vec<f64> = expected.iter().map(|&v| f64::from(v)).collect();
            let error = error(&found, &expected);
            assert!(error < 1e-4, "{} at {side}: {error:.1e}", arch.name);
        }
    }
}

fn batches_agree() {
    let gpu = gpu();
    for base in [false, true].map(|portable| network(&gpu, VGG19_TINY, 6, portable)) {
        // Sizes whose planes, one image's or several images', share dimensions on the way down.
        for (n, side) in [(11, 61), (3, 32), (9, 32)] {
            let pixels = noise(n, side);
            let together = base.logits(&pixels, side).expect("logits");
            for (image, expected) in pixels.chunks(pixels.len() / n).zip(together.chunks(1000)) {
                let alone = base.logits(image, side).expect("logits");
                assert_eq!(alone, expected, "{} {n} of {side}", base.family());
            }
        }
    }
}

/// torchvision's vgg19 with seeded weights on the losslessly stored illustrations, and twenty steps of
/// the tutorial's training at a learning rate where the loss stays above 1.
fn full() {
    let gpu = gpu();
    let expected = fixture("full.safetensors");
    let files = ["bowl.png", "ink.gif", "pixels.bmp", "stamp.webp"];
    let paths = files.map(|name| illustrations().join("goldfish").join(name));
    let transform = Transform { size: 224 };
    let (images, _) =
        ImageStore::open(&paths, transform, false, 1 << 24, false, |_| Ok(())).expect("images");
    let start = adapter(&gpu, VGG19, 224, "pixels", [10, 10], (Init::Tutorial, 7));
    let base = network(&gpu, VGG19, 7, false);
    let mut frozen = Prefix::new(base, &start, &images, Some(Room::of(1 << 30)));
    frozen.fill(&images, |_| Ok(())).expect("logits");
    let batch = images.batch(&[0, 1, 2, 3]).expect("a batch");
    let logits = frozen.of(&batch).expect("logits").to_vec().expect("logits");
    for (found, expected) in logits.chunks(1000).zip(expected["logits"].chunks(1000)) {
        let error = error(found, expected);
        assert!(error < 1e-4, "{error:.1e}");
        let wanted: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
        let first = |logits: &[f32]| top(logits, 1, &Classes::imagenet())[0].index;
        assert_eq!(first(found), first(&wanted));
    }
    let plan = Plan {
        epochs: 20,
        batch_size: 4,
        lr: 5e-5,
        ..Plan::default()
    };
    let run = train(
        &mut frozen,
        Task {
            images: &images,
            labels: &[1; 4],
            split: &Split::all(images.len()),
            plan,
            stop: &AtomicBool::new(false),
        },
        start,
        &mut |_: StepRecord| Ok(()),
    );
    let losses = run.expect("a run").losses;
    assert_eq!(losses.len(), 20);
    for (step, (&found, expected)) in losses.iter().zip(&expected["losses"]).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error < 1e-3 * expected.abs().max(1.0),
            "step {step}: {found} for {expected}"
        );
    }
}

/// Every layer of the narrow network adapted, rank 2, alpha 3, B away from zero: PEFT's logits, loss, the gradient of
/// every factor, and ten losses of Adam, by both families.
fn adapted_gradients() {
    let gpu = gpu();
    let expected = fixture("lora.safetensors");
    let images = normal(&gpu, 1, "images", &[3, 3, 64, 64], 1.0);
    for portable in [true, false] {
        let mut start = adapter(&gpu, NARROW, 64, "all", [2, 3], (Init::Kaiming, 0));
        for (module, lora) in &mut start.loras {
            let (a, b) = (lora.a.shape().clone(), lora.b.shape().clone());
            let deviation = 1.0 / (a.row_len() as f64).sqrt();
            lora.a = normal(&gpu, 1, &format!("{module}.a"), a.dims(), deviation);
            lora.b = normal(&gpu, 1, &format!("{module}.b"), b.dims(), 0.5);
        }
        let how = Loading {
            portable,
            ranks: start.ranks(),
            trained: true,
            ..Loading::default()
        };
        let base = Vgg::load(&gpu, NARROW, &narrow_numbers(), &how, |_| Ok(())).expect("a network");
        let mut adam = Adam::new(1e-3);
        let mut losses = Vec::new();
        for step in 0..10 {
            let mut tape = Tape::new();
            let (tracked, leaves) = start.track(&mut tape);
            let logits = base
                .forward_from(&mut tape, &Var::frozen(&images), 0, None, &tracked, false)
                .expect("logits");
            let loss =
                ops::cross_entropy(&mut tape, &logits, Targets::Classes(&LABELS)).expect("a loss");
            losses.extend(loss.tensor.to_vec().expect("a loss"));
            let family = base.family();
            if step == 0 {
                let found = logits.tensor.to_vec().expect("logits");
                let error = error(&found, &expected["logits"]);
                assert!(error < 1e-5, "{family} logits: {error:.1e}");
            }
            let gradients = tape.backward(&loss).expect("gradients");
            let gradients: Vec<Gradient> = leaves
                .iter()
                .map(|v| gradients.of(v).expect("tracked").clone())
                .collect();
            for (gradient, ((module, _), factor)) in gradients.iter().zip(
                start
                    .loras
                    .iter()
                    .flat_map(|lora| [(lora, "A"), (lora, "B")]),
            ) {
                if step == 0 {
                    let name = format!("grad.{module}.lora_{factor}");
                    let error = error(&numbers(gradient), &expected[&name]);
                    // Winograd's F(6x6) is within 1e-5 a layer; 19 of them lie on the way.
                    assert!(error < 1e-4, "{family} {name}: {error:.1e}");
                }
            }
            let mut factors = start.trained();
            adam.step(&mut factors, &gradients).expect("a step");
            start = start.with(&factors);
        }
        let error = error(&losses, &expected["losses"]);
        assert!(error < 1e-4, "{error:.1e}: {losses:?}");
    }
}
