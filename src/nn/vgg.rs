//! The frozen network on a device: what is held of each layer. `load.rs` makes it, `forward.rs` runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::conv::{planes, rows};
use crate::error::{Error, Result};
use crate::gpu::tune::Measured;
use crate::gpu::{Gpu, Warmer};
use crate::nn::arch::{Arch, Layer, large_planes};
use crate::ops::Frozen;
use crate::ops::linear::Cuts;
use crate::tensor::Tensor;

/// A weight whose product its kernels form in rows.
#[derive(Clone)]
pub(super) enum Weight {
    /// Of any layer, as it was given.
    Plain(Tensor),
    /// A linear layer's that was loaded, and how its products are cut up.
    Matrix(Frozen, Cuts),
    /// A convolution's, prepared.
    Tiles(Arc<rows::Layer>),
}

/// What the device holds of a layer.
#[derive(Clone)]
pub(super) enum Held {
    /// A convolution in planes, with its bias.
    Planes(Arc<planes::Layer>),
    Rows {
        weight: Weight,
        bias: Tensor,
    },
    /// Of a layer in rows whose frozen product is known: see [`Vgg::product`].
    Bias(Tensor),
    /// Nothing: see [`Vgg::release`].
    Released,
}

#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) layer: Layer,
    pub(super) held: Held,
    /// What its batch norm, which is worked into its weight, multiplies each channel by: a LoRA's share of the channel too.
    pub(super) norm: Option<Tensor>,
    /// Of the LoRA that it may have.
    pub(super) rank: usize,
}

/// A frozen network on a device, in the kernel family that the device is best at.
#[derive(Clone)]
pub struct Vgg {
    pub(super) gpu: Gpu,
    pub(super) arch: Arch,
    pub(super) layers: Vec<Loaded>,
    pub(super) software: Option<Arc<planes::Context>>,
    /// Without the last layer: an adapter's head is in its place.
    pub(super) headless: bool,
    pub(super) measured: Measured,
    /// Compiles as long as there is something to compile for.
    pub(super) _warmer: Option<Arc<Warmer>>,
}

impl fmt::Debug for Vgg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vgg")
            .field("arch", &self.arch.name)
            .field("family", &self.family())
            .field("device", &self.gpu.info().name)
            .finish_non_exhaustive()
    }
}

impl Vgg {
    /// A network of the portable family with the given parameters, without batch norm.
    ///
    /// # Errors
    /// [`Error::Usage`] where one is missing or has another shape, or `arch` has batch norm, which [`Vgg::load`] works in.
    pub fn new(arch: Arch, parameters: &BTreeMap<String, Tensor>) -> Result<Self> {
        if arch.batch_norm {
            return Err(Error::Usage(format!(
                "vgg: {} has batch norm: load it from a source",
                arch.name
            )));
        }
        for (name, shape) in arch.parameters() {
            match parameters.get(&name) {
                Some(tensor) if *tensor.shape() == shape => {}
                Some(tensor) => {
                    return Err(Error::shape(
                        "vgg",
                        format!("{name} {shape}"),
                        tensor.shape().to_string(),
                    ));
                }
                None => {
                    return Err(Error::Usage(format!(
                        "vgg: the parameter {name} is missing"
                    )));
                }
            }
        }
        let layers = arch.layers().into_iter().map(|layer| Loaded {
            held: Held::Rows {
                weight: Weight::Plain(parameters[&format!("{}.weight", layer.name)].clone()),
                bias: parameters[&format!("{}.bias", layer.name)].clone(),
            },
            layer,
            norm: None,
            rank: 0,
        });
        let layers: Vec<Loaded> = layers.collect();
        let gpu = parameters
            .values()
            .next()
            .expect("a network has parameters")
            .gpu()
            .clone();
        Ok(Vgg {
            gpu,
            arch,
            layers,
            software: None,
            headless: arch.classes == 0,
            measured: Measured::default(),
            _warmer: None,
        })
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The device that holds the parameters.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// `software` or `portable`: whose kernels this network runs on.
    pub fn family(&self) -> &'static str {
        match self.software {
            Some(_) => "software",
            None => "portable",
        }
    }

    /// How many kernels were measured when this network was loaded: those that [`tuning`](crate::nn::Loading::tuning)'s file lacked.
    pub fn measured(&self) -> usize {
        self.measured.choices
    }

    /// Why what was measured could not be kept in [`Loading::tuning`](crate::nn::Loading::tuning)'s file: the next network measures again, may choose
    /// otherwise, and then rounds otherwise.
    pub fn unkept(&self) -> Option<&str> {
        self.measured.lost.as_deref()
    }

    /// The parameters by name that are there row by row: all of [`Vgg::new`], else at most those of linear layers.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        let mut parameters = BTreeMap::new();
        for Loaded { layer, held, .. } in &self.layers {
            if let Held::Rows {
                weight: Weight::Plain(weight) | Weight::Matrix(Frozen::Plain(weight), _),
                bias,
            } = held
            {
                parameters.insert(format!("{}.weight", layer.name), weight.clone());
                parameters.insert(format!("{}.bias", layer.name), bias.clone());
            }
        }
        parameters
    }

    /// Gives the memory of the layers before `layer` back, which cannot be run any more, and with `product` the weight of
    /// `layer` too, which then runs from its product alone.
    pub fn release(&mut self, layer: usize, product: bool) {
        for loaded in &mut self.layers[..layer] {
            loaded.held = Held::Released;
        }
        if let Some(loaded) = self.layers.get_mut(layer).filter(|_| product)
            && let Held::Rows { bias, .. } = &loaded.held
        {
            loaded.held = Held::Bias(bias.clone());
        }
        self.gpu.trim();
    }

    /// The number of layers: the position after the last, where the logits are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Side of the planes that convolution `layer` takes for images of `side`.
    pub(super) fn side_at(&self, layer: usize, side: usize) -> usize {
        let halvings = self.layers[..layer].iter().filter(|l| l.layer.pool).count();
        side >> halvings
    }

    /// The first layer from `start` on, which takes planes of `side`, that is not one with [`large_planes`]: from there on
    /// it pays to read a weight once for all images.
    pub(super) fn small_planes(&self, start: usize, side: usize) -> usize {
        let layers = self.layers[start..].iter().map(|l| &l.layer);
        start + large_planes(layers, side)
    }

    /// The number of convolutions: the position of the first linear layer.
    pub(super) fn convs(&self) -> usize {
        self.layers.iter().filter(|l| l.layer.is_conv()).count()
    }

    /// Numbers that `layer` takes for an image of `side`: see [`Arch::row_len`].
    pub fn row_len(&self, layer: usize, side: usize) -> usize {
        self.arch.row_len(self.headless, layer, side)
    }

    /// Numbers of [`Vgg::product`] for an image.
    pub fn product_len(&self, layer: usize) -> Option<usize> {
        self.arch.product_len(self.headless, layer)
    }

    /// Images of `side` that go through [`Vgg::prefix`] together: few enough to fit, and on a software device few enough
    /// to show progress.
    pub fn batch(&self, side: usize) -> usize {
        match &self.software {
            Some(_) => 8,
            None if self.gpu.is_software() => 1,
            None => self.max_batch(0, side).clamp(1, 32),
        }
    }

    /// Images of `side` that a step takes together: those whose largest activation from `layer` on, and whose largest parts
    /// of a sum that is split, fit one binding of the device, and in the software family a texture's width. That family
    /// takes large planes one by one.
    pub fn max_batch(&self, layer: usize, side: usize) -> usize {
        let first = match &self.software {
            Some(_) => self.small_planes(layer, self.side_at(layer, side)),
            None => layer,
        };
        let bound = |index: usize| {
            let Loaded {
                layer, held, rank, ..
            } = &self.layers[index];
            let [cout, cin] = [layer.weight[0], layer.weight[1]];
            let size = self.side_at(index, side);
            let most = self.gpu.max_binding() as usize;
            match (&self.software, held) {
                (Some(_), _) => {
                    let (padded, quads) = (size + 2, cout.max(cin).div_ceil(4));
                    let wide = self.gpu.limits().max_texture_dimension_2d as usize - 1;
                    // The gradients of a LoRA's factors are summed over the images at the end.
                    let factors = rank * (cin * 9).max(cout) * 4;
                    let image = (padded * padded * quads * 16).max(factors);
                    (wide / padded).min(most / image)
                }
                (
                    None,
                    Held::Rows {
                        weight: Weight::Tiles(conv),
                        ..
                    },
                ) => most / (conv.widest() * size * size * 4),
                (None, _) => most / (cout.max(cin) * size * size * 4),
            }
        };
        let images = (first..self.convs()).map(bound).min();
        // An image that does not fit alone is an error where it is computed.
        images.map_or(usize::MAX, |images| images.max(1))
    }
}
