//! LoRA (Hu et al., "LoRA: low-rank adaptation of large language models", 2021) on one layer of a network, and the
//! tutorial's branch: a low-rank map from the normalised, flattened image straight to the logits, beside the network.

use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::{self, Dropout};
use crate::random::Stream;
use crate::tensor::Tensor;

/// The module name of the branch in adapter files: a LoRA on a zero `Linear(3 H W, classes, bias=False)`.
pub const PIXELS: &str = "pixels";

/// How A starts; B starts at zero, so that training starts from the base's own predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Standard normal: `torch.randn`, the tutorial's.
    Tutorial,
    /// Uniform within `1 / sqrt(fan in)`: PEFT's default, `kaiming_uniform_(a=sqrt(5))`.
    Kaiming,
    /// Normal with deviation `1 / r`: PEFT's `init_lora_weights="gaussian"`.
    Gaussian,
}

/// What one module's LoRA is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// torchvision's name, or [`PIXELS`].
    pub module: String,
    /// The weight that the LoRA adds to: [out, in], or [out, in, 3, 3] of a convolution.
    pub weight: Vec<usize>,
    /// The rank r.
    pub rank: usize,
    /// `lora_alpha`.
    pub alpha: f64,
}

/// The factors of one adapted module, laid out as PEFT's files are.
#[derive(Clone, Debug)]
pub struct Lora {
    /// `lora_A.weight`: [rank, in], or [rank, in, 3, 3] of a convolution.
    pub a: Tensor,
    /// `lora_B.weight`: [out, rank], or [out, rank, 1, 1].
    pub b: Tensor,
    /// `lora_alpha`; see [`Lora::scale`].
    pub alpha: f64,
    /// Scaled by `alpha / sqrt r` instead of `alpha / r` (Kalajdzievski, "A rank stabilization scaling factor for
    /// fine-tuning with LoRA", 2023).
    pub rslora: bool,
}

impl Lora {
    /// Fresh factors; A's numbers are the [`Stream`] `<module>.lora_A` under `seed`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rank or alpha that the module cannot have.
    pub fn new(gpu: &Gpu, target: &Target, rslora: bool, init: Init, seed: u64) -> Result<Self> {
        let Target {
            module,
            weight,
            rank,
            alpha,
        } = target;
        let [a_shape, b_shape] = target.shapes();
        let inputs: usize = weight[1..].iter().product();
        let most = inputs.min(weight[0]);
        if *rank == 0 || *rank > most {
            return Err(Error::setting(
                "rank",
                format!("must lie between 1 and {most} for {module}, found {rank}"),
            ));
        }
        // What is multiplied with is an f32.
        if !(*alpha > 0.0 && (*alpha as f32).is_finite()) {
            return Err(Error::setting(
                "alpha",
                format!("must be a positive number of at most 3e38 for {module}, found {alpha:?}"),
            ));
        }
        let stream = Stream::new(seed, &format!("{module}.lora_A"));
        let a = Tensor::from_fn(gpu, a_shape, |first, out| match init {
            Init::Tutorial => stream.fill_normal(first, 1.0, out),
            Init::Kaiming => stream.fill_uniform(first, 1.0 / (inputs as f64).sqrt(), out),
            Init::Gaussian => stream.fill_normal(first, 1.0 / *rank as f64, out),
        })?;
        let b = Tensor::from_fn(gpu, b_shape, |_, out| out.fill(0.0))?;
        Ok(Lora {
            a,
            b,
            alpha: *alpha,
            rslora,
        })
    }

    /// The rank r.
    pub fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// s = alpha / r, or alpha / sqrt r.
    pub fn scale(&self) -> f32 {
        let rank = self.rank() as f64;
        (self.alpha / if self.rslora { rank.sqrt() } else { rank }) as f32
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.a.shape().len() + self.b.shape().len()
    }

    pub(super) fn tracked(&self, a: Var, b: Var) -> LoraFactors {
        LoraFactors {
            a,
            b,
            scale: self.scale(),
            dropout: None,
        }
    }
}

impl Target {
    /// The shapes of A and B.
    pub fn shapes(&self) -> [Vec<usize>; 2] {
        let (mut a, mut b) = (self.weight.clone(), vec![self.weight[0], self.rank]);
        a[0] = self.rank;
        b.resize(self.weight.len(), 1);
        [a, b]
    }
}

/// One module's factors in one computation.
#[derive(Clone, Debug)]
pub struct LoraFactors {
    pub(crate) a: Var,
    pub(crate) b: Var,
    pub(crate) scale: f32,
    pub(super) dropout: Option<Dropout>,
}

impl LoraFactors {
    /// Whether what goes into A is not all that the layer takes.
    pub(crate) fn drops(&self) -> bool {
        self.dropout.is_some()
    }

    /// What goes into A.
    pub(crate) fn dropped(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        match self.dropout {
            Some(how) => ops::dropout(tape, x, how),
            None => Ok(x.clone()),
        }
    }
}
