//! LoRA (Hu et al., "LoRA: low-rank adaptation of large language models", 2021). Here the tutorial's
//! branch: a low-rank map from the normalised, flattened image straight to the logits, beside the network.

use crate::random::Stream;
use crate::{Error, Gpu, Result, Tape, Tensor, Var, ops};

/// The module name of the branch in adapter files: a LoRA on a zero `Linear(3 H W, classes, bias=False)`.
pub const PIXELS: &str = "pixels";

/// How A starts; B starts at zero, so that training starts from the base's own predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Standard normal: `torch.randn`, the tutorial's.
    Tutorial,
    /// Uniform within `1 / sqrt(in)`: PEFT's default, `kaiming_uniform_(a=sqrt(5))`.
    Kaiming,
    /// Normal with deviation `1 / r`: PEFT's `init_lora_weights="gaussian"`.
    Gaussian,
}

/// The factors of one adapted module, laid out as PEFT's files are.
#[derive(Clone)]
pub struct Lora {
    /// `lora_A.weight`, [rank, inputs].
    pub a: Tensor,
    /// `lora_B.weight`, [outputs, rank].
    pub b: Tensor,
    /// `lora_alpha`; the product is scaled by `alpha / rank`.
    pub alpha: f64,
}

impl Lora {
    /// Fresh factors; A's numbers are the [`Stream`] `pixels.lora_A` under `seed`.
    ///
    /// # Errors
    /// [`Error::Usage`] for rank 0 or an alpha that is not a positive number.
    pub fn new(
        gpu: &Gpu,
        [inputs, outputs]: [usize; 2],
        rank: usize,
        alpha: f64,
        init: Init,
        seed: u64,
    ) -> Result<Self> {
        if rank == 0 || rank > inputs.min(outputs) {
            return Err(Error::Usage(format!(
                "--rank must lie between 1 and {}, found {rank}",
                inputs.min(outputs)
            )));
        }
        if !alpha.is_finite() || alpha <= 0.0 {
            return Err(Error::Usage(format!(
                "--alpha must be a positive number, found {alpha}"
            )));
        }
        let stream = Stream::new(seed, &format!("{PIXELS}.lora_A"));
        let a = Tensor::from_fn(gpu, [rank, inputs], |first, out| match init {
            Init::Tutorial => stream.fill_normal(first, 1.0, out),
            Init::Kaiming => stream.fill_uniform(first, 1.0 / (inputs as f64).sqrt(), out),
            Init::Gaussian => stream.fill_normal(first, 1.0 / rank as f64, out),
        })?;
        let b = Tensor::from_fn(gpu, [outputs, rank], |_, out| out.fill(0.0))?;
        Ok(Lora { a, b, alpha })
    }

    /// The rank r.
    pub fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// s = alpha / r.
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank() as f64) as f32
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.a.shape().len() + self.b.shape().len()
    }

    /// `s x A^T B^T` for images x: [N, 3, H, W] -> [N, outputs], with A and B as the caller tracks them.
    ///
    /// # Errors
    /// [`Error::Shape`] where the images have another number of pixels than A has columns.
    pub fn forward(&self, tape: &mut Tape, images: &Var, a: &Var, b: &Var) -> Result<Var> {
        let shape = images.tensor.shape();
        let x = ops::reshape(tape, images, [shape[0], shape.row_len()])?;
        ops::low_rank(tape, &x, a, b, self.scale())
    }
}
