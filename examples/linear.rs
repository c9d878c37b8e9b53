//! The idea behind LoRA on one linear map: `cargo run --release --example linear`.
//!
//! First fit y = W x by gradient descent on the mean squared error. Then freeze W, let the target
//! shift by a matrix of low rank, and learn the shift with R = B A alone: y = W x + B A x.

use goldfish::optim::{Adam, Sgd};
use goldfish::random::Stream;
use goldfish::{Gpu, Result, Tape, Tensor, Var, ops};

const SIZE: usize = 100;
const RANK: usize = 10;
const SAMPLES: usize = 256;

fn main() -> Result<()> {
    let gpu = Gpu::new()?;
    println!("device: {}", gpu.info().name);
    let normal = |name: &str, rows: usize, columns: usize, deviation: f64| {
        let stream = Stream::new(0, name);
        Tensor::from_fn(&gpu, [rows, columns], |first, out| {
            stream.fill_normal(first, deviation, out)
        })
    };
    let x = Var::frozen(&normal("x", SAMPLES, SIZE, 1.0)?); // [SAMPLES, SIZE]
    let truth = Var::frozen(&normal("truth", SIZE, SIZE, 0.1)?);
    let y = ops::linear(&mut Tape::new(), &x, &truth)?;

    // 1. Fit all of W. The loss is a mean over SIZE outputs, hence the large rate.
    let mut w = [normal("start", SIZE, SIZE, 0.1)?];
    let mut sgd = Sgd::new(25.0);
    let mut losses = Vec::new();
    for _ in 0..300 {
        let mut tape = Tape::new();
        let leaf = tape.leaf(&w[0]);
        let prediction = ops::linear(&mut tape, &x, &leaf)?;
        let loss = ops::mse_loss(&mut tape, &prediction, &y)?;
        losses.push(loss.tensor.read()?);
        let gradients = tape.backward(&loss)?;
        sgd.step(&mut w, &[gradients.of(&leaf)?.clone()])?;
    }
    report("y = W x, all of W trained", SIZE * SIZE, losses)?;

    // 2. The target shifts by a rank-10 matrix; W is frozen and only A and B learn.
    let shift = [
        Var::frozen(&normal("shift A", RANK, SIZE, 0.1)?),
        Var::frozen(&normal("shift B", SIZE, RANK, 0.3)?),
    ];
    let shifted = ops::low_rank(&mut Tape::new(), &y, &x, shift.each_ref(), 1.0)?;
    let frozen = Var::frozen(&w[0]);
    let mut factors = [
        normal("A", RANK, SIZE, 0.1)?,
        Tensor::from_slice(&gpu, [SIZE, RANK], &[0.0; SIZE * RANK])?,
    ];
    let mut adam = Adam::new(1e-2);
    let mut losses = Vec::new();
    for _ in 0..300 {
        let mut tape = Tape::new();
        let (a, b) = (tape.leaf(&factors[0]), tape.leaf(&factors[1]));
        let base = ops::linear(&mut tape, &x, &frozen)?;
        let prediction = ops::low_rank(&mut tape, &base, &x, [&a, &b], 1.0)?;
        let loss = ops::mse_loss(&mut tape, &prediction, &shifted)?;
        losses.push(loss.tensor.read()?);
        let gradients = tape.backward(&loss)?.of_all(&[a, b])?;
        adam.step(&mut factors, &gradients)?;
    }
    report("y = W x + B A x, W frozen", 2 * SIZE * RANK, losses)
}

fn report(what: &str, parameters: usize, losses: Vec<goldfish::gpu::Readback>) -> Result<()> {
    let losses = losses
        .into_iter()
        .map(|l| Ok(l.wait()?[0]))
        .collect::<Result<Vec<f32>>>()?;
    if let [first, .., last] = &*losses {
        println!("{what}: {parameters} trained parameters, loss {first:.4} -> {last:.2e}");
    }
    Ok(())
}
