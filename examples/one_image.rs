//! One image from its file to a loss and one step of an adapter: `cargo run --release --example one_image [IMAGE]`.
//!
//! The base is seeded random weights, which train as trained ones do and know nothing: `goldfish::formats::Tensors` opens
//! those of a file. `goldfish::train` does the same for many images and computes nothing frozen twice.

use goldfish::data::Transform;
use goldfish::nn::{Adapter, Choice, Loading, Source, Vgg, arch::VGG19, lora::Init};
use goldfish::{Gpu, Result, Tape, Var, ops, ops::Targets, optim::Adam};

const SIDE: usize = 224;
/// The category that ImageNet calls goldfish.
const LABEL: u32 = 1;

fn main() -> Result<()> {
    let given = std::env::args_os().nth(1);
    let path = given.unwrap_or("examples/illustrations/goldfish/bowl.png".into());
    let gpu = Gpu::new()?;

    // The file becomes the network's input, [1, 3, SIDE, SIDE].
    let image = Var::frozen(&Transform { size: SIDE }.open(&gpu, path.as_ref())?);

    // A on what goes into the last layer and B on what comes out of it; the other 143 million numbers are frozen.
    let choice = Choice {
        targets: vec!["classifier.6".into()],
        ..Choice::default()
    };
    let targets = choice.resolve(VGG19, SIDE)?;
    let mut adapter = Adapter::new(&gpu, &targets, false, |_| Init::Kaiming, 0)?;
    let how = Loading {
        ranks: adapter.ranks(),
        trained: true,
        ..Loading::default()
    };
    let network = Vgg::load(&gpu, VGG19, &Source::Random(0), &how, |_| Ok(()))?;

    let mut adam = Adam::new(1e-3);
    for when in ["before the step", "after it"] {
        // Forward, to [1, 1000] logits and a loss.
        let mut tape = Tape::new();
        let (factors, leaves) = adapter.track(&mut tape);
        let logits = network.adapted(&mut tape, &image, &factors)?;
        let loss = ops::cross_entropy(&mut tape, &logits, Targets::Classes(&[LABEL]))?;
        println!("loss {when}: {:.4}", loss.tensor.to_vec()?[0]);

        // Backward, from the loss to A and B, and a step of both.
        let gradients = tape.backward(&loss)?.of_all(&leaves)?;
        let mut factors = adapter.trained();
        adam.step(&mut factors, &gradients)?;
        adapter = adapter.with(&factors);
    }
    Ok(())
}
