//! Loading a network: each layer's numbers, prepared for the kernels that the device is best at, where they want them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::conv::{planes, rows};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Warmer};
use crate::nn::arch::{Arch, Layer};
use crate::nn::norm::Norm;
use crate::nn::vgg::{Held, Loaded, Vgg, Weight};
use crate::nn::weights::Source;
use crate::tensor::{Halves, Precision, Tensor};

/// How a network is loaded.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The side of the images that its kernels are chosen for. It runs on those of other sides too.
    pub side: usize,
    /// The portable kernels whatever the device, else those that its kind is best at.
    pub portable: bool,
    /// The rank of the LoRA that each named layer may have.
    pub ranks: BTreeMap<String, usize>,
    /// Gradients are wanted down to the lowest of those layers.
    pub trained: bool,
    /// Without the last layer, which an adapter's head replaces: what the trunk below it gives is then the result. So it is
    /// too where the network has none.
    pub headless: bool,
    /// How the portable family stores the frozen weights.
    pub precision: Precision,
    /// Measure which of the portable family's kernels are fastest on this device, once: the choices are kept in this
    /// file. Else they are the same on every device.
    pub tuning: Option<PathBuf>,
    /// The layers below this one are not loaded: what it takes is known of every image, as after [`Vgg::release`].
    pub lowest: usize,
    /// Nor is the weight of that layer: its [`Vgg::product`] is known too.
    pub product: bool,
}

impl Default for Loading {
    /// For images of torchvision's 224 pixels a side.
    fn default() -> Self {
        Loading {
            side: 224,
            portable: false,
            ranks: BTreeMap::new(),
            trained: false,
            headless: false,
            precision: Precision::default(),
            tuning: None,
            lowest: 0,
            product: false,
        }
    }
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
pub(super) struct Place {
    pub(super) layer: Layer,
    /// Of the planes that it takes.
    side: usize,
    needs: planes::Needs,
}

impl Place {
    /// Each layer's.
    pub(super) fn all(arch: Arch, how: &Loading) -> Vec<Place> {
        let (mut side, mut below) = (how.side, true);
        let places = arch.below_head(how.headless).into_iter().map(|layer| {
            let rank = how.ranks.get(&layer.name).copied().unwrap_or(0);
            let backward = how.trained && !below;
            let before = side;
            below &= rank == 0;
            side >>= usize::from(layer.pool);
            Place {
                layer,
                side: before,
                needs: planes::Needs { backward, rank },
            }
        });
        places.collect()
    }

    /// What the portable family chooses a convolution's kernels for.
    pub(super) fn site(&self, precision: Precision) -> rows::Site {
        rows::Site {
            cin: self.layer.weight[1],
            cout: self.layer.weight[0],
            side: self.side,
            precision,
            gradient: false,
        }
    }

    /// What the portable family chooses kernels for: of each convolution, and of its gradient where that is wanted.
    pub(super) fn sites(places: &[Place], precision: Precision) -> Vec<rows::Site> {
        let convolutions = places.iter().filter(|place| place.layer.is_conv());
        let sites = convolutions.flat_map(|place| {
            let site = place.site(precision);
            let turned = place.needs.backward.then(|| site.turned());
            std::iter::once(site).chain(turned)
        });
        sites.collect()
    }
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
    /// A network with the numbers of `source`. `progress` hears of each kernel that is measured, then of each layer, and
    /// ends the loading with an error.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has no room, [`Error::Setting`] where the kernels or a weight are not for `how`,
    /// and what `progress` returned.
    pub fn load(
        gpu: &Gpu,
        arch: Arch,
        source: &Source,
        how: &Loading,
        mut progress: impl FnMut(LoadStep) -> Result<()>,
    ) -> Result<Self> {
        let warmer = Arc::new(Warmer::new(gpu));
        let software = match !how.portable && planes::suits(gpu) {
            true if how.precision == Precision::F16 => {
                return Err(Error::setting(
                    "portable",
                    "is what half precision needs on a software device, whose own kernels store f32: ask for it, or \
                     keep full precision",
                ));
            }
            true => Some(planes::Context::new(gpu, &warmer)?),
            false => None,
        };
        let mut tuner = rows::Tuner::new(gpu, how.precision, how.tuning.as_deref())?;
        let places = Place::all(arch, how);
        let sites = match software {
            Some(_) => Vec::new(),
            None => Place::sites(&places, how.precision),
        };
        let measured =
            tuner.measure(&sites, |done, of| progress(LoadStep::Measured { done, of }))?;
        let loader = Loader {
            gpu,
            source,
            precision: how.precision,
            tuner: &tuner,
            warmer: &warmer,
        };
        let mut layers = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            let rank = place.needs.rank;
            if index < how.lowest {
                let (layer, held) = (place.layer, Held::Released);
                let norm = None;
                layers.push(Loaded {
                    layer,
                    held,
                    norm,
                    rank,
                });
                continue;
            }
            let norm = Norm::of(source, &place.layer)?;
            let held = match how.product && index == how.lowest && !place.layer.is_conv() {
                true => Held::Bias(loader.bias(&place.layer)?),
                false => loader.layer(&place, norm.as_ref(), software.as_ref())?,
            };
            let factors =
                norm.map(|norm| Tensor::from_slice(gpu, &place.layer.weight[..1], &norm.factors()));
            let bytes = match held {
                Held::Bias(_) => place.layer.weight[0] as u64 * 4,
                _ => place.layer.bytes(),
            };
            progress(LoadStep::Loaded(bytes))?;
            layers.push(Loaded {
                layer: place.layer,
                held,
                norm: factors.transpose()?,
                rank,
            });
        }
        Ok(Vgg {
            gpu: gpu.clone(),
            arch,
            layers,
            software,
            headless: how.headless || arch.classes == 0,
            measured,
            _warmer: Some(warmer),
        })
    }
}

/// Brings layers to the device.
struct Loader<'a> {
    gpu: &'a Gpu,
    source: &'a Source<'a>,
    precision: Precision,
    tuner: &'a rows::Tuner,
    warmer: &'a Warmer,
}

impl Loader<'_> {
    fn layer(
        &self,
        place: &Place,
        norm: Option<&Norm>,
        software: Option<&Arc<planes::Context>>,
    ) -> Result<Held> {
        let layer = &place.layer;
        if !layer.is_conv() {
            return Ok(Held::Rows {
                weight: self.linear(layer)?,
                bias: self.bias(layer)?,
            });
        }
        let mut weight = self.source.read(&weight_name(layer), &layer.weight);
        let mut bias = self.source.read(&bias_name(layer), &layer.weight[..1]);
        if let Some(norm) = norm {
            norm.fold(layer, &mut weight, &mut bias)?;
        }
        match software {
            Some(context) => {
                let conv = in_planes(place, context, &weight, &bias)?;
                Ok(Held::Planes(Arc::new(conv)))
            }
            None => {
                let bias = Tensor::from_slice(self.gpu, [bias.len()], &bias)?;
                let conv = self.in_tiles(place, &weight, &bias)?;
                Ok(Held::Rows {
                    weight: Weight::Tiles(Arc::new(conv)),
                    bias,
                })
            }
        }
    }

    fn in_tiles(&self, place: &Place, weight: &[f32], bias: &Tensor) -> Result<rows::Layer> {
        let (site, backward) = (place.site(self.precision), place.needs.backward);
        let conv = rows::Layer::new(self.tuner, site, weight, bias, backward)?;
        let adapted = place.needs.rank > 0;
        self.warmer.send(&conv.kernels(place.layer.pool, adapted));
        Ok(conv)
    }

    fn linear(&self, layer: &Layer) -> Result<Weight> {
        let (name, shape) = (weight_name(layer), &layer.weight);
        if self.precision == Precision::F16 && Halves::suit(shape[1]) {
            let fill = |first: usize, out: &mut [f32]| self.source.fill(&name, shape, first, out);
            let halves = Halves::from_fn(self.gpu, [shape[0], shape[1]], fill)?;
            return Ok(Weight::Halves(halves));
        }
        Ok(Weight::Plain(self.tensor(&name, shape)?))
    }

    fn bias(&self, layer: &Layer) -> Result<Tensor> {
        self.tensor(&bias_name(layer), &layer.weight[..1])
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let fill = |first: usize, out: &mut [f32]| self.source.fill(name, shape, first, out);
        Tensor::from_fn(self.gpu, shape, fill)
    }
}

fn in_planes(
    place: &Place,
    context: &Arc<planes::Context>,
    weight: &[f32],
    bias: &[f32],
) -> Result<planes::Layer> {
    let site = planes::Site {
        cin: place.layer.weight[1],
        cout: place.layer.weight[0],
        side: place.side,
        pooled: place.layer.pool,
    };
    planes::Layer::new(context, site, weight, bias, place.needs)
}

fn weight_name(layer: &Layer) -> String {
    format!("{}.weight", layer.name)
}

fn bias_name(layer: &Layer) -> String {
    format!("{}.bias", layer.name)
}
