//! The frozen network on a device: its layers loaded for the kernels that the device is best at. `forward.rs` runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::conv::{planes, rows};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Warmer};
use crate::nn::arch::{Arch, Layer};
use crate::nn::weights::Source;
use crate::tensor::{Halves, Precision, Tensor};

/// The side of the images that choices are made for.
const SIDE: usize = 224;

/// How a network is loaded.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    /// The portable kernels whatever the device, else those that its kind is best at.
    pub portable: bool,
    /// The rank of the LoRA that each named layer may have.
    pub ranks: BTreeMap<String, usize>,
    /// Gradients are wanted down to the lowest of those layers.
    pub trained: bool,
    /// How the portable family stores the frozen weights.
    pub precision: Precision,
    /// Measure which of the portable family's kernels are fastest on this device, once: the choices are kept in this
    /// file. Else they are the same on every device.
    pub tuning: Option<PathBuf>,
}

/// What [`Vgg::load`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// Measured one more of the kernels that [`Loading::tuning`] asks for.
    Measured {
        /// So far.
        done: usize,
        /// In all.
        of: usize,
    },
    /// Brought one more layer to the device, of so many bytes.
    Loaded(u64),
}

/// A layer in the network that is loaded.
struct Place {
    layer: Layer,
    /// Pools before it.
    pools: usize,
    needs: planes::Needs,
}

impl Place {
    /// Each layer's.
    fn all(arch: Arch, how: &Loading) -> Vec<Place> {
        let (mut pools, mut below) = (0, true);
        let places = arch.layers().into_iter().map(|layer| {
            let rank = how.ranks.get(&layer.name).copied().unwrap_or(0);
            let backward = how.trained && !below;
            let before = pools;
            below &= rank == 0;
            pools += usize::from(layer.pool);
            Place {
                layer,
                pools: before,
                needs: planes::Needs { backward, rank },
            }
        });
        places.collect()
    }

    /// What the portable family chooses a convolution's kernels for.
    fn site(&self, precision: Precision) -> rows::Site {
        rows::Site {
            cin: self.layer.weight[1],
            cout: self.layer.weight[0],
            side: SIDE >> self.pools,
            precision,
        }
    }
}

/// A layer's weight where its kernels want it.
#[derive(Clone)]
pub(super) enum Weight {
    Rows(Tensor),
    /// A linear layer's in half precision.
    Halves(Halves),
    /// A convolution's, for the portable family.
    Tiles(Arc<rows::Layer>),
    /// A convolution's, for the software family.
    Planes(Arc<planes::Layer>),
    /// Given back: see [`Vgg::release`].
    Released,
}

#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) layer: Layer,
    pub(super) weight: Weight,
    /// Of a layer in rows.
    pub(super) bias: Option<Tensor>,
}

/// A frozen network on a device, in the kernel family that the device is best at.
#[derive(Clone)]
pub struct Vgg {
    pub(super) gpu: Gpu,
    pub(super) arch: Arch,
    pub(super) layers: Vec<Loaded>,
    pub(super) software: Option<Arc<planes::Context>>,
    measured: rows::Measured,
    /// Compiles as long as there is something to compile for.
    _warmer: Option<Arc<Warmer>>,
}

impl Loading {
    /// The version of the kernels that are measured, which a [`Loading::tuning`] file carries: a file of another is not
    /// used.
    ///
    /// # Errors
    /// [`Error::Kernel`] where a kernel's source is broken.
    pub fn kernels_version() -> Result<String> {
        rows::engine()
    }
}

impl Vgg {
    /// A network of the portable family with the given parameters.
    ///
    /// # Errors
    /// [`Error::Usage`] where one is missing or has another shape.
    pub fn new(arch: Arch, parameters: &BTreeMap<String, Tensor>) -> Result<Self> {
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
            weight: Weight::Rows(parameters[&format!("{}.weight", layer.name)].clone()),
            bias: Some(parameters[&format!("{}.bias", layer.name)].clone()),
            layer,
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
            measured: rows::Measured::default(),
            _warmer: None,
        })
    }

    /// A network with the numbers of `source`. `progress` hears of each kernel that is measured, then of each layer.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has no room.
    pub fn load(
        gpu: &Gpu,
        arch: Arch,
        source: &Source,
        how: &Loading,
        mut progress: impl FnMut(LoadStep),
    ) -> Result<Self> {
        let warmer = Arc::new(Warmer::new(gpu));
        let software = match !how.portable && planes::suits(gpu) {
            true if how.precision == Precision::F16 => {
                return Err(Error::Usage(
                    "half precision is for GPUs, and the kernels for software devices store f32: leave out --precision \
                     f16, or add --kernels portable"
                        .into(),
                ));
            }
            true => Some(planes::Context::new(gpu, &warmer)?),
            false => None,
        };
        let mut tuner = rows::Tuner::new(gpu, how.precision, how.tuning.as_deref())?;
        let places = Place::all(arch, how);
        let chosen = |place: &&Place| software.is_none() && place.layer.is_conv();
        let sites = places.iter().filter(chosen).flat_map(|place| {
            let site = place.site(how.precision);
            let turned = place.needs.backward.then(|| site.turned());
            std::iter::once(site).chain(turned)
        });
        let sites: Vec<rows::Site> = sites.collect();
        let measured =
            tuner.measure(&sites, |done, of| progress(LoadStep::Measured { done, of }))?;
        let mut layers = Vec::new();
        for place in places {
            let (layer, needs) = (&place.layer, place.needs);
            let weight_name = format!("{}.weight", layer.name);
            let bias_name = format!("{}.bias", layer.name);
            let (shape, outputs) = (&layer.weight, layer.weight[0]);
            let (weight, bias) = match &software {
                Some(context) if layer.is_conv() => {
                    let values = source.read(&weight_name, shape);
                    let bias = source.read(&bias_name, &[outputs]);
                    let sizes = [outputs, shape[1]];
                    let pool = [usize::from(layer.pool), place.pools];
                    let conv = planes::Layer::new(context, sizes, &values, &bias, pool, needs)?;
                    (Weight::Planes(Arc::new(conv)), None)
                }
                _ => {
                    let fill = |name: &str, shape: &[usize]| {
                        Tensor::from_fn(gpu, shape, |first, out| {
                            source.fill(name, shape, first, out)
                        })
                    };
                    let bias = fill(&bias_name, &[outputs])?;
                    let weight = if layer.is_conv() {
                        let site = place.site(how.precision);
                        let values = source.read(&weight_name, shape);
                        let conv = rows::Layer::new(&tuner, site, &values, &bias, needs.backward)?;
                        warmer.send(&conv.kernels());
                        Weight::Tiles(Arc::new(conv))
                    } else if how.precision == Precision::F16 && Halves::suit(shape[1]) {
                        let fill = |first: usize, out: &mut [f32]| {
                            source.fill(&weight_name, shape, first, out);
                        };
                        Weight::Halves(Halves::from_fn(gpu, [outputs, shape[1]], fill)?)
                    } else {
                        Weight::Rows(fill(&weight_name, shape)?)
                    };
                    (weight, Some(bias))
                }
            };
            let bytes = (shape.iter().product::<usize>() + outputs) as u64 * 4;
            progress(LoadStep::Loaded(bytes));
            layers.push(Loaded {
                layer: place.layer,
                weight,
                bias,
            });
        }
        Ok(Vgg {
            gpu: gpu.clone(),
            arch,
            layers,
            software,
            measured,
            _warmer: Some(warmer),
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

    /// How many kernels were measured when this network was loaded: those that [`Loading::tuning`]'s file lacked.
    pub fn measured(&self) -> usize {
        self.measured.choices
    }

    /// Why what was measured could not be kept in [`Loading::tuning`]'s file: the next network measures again, may choose
    /// otherwise, and then rounds otherwise.
    pub fn unkept(&self) -> Option<&str> {
        self.measured.lost.as_deref()
    }

    /// The parameters by name that are there row by row: all of [`Vgg::new`], else at most those of linear layers.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        let mut parameters = BTreeMap::new();
        for Loaded {
            layer,
            weight,
            bias,
        } in &self.layers
        {
            if let (Weight::Rows(weight), Some(bias)) = (weight, bias) {
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
            loaded.weight = Weight::Released;
            loaded.bias = None;
        }
        if let Some(loaded) = self.layers.get_mut(layer).filter(|_| product) {
            loaded.weight = Weight::Released;
        }
        self.gpu.trim();
    }

    /// The number of layers: the position after the last, where the logits are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Side of the planes that convolution `layer` takes for images of `side`.
    pub(super) fn side_at(&self, layer: usize, side: usize) -> usize {
        let pools = self.layers[..layer].iter().filter(|l| l.layer.pool).count();
        side >> pools
    }

    /// Numbers that `layer` takes for an image of `side`: C S S of a convolution, the columns of a linear layer, the
    /// classes at the end.
    pub fn row_len(&self, layer: usize, side: usize) -> usize {
        match self.layers.get(layer) {
            None => self.arch.classes,
            Some(loaded) if loaded.layer.is_conv() => {
                loaded.layer.weight[1] * self.side_at(layer, side).pow(2)
            }
            Some(loaded) => loaded.layer.weight[1],
        }
    }

    /// Numbers of [`Vgg::product`] for an image.
    pub fn product_len(&self, layer: usize) -> Option<usize> {
        let loaded = self.layers.get(layer).filter(|l| !l.layer.is_conv());
        loaded.map(|l| l.layer.weight[0])
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

    /// Images of `side` that a step takes together: those whose largest activation from `layer` on fits one binding of the
    /// device, and in the software family a texture's width. That family takes large planes one by one.
    pub fn max_batch(&self, layer: usize, side: usize) -> usize {
        let first = match &self.software {
            Some(_) => layer.max(self.small_planes()),
            None => layer,
        };
        let bound = |index: usize| {
            let weight = &self.layers[index].layer.weight;
            let (size, channels) = (self.side_at(index, side), weight[0].max(weight[1]));
            let most = self.gpu.max_binding() as usize;
            match &self.software {
                None => most / (channels * size * size * 4),
                Some(_) => {
                    let padded = size + 2;
                    let wide = self.gpu.limits().max_texture_dimension_2d as usize - 1;
                    (wide / padded).min(most / (padded * padded * channels.div_ceil(4) * 16))
                }
            }
        };
        let least = (first..self.convs()).map(bound).min();
        // An image that does not fit alone is an error where it is computed.
        least.map_or(usize::MAX, |images| images.max(1))
    }
}
