//! What is trained: the LoRAs of a network's modules, and where it has new classes its head.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::head::{Head, HeadVars};
use super::lora::{Init, Lora, LoraFactors, PIXELS, Target};
use crate::autograd::{Tape, Var};
use crate::error::{Error, Remedy, Result};
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
use crate::ops::{self, Dropout};
use crate::random::Stream;
use crate::tensor::Tensor;

/// What is trained of a network.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    /// The LoRAs by module, in the network's order, the branch from the pixels first.
    pub loras: Vec<(String, Lora)>,
    /// A new last layer in the place of the base's.
    pub head: Option<Head>,
}

impl Adapter {
    /// Fresh factors for every target, and no head.
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
        Ok(Adapter {
            loras: loras.collect::<Result<_>>()?,
            head: None,
        })
    }

    /// The LoRA of a module.
    pub fn get(&self, module: &str) -> Option<&Lora> {
        self.loras
            .iter()
            .find(|(name, _)| name == module)
            .map(|(_, lora)| lora)
    }

    /// The ranks by module, without the branch's.
    pub fn ranks(&self) -> BTreeMap<String, usize> {
        self.loras
            .iter()
            .filter(|(module, _)| module != PIXELS)
            .map(|(module, lora)| (module.clone(), lora.rank()))
            .collect()
    }

    /// The position of the lowest adapted layer; where no layer is, that of the head, or of the logits.
    pub fn lowest(&self, arch: Arch) -> usize {
        let layers = arch.below_head(self.head.is_some());
        let adapted = |name: &str| self.get(name).is_some();
        let lowest = layers.iter().position(|layer| adapted(&layer.name));
        lowest.unwrap_or(layers.len())
    }

    /// The number of logits of a network of `arch` with this adapter.
    pub fn classes(&self, arch: Arch) -> usize {
        self.head.as_ref().map_or(arch.classes, Head::outputs)
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        let loras = self.loras.iter().map(|(_, lora)| lora.parameters());
        loras.chain(self.head.as_ref().map(Head::parameters)).sum()
    }

    /// What is trained: A and B of every module in turn, then weight and bias of the head.
    pub fn trained(&self) -> Vec<Tensor> {
        let loras = self.loras.iter().map(|(_, lora)| [&lora.a, &lora.b]);
        let head = self.head.as_ref().map(|head| [&head.weight, &head.bias]);
        loras.chain(head).flatten().cloned().collect()
    }

    /// SHA-256 over what is trained, and over the scales of the LoRAs, in hexadecimal digits.
    ///
    /// # Errors
    /// What the device reported.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for (module, lora) in &self.loras {
            hasher.update(format!("{module} {:e} {}\n", lora.alpha, lora.rslora));
        }
        for tensor in self.trained() {
            for number in tensor.to_vec()? {
                hasher.update(number.to_le_bytes());
            }
        }
        let digest = hasher.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Refuses what no step could update here: an optimiser takes a tensor whole.
    ///
    /// # Errors
    /// [`Error::Device`] where one is larger than a binding of its device.
    pub fn check_trainable(&self) -> Result<()> {
        for tensor in self.trained() {
            let (bytes, most) = (tensor.shape().len() as u64 * 4, tensor.gpu().max_binding());
            if bytes > most {
                let problem = format!(
                    "numbers of shape {} are to be trained, {} MiB, and this device takes {} MiB at once: train fewer \
                     classes or a lower rank",
                    tensor.shape(),
                    bytes >> 20,
                    most >> 20
                );
                return Err(Error::device(problem).with(Remedy::OtherDevice));
            }
        }
        Ok(())
    }

    /// The same modules with other numbers, in the order of [`Adapter::trained`].
    pub fn with(&self, trained: &[Tensor]) -> Self {
        let (loras, head) = trained.split_at(2 * self.loras.len());
        let loras = self.loras.iter().zip(loras.chunks(2));
        let loras = loras.map(|((module, lora), pair)| {
            let lora = Lora {
                a: pair[0].clone(),
                b: pair[1].clone(),
                ..lora.clone()
            };
            (module.clone(), lora)
        });
        Adapter {
            loras: loras.collect(),
            head: self.head.as_ref().map(|before| Head {
                weight: head[0].clone(),
                bias: head[1].clone(),
                ..before.clone()
            }),
        }
    }

    /// What is trained as leaves of `tape`, and those leaves in the order of [`Adapter::trained`].
    pub fn track(&self, tape: &mut Tape) -> (Factors, Vec<Var>) {
        let leaves: Vec<Var> = self.trained().iter().map(|t| tape.leaf(t)).collect();
        (self.factors(&leaves), leaves)
    }

    /// The same as frozen values.
    pub fn frozen(&self) -> Factors {
        let values: Vec<Var> = self.trained().iter().map(Var::frozen).collect();
        self.factors(&values)
    }

    /// With `values` in the order of [`Adapter::trained`].
    fn factors(&self, values: &[Var]) -> Factors {
        let (loras, head) = values.split_at(2 * self.loras.len());
        let loras = self.loras.iter().zip(loras.chunks(2));
        let loras = loras.map(|((module, lora), pair)| {
            let factors = lora.tracked(pair[0].clone(), pair[1].clone());
            (module.clone(), factors)
        });
        Factors {
            loras: loras.collect(),
            head: self
                .head
                .as_ref()
                .map(|whole| whole.vars(head[0].clone(), head[1].clone())),
        }
    }

    /// The sum of several adapters, each with a scale, as one whose ranks are the sums of theirs: A is theirs one below
    /// the other, B is theirs side by side, scaled. A head is no sum: they have the same one, or one alone has a head,
    /// and it is taken as it is, whatever the scale.
    ///
    /// # Errors
    /// [`Error::Setting`] for adapters of different heads, of a head and a LoRA on the layer that it replaces, or for
    /// different numbers of classes; what the device reported.
    pub fn sum(gpu: &Gpu, adapters: &[(Adapter, f64)], arch: Arch) -> Result<Self> {
        if let [(one, 1.0)] = adapters {
            return Ok(one.clone());
        }
        let mut modules = vec![PIXELS.to_string()];
        modules.extend(arch.layers().into_iter().map(|layer| layer.name));
        let mut sum = Adapter {
            head: common_head(adapters)?,
            ..Adapter::default()
        };
        let (last, _) = arch.head();
        if sum.head.is_some() && adapters.iter().any(|(a, _)| a.get(last).is_some()) {
            return Err(Error::setting(
                "adapter",
                format!(
                    "is given more than once: one has a last layer of its own, and another a LoRA on {last}, which that \
                     replaces. Use them one by one"
                ),
            ));
        }
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
            if terms.iter().any(|(lora, _)| lora.b.shape()[0] != b_dims[0]) {
                return Err(Error::setting(
                    "adapter",
                    format!(
                        "is given more than once, and {module} has different numbers of classes in them"
                    ),
                ));
            }
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
            sum.loras.push((module, lora));
        }
        Ok(sum)
    }
}

/// The head that the adapters have in common, if any.
fn common_head(adapters: &[(Adapter, f64)]) -> Result<Option<Head>> {
    let mut heads = adapters.iter().filter_map(|(a, _)| a.head.as_ref());
    let Some(first) = heads.next() else {
        return Ok(None);
    };
    let numbers = first.to_vecs()?;
    for other in heads {
        if other.to_vecs()? != numbers {
            return Err(Error::setting(
                "adapter",
                "is given more than once with different heads: each answers for its own classes. Use them one by one",
            ));
        }
    }
    Ok(Some(first.clone()))
}

/// An adapter's numbers in one computation.
#[derive(Clone, Debug, Default)]
pub struct Factors {
    loras: BTreeMap<String, LoraFactors>,
    head: Option<HeadVars>,
}

impl Factors {
    pub(crate) fn get(&self, module: &str) -> Option<&LoraFactors> {
        self.loras.get(module)
    }

    /// The LoRAs of the named modules, in their order.
    pub(crate) fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<(&'a str, &LoraFactors)> {
        names
            .filter_map(|name| Some((name, self.loras.get(name)?)))
            .collect()
    }

    /// The same for the images of a step from number `image` on.
    pub(crate) fn starting_at(&self, image: usize) -> Self {
        let mut shifted = self.clone();
        for dropout in shifted
            .loras
            .values_mut()
            .filter_map(|l| l.dropout.as_mut())
        {
            dropout.first += image;
        }
        shifted
    }

    /// The same values, untracked.
    pub(crate) fn detached(&self) -> Self {
        let mut detached = self.clone();
        for lora in detached.loras.values_mut() {
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
            if let Some(lora) = again.loras.get_mut(name) {
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
            for (module, lora) in &mut self.loras {
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

    /// The logits of what the network gives, which is without its last layer where `headless` says so: the head's.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is a head for a network that has its last layer, or none for one that has not.
    pub(super) fn head(&self, tape: &mut Tape, y: Var, headless: bool) -> Result<Var> {
        match (&self.head, headless) {
            (Some(head), true) => head.logits(tape, &y),
            (None, false) => Ok(y),
            (Some(_), false) => Err(Error::Usage(
                "vgg: the adapter has a head, and the network was loaded with its own last layer"
                    .into(),
            )),
            (None, true) => Err(Error::Usage(
                "vgg: the network has no last layer, and the adapter no head in its place. Train one for classes of your own"
                    .into(),
            )),
        }
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
