//! A new last layer for classes of one's own, trained whole: what PEFT keeps under `modules_to_save`.

use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
use crate::nn::weights::Source;
use crate::ops;
use crate::random::Stream;
use crate::tensor::Tensor;

/// How a head starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadInit {
    /// PyTorch's `nn.Linear`: weight and bias uniform within `1 / sqrt(in)`.
    Linear,
    /// Zeros: every class is as likely as any other at first.
    Zero,
}

/// A last layer in the place of the base's.
#[derive(Clone, Debug)]
pub struct Head {
    /// [K, in], trained.
    pub weight: Tensor,
    /// `[K]`, trained.
    pub bias: Tensor,
    /// The base's own last layer in front, [M, in] and `[M]`, frozen: the K classes then come behind its M.
    pub kept: Option<[Tensor; 2]>,
}

/// A head's numbers in one computation.
#[derive(Clone, Debug)]
pub(super) struct HeadVars {
    weight: Var,
    bias: Var,
    kept: Option<[Var; 2]>,
}

impl Head {
    /// `classes` new outputs on what the layer before the last of `arch` gives. The numbers are the [`Stream`]s
    /// `<module>.weight` and `<module>.bias` under `seed`.
    ///
    /// # Errors
    /// What the device reported.
    pub fn new(gpu: &Gpu, arch: Arch, classes: usize, init: HeadInit, seed: u64) -> Result<Self> {
        let (module, inputs) = arch.head();
        let within = 1.0 / (inputs as f64).sqrt();
        let numbers = |name: &str, shape: &[usize]| {
            let stream = Stream::new(seed, &format!("{module}.{name}"));
            Tensor::from_fn(gpu, shape, |first, out| match init {
                HeadInit::Linear => stream.fill_uniform(first, within, out),
                HeadInit::Zero => out.fill(0.0),
            })
        };
        Ok(Head {
            weight: numbers("weight", &[classes, inputs])?,
            bias: numbers("bias", &[classes])?,
            kept: None,
        })
    }

    /// The same behind the last layer of the base whose numbers `source` has.
    ///
    /// # Errors
    /// [`Error::Setting`] where the base has no last layer; what the device reported.
    pub fn behind(self, arch: Arch, source: &Source) -> Result<Self> {
        let (module, inputs) = arch.head();
        if arch.classes == 0 {
            return Err(Error::setting(
                "keep_imagenet",
                "asks for the classes of the base, and this base has no classifier",
            ));
        }
        let read = |name: &str, shape: &[usize]| {
            let name = format!("{module}.{name}");
            let fill = |first: usize, out: &mut [f32]| source.fill(&name, shape, first, out);
            Tensor::from_fn(self.weight.gpu(), shape, fill)
        };
        let kept = [
            read("weight", &[arch.classes, inputs])?,
            read("bias", &[arch.classes])?,
        ];
        Ok(Head {
            kept: Some(kept),
            ..self
        })
    }

    /// The first `kept` outputs of this head as frozen ones.
    ///
    /// # Errors
    /// What the device reported.
    pub fn freezing(&self, kept: usize) -> Result<Self> {
        let all = self.weight.shape()[0];
        if kept == 0 || self.kept.is_some() {
            return Ok(self.clone());
        }
        let part = |tensor: &Tensor, rows: std::ops::Range<usize>| {
            let mut dims = tensor.shape().dims().to_vec();
            let row: usize = dims[1..].iter().product();
            dims[0] = rows.len();
            let values = tensor.to_vec()?;
            Tensor::from_slice(
                tensor.gpu(),
                dims,
                &values[rows.start * row..rows.end * row],
            )
        };
        Ok(Head {
            weight: part(&self.weight, kept..all)?,
            bias: part(&self.bias, kept..all)?,
            kept: Some([part(&self.weight, 0..kept)?, part(&self.bias, 0..kept)?]),
        })
    }

    /// Outputs that are not trained, in front.
    pub fn frozen(&self) -> usize {
        self.kept.as_ref().map_or(0, |[_, bias]| bias.shape()[0])
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.frozen() + self.bias.shape()[0]
    }

    /// Weight [outputs, in] and bias `[outputs]` of the whole layer, on the host.
    ///
    /// # Errors
    /// What the device reported.
    pub fn to_vecs(&self) -> Result<[Vec<f32>; 2]> {
        let [mut weight, mut bias] = match &self.kept {
            Some([weight, bias]) => [weight.to_vec()?, bias.to_vec()?],
            None => [Vec::new(), Vec::new()],
        };
        weight.extend(self.weight.to_vec()?);
        bias.extend(self.bias.to_vec()?);
        Ok([weight, bias])
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.weight.shape().len() + self.bias.shape().len()
    }

    pub(super) fn vars(&self, weight: Var, bias: Var) -> HeadVars {
        HeadVars {
            weight,
            bias,
            kept: self
                .kept
                .as_ref()
                .map(|pair| pair.each_ref().map(Var::frozen)),
        }
    }
}

impl HeadVars {
    /// What the last layer of the trunk gives [N, in] -> the logits [N, outputs].
    pub(super) fn logits(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let new = linear(tape, x, &self.weight, &self.bias)?;
        match &self.kept {
            Some([weight, bias]) => {
                let kept = linear(tape, x, weight, bias)?;
                ops::concat_columns(tape, &kept, &new)
            }
            None => Ok(new),
        }
    }
}

fn linear(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var) -> Result<Var> {
    let y = ops::linear(tape, x, weight)?;
    ops::bias(tape, &y, bias)
}
