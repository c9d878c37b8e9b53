//! LoRA (Hu et al., "LoRA: low-rank adaptation of large language models", 2021) on the layers of a network, and the
//! tutorial's branch: a low-rank map from the normalised, flattened image straight to the logits, beside the network.

use std::collections::BTreeMap;

use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
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

    fn tracked(&self, a: Var, b: Var) -> LoraFactors {
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

/// The LoRAs of a network by module, in the network's order, the branch from the pixels first.
#[derive(Clone, Debug, Default)]
pub struct Adapter(pub Vec<(String, Lora)>);

impl Adapter {
    /// Fresh factors for every target.
    ///
    /// # Errors
    /// As [`Lora::new`].
    pub fn new(
        gpu: &Gpu,
        targets: &[Target],
        rslora: bool,
        init: impl Fn(&str) -> Init,
        seed: u64,
    ) -> Result<Self> {
        let loras = targets.iter().map(|target| {
            let module = target.module.clone();
            let lora = Lora::new(gpu, target, rslora, init(&module), seed)?;
            Ok((module, lora))
        });
        Ok(Adapter(loras.collect::<Result<_>>()?))
    }

    /// The LoRA of a module.
    pub fn get(&self, module: &str) -> Option<&Lora> {
        self.0
            .iter()
            .find(|(name, _)| name == module)
            .map(|(_, lora)| lora)
    }

    /// The ranks by module, without the branch's.
    pub fn ranks(&self) -> BTreeMap<String, usize> {
        self.0
            .iter()
            .filter(|(module, _)| module != PIXELS)
            .map(|(module, lora)| (module.clone(), lora.rank()))
            .collect()
    }

    /// The position of the lowest adapted layer, or of the logits where no layer is.
    pub fn lowest(&self, arch: Arch) -> usize {
        let layers = arch.layers();
        let adapted = |name: &str| self.get(name).is_some();
        let lowest = layers.iter().position(|layer| adapted(&layer.name));
        lowest.unwrap_or(layers.len())
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.0.iter().map(|(_, lora)| lora.parameters()).sum()
    }

    /// A and B of every module in turn.
    pub fn factors(&self) -> Vec<Tensor> {
        self.0
            .iter()
            .flat_map(|(_, lora)| [lora.a.clone(), lora.b.clone()])
            .collect()
    }

    /// The same modules with other factors, in the order of [`Adapter::factors`].
    pub fn with(&self, factors: &[Tensor]) -> Self {
        let loras = self.0.iter().zip(factors.chunks(2));
        let loras = loras.map(|((module, lora), pair)| {
            let lora = Lora {
                a: pair[0].clone(),
                b: pair[1].clone(),
                ..lora.clone()
            };
            (module.clone(), lora)
        });
        Adapter(loras.collect())
    }

    /// The factors as leaves of `tape`, and those leaves in the order of [`Adapter::factors`].
    pub fn track(&self, tape: &mut Tape) -> (Factors, Vec<Var>) {
        let mut leaves = Vec::new();
        let mut loras = BTreeMap::new();
        for (module, lora) in &self.0 {
            let (a, b) = (tape.leaf(&lora.a), tape.leaf(&lora.b));
            leaves.extend([a.clone(), b.clone()]);
            loras.insert(module.clone(), lora.tracked(a, b));
        }
        (Factors(loras), leaves)
    }

    /// The factors as frozen values.
    pub fn frozen(&self) -> Factors {
        let loras = self.0.iter().map(|(module, lora)| {
            let [a, b] = [&lora.a, &lora.b].map(Var::frozen);
            (module.clone(), lora.tracked(a, b))
        });
        Factors(loras.collect())
    }

    /// The sum of several adapters, each with a scale, as one whose ranks are the sums of theirs: A is theirs one below
    /// the other, B is theirs side by side, scaled.
    ///
    /// # Errors
    /// What the device reported.
    pub fn sum(gpu: &Gpu, adapters: &[(Adapter, f64)], arch: Arch) -> Result<Self> {
        if let [(one, 1.0)] = adapters {
            return Ok(one.clone());
        }
        let mut modules = vec![PIXELS.to_string()];
        modules.extend(arch.layers().into_iter().map(|layer| layer.name));
        let mut sum = Adapter::default();
        for module in modules {
            let terms: Vec<(&Lora, f64)> = adapters
                .iter()
                .filter_map(|(adapter, scale)| Some((adapter.get(&module)?, *scale)))
                .collect();
            let Some((first, _)) = terms.first() else {
                continue;
            };
            let rank: usize = terms.iter().map(|(lora, _)| lora.rank()).sum();
            let (mut a_dims, mut b_dims) = (
                first.a.shape().dims().to_vec(),
                first.b.shape().dims().to_vec(),
            );
            (a_dims[0], b_dims[1]) = (rank, rank);
            let mut a = Vec::new();
            let mut b = vec![0.0; b_dims[0] * rank];
            let mut column = 0;
            for (lora, scale) in terms {
                a.extend(lora.a.to_vec()?);
                let scale = (f64::from(lora.scale()) * scale) as f32;
                if !scale.is_finite() {
                    return Err(Error::setting(
                        "adapter",
                        format!(
                            "has a scale that is out of range: that of {module} becomes {scale}"
                        ),
                    ));
                }
                for (index, value) in lora.b.to_vec()?.into_iter().enumerate() {
                    let (row, r) = (index / lora.rank(), index % lora.rank());
                    b[row * rank + column + r] = scale * value;
                }
                column += lora.rank();
            }
            let lora = Lora {
                a: Tensor::from_slice(gpu, a_dims, &a)?,
                b: Tensor::from_slice(gpu, b_dims, &b)?,
                alpha: rank as f64,
                rslora: false,
            };
            sum.0.push((module, lora));
        }
        Ok(sum)
    }
}

/// An adapter's factors in one computation.
#[derive(Clone, Debug, Default)]
pub struct Factors(BTreeMap<String, LoraFactors>);

/// One module's factors in one computation.
#[derive(Clone, Debug)]
pub struct LoraFactors {
    pub(crate) a: Var,
    pub(crate) b: Var,
    pub(crate) scale: f32,
    dropout: Option<Dropout>,
}

impl Factors {
    pub(crate) fn get(&self, module: &str) -> Option<&LoraFactors> {
        self.0.get(module)
    }

    /// The LoRAs of the named modules, in their order.
    pub(crate) fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<(&'a str, &LoraFactors)> {
        names
            .filter_map(|name| Some((name, self.0.get(name)?)))
            .collect()
    }

    /// The same for the images of a step from number `image` on.
    pub(crate) fn starting_at(&self, image: usize) -> Self {
        let mut shifted = self.clone();
        for dropout in shifted.0.values_mut().filter_map(|l| l.dropout.as_mut()) {
            dropout.first += image;
        }
        shifted
    }

    /// The same values, untracked.
    pub(crate) fn detached(&self) -> Self {
        let mut detached = self.clone();
        for lora in detached.0.values_mut() {
            lora.a = Var::frozen(&lora.a.tensor);
            lora.b = Var::frozen(&lora.b.tensor);
        }
        detached
    }

    /// The same values with those of the named modules as leaves of `tape`, and the leaves: A and B in turn.
    pub(crate) fn tracked_again<'a>(
        &self,
        tape: &mut Tape,
        names: impl Iterator<Item = &'a str>,
    ) -> (Self, Vec<Var>) {
        let (mut again, mut leaves) = (self.detached(), Vec::new());
        for name in names {
            if let Some(lora) = again.0.get_mut(name) {
                lora.a = tape.leaf(&lora.a.tensor);
                lora.b = tape.leaf(&lora.b.tensor);
                leaves.extend([lora.a.clone(), lora.b.clone()]);
            }
        }
        (again, leaves)
    }

    /// The same with a share `p` of what goes into each A dropped; `stream` names the choice and `first` is the number of
    /// the first image within its step.
    pub fn with_dropout(mut self, p: f64, seed: u64, stream: &str, first: usize) -> Self {
        if p > 0.0 {
            for (module, lora) in &mut self.0 {
                let stream = Stream::new(seed, &format!("dropout {stream} {module}"));
                lora.dropout = Some(Dropout {
                    p,
                    key: [stream.word(0), stream.word(1)],
                    first,
                });
            }
        }
        self
    }

    /// `logits` [N, classes] with what the branch from the pixels adds to them, where there is one: images [N, 3 H W].
    ///
    /// # Errors
    /// [`Error::Shape`] where the images have another number of pixels than A has columns.
    pub fn branch(&self, tape: &mut Tape, logits: &Var, images: &Var) -> Result<Var> {
        let Some(lora) = self.get(PIXELS) else {
            return Ok(logits.clone());
        };
        let shape = images.tensor.shape();
        let x = ops::reshape(tape, images, [shape[0], shape.row_len()])?;
        let x = lora.dropped(tape, &x)?;
        ops::low_rank(tape, logits, &x, [&lora.a, &lora.b], lora.scale)
    }
}

impl LoraFactors {
    /// What goes into A.
    pub(crate) fn dropped(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        match self.dropout {
            Some(how) => ops::dropout(tape, x, how),
            None => Ok(x.clone()),
        }
    }
}
