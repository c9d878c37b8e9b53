//! `cross_entropy`: softmax and negative log-likelihood in one, the mean over the batch (PyTorch's
//! `nn.CrossEntropyLoss`), for class indices or probabilities, with label smoothing and weights of the classes.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::ops::max_pool2d::larger;
use crate::ops::sum;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    c: u32,
    indices: u32,
    mixed: u32,
    weighed: u32,
    certain: f32,
    spread: f32,
    scale: f32,
}

const FILE: &str = "ops/cross_entropy.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "cross_entropy.forward",
    FILE,
    "forward",
    &[Read, Read, Read, Write, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// What the logits should say.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class index a row.
    Classes(&'a [u32]),
    /// One number a logit, row after row; a row usually sums to 1. No gradient flows to them.
    Probabilities(&'a [f32]),
}

/// How sure of its class the network is asked to be, how much each class counts, and of how many rows the mean is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Criterion<'a> {
    /// Share of each target that is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// What each class counts; `None`: 1.
    pub weights: Option<&'a [f32]>,
    /// What the sum over the rows is divided by; `None`: their own [`Criterion::divisor`]. Rows that are a part of a batch
    /// are given the whole batch's, and the losses of the parts add up to its loss.
    pub divisor: Option<f64>,
}

impl Criterion<'_> {
    /// What the sum over the rows of a batch is divided by: the weights of their classes, summed; without weights, and for
    /// probabilities, their number.
    ///
    /// # Errors
    /// [`Error::Usage`] for a class without a weight.
    pub fn divisor(&self, targets: Targets, rows: usize) -> Result<f64> {
        let (Some(weights), Targets::Classes(classes)) = (self.weights, targets) else {
            return Ok(rows as f64);
        };
        let weight = |&class: &u32| {
            let weight = weights.get(class as usize).map(|&w| f64::from(w));
            weight.ok_or_else(|| past(class, weights.len()))
        };
        classes.iter().map(weight).sum()
    }
}

/// Weights that let every class count as much as any other, however many rows it has: rows over classes that have some over
/// the rows of the class (scikit-learn's `compute_class_weight("balanced")`). A class without rows has 1, the mean over all
/// rows.
pub fn balanced(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut counts = vec![0u64; classes];
    for &label in labels {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    let rows: u64 = counts.iter().sum();
    let present = counts.iter().filter(|&&count| count > 0).count() as f64;
    let weight = |&count: &u64| match count {
        0 => 1.0,
        count => (rows as f64 / (present * count as f64)) as f32,
    };
    counts.iter().map(weight).collect()
}

/// The mean over N rows of `sum_c t[c] * (log sum exp z - z[c])`: [N, C] -> `[1]`.
///
/// # Errors
/// [`Error::Shape`] where the targets do not fit the logits, [`Error::Usage`] for a class index past
/// the last.
pub fn cross_entropy(tape: &mut Tape, logits: &Var, targets: Targets) -> Result<Var> {
    cross_entropy_by(tape, logits, targets, &Criterion::default())
}

/// The same by a criterion: `t[c]` becomes `w[c] ((1 - s) t[c] + s / C)` with weights `w` and label smoothing `s`.
///
/// # Errors
/// As [`cross_entropy()`], and [`Error::Shape`] where the weights are not one a class, [`Error::Setting`] for label smoothing
/// that is no share.
pub fn cross_entropy_by(
    tape: &mut Tape,
    logits: &Var,
    targets: Targets,
    criterion: &Criterion,
) -> Result<Var> {
    let op = "cross_entropy";
    let z = &logits.tensor;
    let (params, words) = plan(z.shape(), targets, criterion)?;
    check_trips(z.gpu(), op, params.c as usize)?;
    let upload = |bytes: &[u8]| {
        let buffer = z.gpu().alloc(bytes.len() as u64)?;
        z.gpu().write(&buffer, 0, bytes)?;
        Ok::<_, Error>(buffer)
    };
    let targets = upload(bytemuck::cast_slice(words))?;
    let weights = criterion.weights.map(bytemuck::cast_slice).map(upload);
    let weights = weights.transpose()?;
    let rows = Tensor::empty(z.gpu(), [params.n as usize])?;
    let dz = Tensor::empty(z.gpu(), z.shape().clone())?;
    let bindings = [
        z.buffer(op)?,
        &targets,
        // Without weights nothing is read there.
        weights.as_ref().unwrap_or(&targets),
        rows.buffer(op)?,
        dz.buffer(op)?,
    ];
    z.gpu()
        .run(&FORWARD, &params, &bindings, params.n as usize)?;
    let loss = sum::forward(&rows, params.scale)?;
    tape.record(loss, &[logits], || Rule { dz })
}

fn plan<'a>(z: &Shape, targets: Targets<'a>, criterion: &Criterion) -> Result<(Params, &'a [u32])> {
    let (words, wanted): (&[u32], usize) = match targets {
        Targets::Classes(classes) => (classes, z[0]),
        Targets::Probabilities(t) => (bytemuck::cast_slice(t), z.len()),
    };
    if z.rank() != 2 || words.len() != wanted {
        let expected = "logits [N, C] and targets of N classes or N x C probabilities";
        let found = format!("{z} and {} targets", words.len());
        return Err(Error::shape("cross_entropy", expected, found));
    }
    let indices = matches!(targets, Targets::Classes(_));
    if let (true, Some(&class)) = (indices, words.iter().find(|&&class| class as usize >= z[1])) {
        return Err(past(class, z[1]));
    }
    if let Some(weights) = criterion.weights.filter(|weights| weights.len() != z[1]) {
        let expected = format!("a weight for each of {} classes", z[1]);
        return Err(Error::shape(
            "cross_entropy",
            expected,
            weights.len().to_string(),
        ));
    }
    let smoothing = criterion.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        let problem = format!("must be at least 0 and at most 1, found {smoothing}");
        return Err(Error::setting("label_smoothing", problem));
    }
    let divisor = match criterion.divisor {
        Some(divisor) => divisor,
        None => criterion.divisor(targets, z[0])?,
    };
    let params = Params {
        n: z[0] as u32,
        c: z[1] as u32,
        indices: u32::from(indices),
        mixed: u32::from(smoothing > 0.0),
        weighed: u32::from(criterion.weights.is_some()),
        certain: (1.0 - smoothing) as f32,
        spread: (smoothing / z[1] as f64) as f32,
        scale: (1.0 / divisor) as f32,
    };
    Ok((params, words))
}

fn past(class: u32, classes: usize) -> Error {
    Error::Usage(format!(
        "cross_entropy: class {class} is past the last of {classes} classes"
    ))
}

struct Rule {
    /// The gradient of the loss itself, which came with it.
    dz: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let (shape, n) = (self.dz.shape().clone(), self.dz.shape().len());
        let scaled = Gradient::Outer {
            left: dy.reshaped([1, 1]),
            right: self.dz.reshaped([1, n]),
            alpha: 1.0,
        };
        Ok(vec![Some(scaled.dense()?.reshaped(shape).into())])
    }

    fn backward_of_one(self: Box<Self>, _: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(self.dz.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let plain = (0.0, false);
    vec![
        classes([1, 1], plain),
        classes([5, 1000], plain),
        classes([2, 63], plain),
        classes([5, 130], (0.1, false)),
        classes([5, 130], (0.0, true)),
        classes([7, 66], (0.3, true)),
        part_of_a_batch(),
        probabilities([3, 131], plain),
        probabilities([3, 131], (0.1, false)),
        probabilities([3, 67], (0.2, true)),
    ]
}

/// The loss by its definition; `t` are probabilities, of class indices 0 and 1.
fn reference(z: &[f64], t: &[f64], c: usize, indices: bool, criterion: &Criterion) -> f64 {
    let smoothing = criterion.label_smoothing;
    let weight = |class: usize| criterion.weights.map_or(1.0, |w| f64::from(w[class]));
    let rows = z.chunks(c).zip(t.chunks(c)).map(|(z, t)| {
        // From the largest, as PyTorch does: where that is not finite, nothing of the row is.
        let largest = z.iter().copied().fold(f64::NEG_INFINITY, larger);
        let log_sum = z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
        let terms = t.iter().zip(z).enumerate().map(|(class, (t, z))| {
            let t = weight(class) * ((1.0 - smoothing) * t + smoothing / c as f64);
            match indices && t == 0.0 {
                true => 0.0,
                false => t * (log_sum - (z - largest)),
            }
        });
        terms.sum::<f64>()
    });
    let weights = t.chunks(c).map(|t| match indices {
        true => t
            .iter()
            .enumerate()
            .map(|(class, t)| weight(class) * t)
            .sum(),
        false => 1.0,
    });
    rows.sum::<f64>() / criterion.divisor.unwrap_or_else(|| weights.sum())
}

/// A criterion that owns its weights.
struct How {
    label_smoothing: f64,
    weights: Option<Vec<f32>>,
}

impl How {
    fn new(c: usize, (label_smoothing, weighed): (f64, bool)) -> Self {
        let weight = |class: usize| 0.25 + (class % 5) as f32;
        How {
            label_smoothing,
            weights: weighed.then(|| (0..c).map(weight).collect()),
        }
    }

    fn criterion(&self) -> Criterion<'_> {
        Criterion {
            label_smoothing: self.label_smoothing,
            weights: self.weights.as_deref(),
            divisor: None,
        }
    }

    /// What is not usual, for a case's name.
    fn name(&self) -> String {
        let mut name = String::new();
        if self.label_smoothing > 0.0 {
            name += &format!(", {} smoothed", self.label_smoothing);
        }
        if self.weights.is_some() {
            name += ", weighed";
        }
        name
    }
}

fn labels(n: usize, c: usize) -> (Vec<u32>, Vec<f64>) {
    let classes: Vec<u32> = (0..n).map(|i| ((i * 37 + 5) % c) as u32).collect();
    let one = |i: usize| f64::from(u8::from(classes[i / c] as usize == i % c));
    let one_hot = (0..n * c).map(one).collect();
    (classes, one_hot)
}

fn classes([n, c]: [usize; 2], how: (f64, bool)) -> Case {
    let [how, same] = [(); 2].map(|()| How::new(c, how));
    let (classes, one_hot) = labels(n, c);
    Case::new(
        "cross_entropy",
        format!("[{n}, {c}] classes{}", how.name()),
        [Input::normal([n, c]).times(3.0)],
        move |tape, v| cross_entropy_by(tape, &v[0], Targets::Classes(&classes), &how.criterion()),
        move |v| vec![reference(&v[0], &one_hot, c, true, &same.criterion())],
    )
}

fn probabilities([n, c]: [usize; 2], how: (f64, bool)) -> Case {
    let [how, same] = [(); 2].map(|()| How::new(c, how));
    let t: Vec<f32> = (0..n * c).map(|i| (i % 7) as f32 / 400.0).collect();
    let t64: Vec<f64> = t.iter().map(|&t| f64::from(t)).collect();
    Case::new(
        "cross_entropy",
        format!("[{n}, {c}] probabilities{}", how.name()),
        [Input::normal([n, c]).times(3.0)],
        move |tape, v| cross_entropy_by(tape, &v[0], Targets::Probabilities(&t), &how.criterion()),
        move |v| vec![reference(&v[0], &t64, c, false, &same.criterion())],
    )
}

/// Three rows of a batch whose weights sum to more than theirs.
fn part_of_a_batch() -> Case {
    let [n, c] = [3, 10];
    let (classes, one_hot) = labels(n, c);
    let criterion = Criterion {
        divisor: Some(11.5),
        ..Criterion::default()
    };
    Case::new(
        "cross_entropy",
        format!("[{n}, {c}] classes, part of a batch"),
        [Input::normal([n, c]).times(3.0)],
        move |tape, v| cross_entropy_by(tape, &v[0], Targets::Classes(&classes), &criterion),
        move |v| vec![reference(&v[0], &one_hot, c, true, &criterion)],
    )
}

#[cfg(test)]
mod tests {
    use super::{Criterion, Targets, balanced, plan};

    #[test]
    fn targets_must_fit_the_logits() {
        let plan = |z: &[usize], t: Targets| plan(&z.into(), t, &Criterion::default()).map(drop);
        assert!(plan(&[2, 3], Targets::Classes(&[0, 2])).is_ok());
        assert!(plan(&[2, 3], Targets::Classes(&[0, 3])).is_err());
        assert!(plan(&[2, 3], Targets::Classes(&[0])).is_err());
        assert!(plan(&[2, 3], Targets::Probabilities(&[0.5; 6])).is_ok());
        assert!(plan(&[2, 3], Targets::Probabilities(&[0.5; 2])).is_err());
        assert!(plan(&[2, 3, 1], Targets::Classes(&[0, 2])).is_err());
    }

    #[test]
    fn a_criterion_must_fit_the_logits() {
        let of = |label_smoothing: f64, weights| {
            let criterion = Criterion {
                label_smoothing,
                weights,
                divisor: None,
            };
            plan(&[2, 3].into(), Targets::Classes(&[0, 2]), &criterion).map(|(p, _)| p.scale)
        };
        assert_eq!(of(0.0, None).ok(), Some(0.5));
        assert_eq!(of(1.0, Some(&[3.0, 9.0, 1.0])).ok(), Some(0.25));
        assert!(of(0.0, Some(&[1.0, 1.0])).is_err(), "a class too few");
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(of(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_rare_count_as_much_as_the_many() {
        assert_eq!(balanced(&[0, 0, 0, 2], 4), [4.0 / 6.0, 1.0, 2.0, 1.0]);
        assert_eq!(balanced(&[], 2), [1.0, 1.0]);
    }
}
