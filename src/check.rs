//! The harness that every op is held against: forward and backward on a device, against a naive f64 reference. An op
//! lists its cases beside itself, and `selftest` runs them all.
//!
//! A [`Case`] says how to run an op and what it should give. Its gradient is checked against finite
//! differences of the reference, with a random upstream gradient; guard words behind every buffer show
//! writes out of bounds; NaN and infinities must come through; memory starts full of NaN, so that what is read before it is
//! written shows; and everything is run again in the memory and with the bind groups of the first run, and must give the
//! same bits.

mod input;
mod nonfinite;

use std::fmt;

pub use input::Input;

use crate::autograd::{Tape, Var};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::random::Stream;
use crate::tensor::Tensor;

type Forward = dyn Fn(&mut Tape, &[Var]) -> Result<Var> + Send + Sync;
type Suits = dyn Fn(&Gpu) -> bool + Send + Sync;
type Reference = dyn Fn(&[Vec<f64>]) -> Vec<f64> + Send + Sync;

/// Largest error relative to the largest value that counts as right: 1e-5 is 168 roundings of f32 (2^-24 each). Roundings
/// of a sum add up as the square root of their number: 200 in the longest sum of a case, the 40,000 terms of `linear`, were
/// each as large as the last one's; those of the partial sums before it are smaller.
const TOLERANCE: f64 = 1e-5;
/// Runs that must give the same bits: in new memory, and again in what the first gave back.
const RUNS: usize = 3;
/// Elements of an input whose gradient is checked; more are sampled.
const GRADIENT_SAMPLES: usize = 192;
/// The step of the central differences, in f64: its own error is about 1e-10.
const STEP: f64 = 1e-5;

/// How far a number that is not finite may spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// No further than the definition says, as in PyTorch: NaN is NaN, and an infinity has its sign.
    Exact,
    /// Where the definition has one there is one, NaN for an infinity too. It may be in other places.
    Mixed,
}

/// One op at one size.
pub struct Case {
    /// The op's name.
    pub op: &'static str,
    /// Sizes and settings.
    pub name: String,
    inputs: Vec<Input>,
    forward: Box<Forward>,
    reference: Box<Reference>,
    differentiable: bool,
    suits: Box<Suits>,
    /// What a device that it does not suit lacks.
    needs: &'static str,
    tolerance: f64,
    /// Deviation of the gradient from above.
    upstream: f64,
    spread: Spread,
}

/// A case's op on its tape.
struct Recorded {
    tape: Tape,
    /// The inputs, tracked where the op has gradients.
    leaves: Vec<Var>,
    y: Var,
}

impl Recorded {
    /// The gradients of the inputs, given that of the result.
    fn gradients(self, upstream: &[f32]) -> Result<Vec<Vec<f32>>> {
        let Recorded { tape, leaves, y } = self;
        let upstream = Tensor::from_slice(y.tensor.gpu(), y.tensor.shape().clone(), upstream)?;
        let gradients = tape.backward_from(&y, upstream)?;
        let gradients = leaves
            .iter()
            .map(|leaf| gradients.of(leaf)?.dense()?.to_vec());
        gradients.collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("op", &self.op)
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// How a case went.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// The op's name.
    pub op: &'static str,
    /// Sizes and settings.
    pub case: String,
    /// Why it was not run: what the device lacks.
    pub skipped: Option<&'static str>,
    /// Largest error of the result, relative to its largest value; absent where it was not run to its end.
    pub forward_error: Option<f64>,
    /// Largest error of any input's gradient, relative to its largest value; absent for an optimiser.
    pub gradient_error: Option<f64>,
    /// The error that was allowed.
    pub tolerance: f64,
    /// What else was wrong: a write out of bounds, bits that differ between runs, an error.
    pub problem: Option<String>,
}

impl Outcome {
    /// Whether the device computed what it should; not where it was [skipped](Outcome::skipped).
    pub fn is_ok(&self) -> bool {
        let within = |error: f64| error <= self.tolerance;
        self.problem.is_none()
            && self.forward_error.is_some_and(within)
            && self.gradient_error.is_none_or(within)
    }

    /// Whether the device computed something else.
    pub fn is_failure(&self) -> bool {
        self.skipped.is_none() && !self.is_ok()
    }
}

impl Case {
    /// A case of `op`: `forward` on the device, `reference` in f64, both on `inputs`.
    pub fn new(
        op: &'static str,
        name: impl Into<String>,
        inputs: impl Into<Vec<Input>>,
        forward: impl Fn(&mut Tape, &[Var]) -> Result<Var> + Send + Sync + 'static,
        reference: impl Fn(&[Vec<f64>]) -> Vec<f64> + Send + Sync + 'static,
    ) -> Self {
        Case {
            op,
            name: name.into(),
            inputs: inputs.into(),
            forward: Box::new(forward),
            reference: Box::new(reference),
            differentiable: true,
            suits: Box::new(|_| true),
            needs: "",
            tolerance: TOLERANCE,
            upstream: 1.0,
            spread: Spread::Exact,
        }
    }

    /// The same for what has no gradient (an optimiser's step).
    pub fn forward_only(mut self) -> Self {
        self.differentiable = false;
        self
    }

    /// The same for kernels on planes, which other devices do not run.
    pub(crate) fn on_software(self) -> Self {
        self.where_it(
            "memory that is an image and a buffer at once, and subgroups of 4, 8 or 16 lanes",
            crate::tensor::planes::suits,
        )
    }

    /// The same for devices that it `suits`; others lack what it `needs`.
    pub(crate) fn where_it(
        mut self,
        needs: &'static str,
        suits: impl Fn(&Gpu) -> bool + Send + Sync + 'static,
    ) -> Self {
        (self.needs, self.suits) = (needs, Box::new(suits));
        self
    }

    /// The same with another allowed error, relative to the largest value.
    pub fn within(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The same with a gradient from above of another size.
    pub(crate) fn upstream(self, deviation: f64) -> Self {
        Case {
            upstream: deviation,
            ..self
        }
    }

    /// The same for what mixes neighbouring elements, as Winograd's transforms do: what is not finite may spread among
    /// them.
    pub(crate) fn mixing(mut self) -> Self {
        self.spread = Spread::Mixed;
        self
    }

    /// Whether `gpu` runs what the case is about.
    pub fn suits(&self, gpu: &Gpu) -> bool {
        (self.suits)(gpu)
    }

    /// Runs the case on a device opened with [`GpuOptions::guard`](crate::GpuOptions), where the device suits it.
    pub fn run(&self, gpu: &Gpu) -> Outcome {
        let mut outcome = Outcome {
            op: self.op,
            case: self.name.clone(),
            skipped: (!self.suits(gpu)).then_some(self.needs),
            forward_error: None,
            gradient_error: None,
            tolerance: self.tolerance,
            problem: None,
        };
        if outcome.skipped.is_some() {
            return outcome;
        }
        if let Err(error) = self.measure(gpu, &mut outcome) {
            outcome.problem = Some(error.to_string());
        }
        outcome
    }

    fn measure(&self, gpu: &Gpu, outcome: &mut Outcome) -> Result<()> {
        let data: Vec<Vec<f32>> = (0..self.inputs.len())
            .map(|i| self.inputs[i].data(self.stream(&format!("input {i}"))))
            .collect();
        let run = || -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
            let numbers = self.compute(gpu, &data)?;
            // The run's memory is free for the next from here on.
            gpu.check_guards(&format!("{} {}", self.op, self.name))?;
            Ok(numbers)
        };
        let (y, gradients) = run()?;
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        for _ in 1..RUNS {
            let (y_again, gradients_again) = run()?;
            let same = bits(&y) == bits(&y_again)
                && gradients
                    .iter()
                    .zip(&gradients_again)
                    .all(|(a, b)| bits(a) == bits(b));
            if !same {
                outcome.problem = Some("two runs gave different bits".into());
            }
        }
        let mut exact: Vec<Vec<f64>> = data
            .iter()
            .map(|v| v.iter().map(|&x| f64::from(x)).collect())
            .collect();
        outcome.forward_error = Some(relative_error(&y, &(self.reference)(&exact)));
        if self.differentiable {
            let mut worst = 0f64;
            for (index, gradient) in gradients.iter().enumerate() {
                let (found, expected) = self.differences(&mut exact, index, gradient);
                worst = worst.max(relative_error(&found, &expected));
            }
            outcome.gradient_error = Some(worst);
        }
        // What is wrong of finite numbers has been said.
        if outcome.is_ok() {
            outcome.problem = self.nonfinite(gpu, &data)?;
            gpu.check_guards(&format!("{} {}", self.op, self.name))?;
        }
        Ok(())
    }

    fn stream(&self, what: &str) -> Stream {
        Stream::new(0, &format!("{} {} {what}", self.op, self.name))
    }

    /// The random upstream gradient for an output of `n` elements.
    fn upstream_of(&self, n: usize) -> Vec<f32> {
        self.stream("upstream").normals(n, self.upstream)
    }

    /// The op's result and, where it has them, the gradients of its inputs.
    fn compute(&self, gpu: &Gpu, data: &[Vec<f32>]) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
        let recorded = self.record(gpu, data)?;
        let result = recorded.y.tensor.to_vec()?;
        let gradients = match self.differentiable {
            true => recorded.gradients(&self.upstream_of(result.len()))?,
            false => Vec::new(),
        };
        Ok((result, gradients))
    }

    fn record(&self, gpu: &Gpu, data: &[Vec<f32>]) -> Result<Recorded> {
        let mut tape = Tape::new();
        let mut leaves = Vec::new();
        for (input, data) in self.inputs.iter().zip(data) {
            let tensor = Tensor::from_slice(gpu, input.shape.clone(), data)?;
            leaves.push(match self.differentiable {
                true => tape.leaf(&tensor),
                false => Var::frozen(&tensor),
            });
        }
        let y = (self.forward)(&mut tape, &leaves)?;
        Ok(Recorded { tape, leaves, y })
    }

    /// Sampled elements of the gradient of input `index`, and central differences for the same.
    fn differences(
        &self,
        exact: &mut [Vec<f64>],
        index: usize,
        gradient: &[f32],
    ) -> (Vec<f32>, Vec<f64>) {
        let n = exact[index].len();
        let mut chosen = self.stream("samples").permutation(n);
        chosen.truncate(GRADIENT_SAMPLES);
        let weighted = |exact: &[Vec<f64>]| -> f64 {
            let y = (self.reference)(exact);
            let upstream = self.upstream_of(y.len());
            y.iter()
                .zip(&upstream)
                .map(|(y, &u)| y * f64::from(u))
                .sum()
        };
        let expected = chosen
            .iter()
            .map(|&i| {
                let x = exact[index][i];
                exact[index][i] = x + STEP;
                let above = weighted(exact);
                exact[index][i] = x - STEP;
                let below = weighted(exact);
                exact[index][i] = x;
                (above - below) / (2.0 * STEP)
            })
            .collect();
        (chosen.iter().map(|&i| gradient[i]).collect(), expected)
    }
}

/// The largest difference relative to the largest expected magnitude; infinite for other lengths or NaN.
pub fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected
        .iter()
        .fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .fold(0f64, |worst, (&found, expected)| {
            let error = (f64::from(found) - expected).abs();
            if error.is_nan() {
                f64::INFINITY
            } else {
                worst.max(error)
            }
        });
    worst / largest
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Case, Input, Outcome};
    use crate::autograd::Var;
    use crate::gpu::{Gpu, GpuOptions, devices};
    use crate::tensor::Tensor;

    /// How `case` goes on this machine's device; `None`, and said so, where there is none.
    fn run(case: &Case) -> Option<Outcome> {
        if devices().is_empty() {
            eprintln!("skipped: this machine has no device");
            return None;
        }
        let options = GpuOptions {
            guard: true,
            ..GpuOptions::default()
        };
        let gpu = Gpu::open(&options).expect("a device opens");
        Some(case.run(&gpu))
    }

    #[test]
    fn memory_that_is_read_before_it_is_written_is_found() {
        let case = Case::new(
            "empty",
            "zeros by luck",
            [Input::normal([300])],
            |_, v| Ok(Var::frozen(&Tensor::empty(v[0].tensor.gpu(), [300])?)),
            |v| vec![0.0; v[0].len()],
        );
        if let Some(outcome) = run(&case.forward_only()) {
            assert!(outcome.is_failure(), "{outcome:?}");
        }
    }

    #[test]
    fn every_run_is_compared() {
        let calls = AtomicUsize::new(0);
        let case = Case::new(
            "constant",
            "another in the last run",
            [Input::normal([1])],
            move |_, v| {
                let last = calls.fetch_add(1, Ordering::Relaxed) + 1 == super::RUNS;
                let value = if last { 1.000_001 } else { 1.0 };
                let gpu = v[0].tensor.gpu();
                Ok(Var::frozen(&Tensor::from_slice(gpu, [1], &[value])?))
            },
            |_| vec![1.0],
        );
        if let Some(outcome) = run(&case.forward_only().within(1e-3)) {
            let problem = outcome.problem.expect("the last run differs");
            assert!(problem.contains("different bits"), "{problem}");
        }
    }

    #[test]
    fn a_case_that_does_not_suit_the_device_is_skipped_and_not_passed() {
        let case = Case::new("none", "", [], |_, _| unreachable!(), |_| Vec::new());
        if let Some(outcome) = run(&case.where_it("wings", |_| false)) {
            assert_eq!(outcome.skipped, Some("wings"));
            assert!(!outcome.is_ok() && !outcome.is_failure(), "{outcome:?}");
        }
    }
}
