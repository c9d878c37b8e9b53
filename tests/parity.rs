//! Against PyTorch: a narrow VGG19 to every gradient, the full one to its logits (`tests/fixtures/vgg19.py`).

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use goldfish::data::{ImageStore, Transform};
use goldfish::nn::lora::{Init, Lora};
use goldfish::nn::vgg::{Arch, VGG19, Vgg};
use goldfish::ops::{self, Targets};
use goldfish::optim::Adam;
use goldfish::predict::top;
use goldfish::train::{FrozenLogits, Plan, train};
use goldfish::{Gpu, Tape, Var};
use libtest_mimic::Trial;

use crate::support::{error, fixture, gpu, gpu_trial, illustrations, normal};

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
    ]
}

const NARROW: Arch = Arch {
    name: "narrow",
    widths: [2, 3, 4, 5, 6],
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
    Vgg::new(NARROW, parameters.collect()).expect("the parameters fit")
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
        let gradient = gradients
            .of(var)
            .expect("tracked")
            .to_vec()
            .expect("a gradient");
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
    let mut lora = Lora {
        a: normal(&gpu, 1, "a", &[3, 6144], 0.02),
        b: normal(&gpu, 1, "b", &[10, 3], 0.5),
        alpha: 1.5,
    };
    let mut adam = Adam::new(1e-3);
    let mut losses = Vec::new();
    for step in 0..10 {
        let mut tape = Tape::new();
        let (a, b) = (tape.leaf(&lora.a), tape.leaf(&lora.b));
        let branch = lora.forward(&mut tape, &images, &a, &b).expect("a branch");
        let logits = ops::add(&mut tape, &base, &branch).expect("logits");
        let loss =
            ops::cross_entropy(&mut tape, &logits, Targets::Classes(&LABELS)).expect("a loss");
        losses.extend(loss.tensor.to_vec().expect("a loss"));
        let gradients = tape.backward(&loss).expect("gradients");
        let gradients = [&a, &b].map(|v| gradients.of(v).expect("tracked").clone());
        if step == 0 {
            for (gradient, name) in gradients.iter().zip(["grad.a", "grad.b"]) {
                let error = error(&gradient.to_vec().expect("a gradient"), &expected[name]);
                assert!(error < 1e-5, "{name}: {error:.1e}");
            }
        }
        let mut parameters = [lora.a, lora.b];
        adam.step(&mut parameters, &gradients).expect("a step");
        [lora.a, lora.b] = parameters;
    }
    // Adam's first steps have the gradient's sign: roundings of tiny gradients grow.
    assert!(error(&losses, &expected["losses"]) < 1e-4, "{losses:?}");
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
        ImageStore::open(&paths, transform, false, 1 << 24, false, |_| {}).expect("images");
    let vgg = Vgg::random(&gpu, VGG19, 7, |_| {}).expect("a network");
    let mut frozen = FrozenLogits::new(&vgg, &images, true);
    frozen.fill(&images, |_| Ok(())).expect("logits");
    let batch = images.batch(&[0, 1, 2, 3]).expect("a batch");
    let logits = frozen.of(&batch).expect("logits").to_vec().expect("logits");
    for (found, expected) in logits.chunks(1000).zip(expected["logits"].chunks(1000)) {
        let error = error(found, expected);
        assert!(error < 1e-4, "{error:.1e}");
        let wanted: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
        assert_eq!(top(found, 1)[0].index, top(&wanted, 1)[0].index);
    }
    let lora = Lora::new(&gpu, [150_528, 1000], 10, 10.0, Init::Tutorial, 7).expect("an adapter");
    let plan = Plan {
        epochs: 20,
        batch_size: 4,
        lr: 5e-5,
        seed: 0,
    };
    let run = train(
        &mut frozen,
        &images,
        &[1; 4],
        lora,
        plan,
        &AtomicBool::new(false),
        |_| Ok(()),
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
