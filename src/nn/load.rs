//! Loading a network: each layer's numbers, prepared for the kernels that the device is best at, where they want them.

use std::sync::Arc;

use crate::conv::{planes, rows};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Warmer};
use crate::nn::arch::{Arch, Layer};
use crate::nn::loading::{LoadStep, Loading, Place};
use crate::nn::norm::Norm;
use crate::nn::tuned::{Tuned, Tuner};
use crate::nn::vgg::{Held, Loaded, Vgg, Weight};
use crate::nn::weights::Source;
use crate::ops::{Frozen, linear};
use crate::tensor::{Halves, Precision, Tensor};

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
        let places = Place::all(arch, how);
        let Tuned {
            tuner,
            linear,
            measured,
        } = Tuned::new(gpu, how, &places, &mut progress)?;
        let loader = Loader {
            gpu,
            source,
            precision: how.precision,
            tuner: &tuner,
            linear: linear.as_ref(),
            warmer: &warmer,
            trained: how.trained,
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
        warmer.settle();
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
    tuner: &'a Tuner,
    linear: Option<&'a linear::Tuner>,
    warmer: &'a Warmer,
    /// Whether what is adapted is trained.
    trained: bool,
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
                weight: self.linear(place)?,
                bias: self.bias(layer)?,
            });
        }
        let mut weight = self.source.read(&weight_name(layer), &layer.weight);
        let mut bias = self.source.read(&bias_name(layer), &layer.weight[..1]);
        if let Some(norm) = norm {
            norm.fold(layer, &mut weight, &mut bias)?;
        }
        match (self.tuner, software) {
            (Tuner::Planes(tuner), Some(context)) => {
                let (site, needs) = (place.planes_site(), place.needs);
                let conv = planes::Layer::new(context, tuner, site, &weight, &bias, needs)?;
                Ok(Held::Planes(Arc::new(conv)))
            }
            (Tuner::Rows(tuner), _) => {
                let bias = Tensor::from_slice(self.gpu, [bias.len()], &bias)?;
                let (site, backward) = (place.site(self.precision), place.needs.backward);
                let conv = rows::Layer::new(tuner, site, &weight, &bias, backward)?;
                let adapted = place.needs.rank > 0;
                let kept = adapted && self.trained;
                self.warmer
                    .send(&conv.kernels(place.layer.pool, adapted, kept));
                Ok(Held::Rows {
                    weight: Weight::Tiles(Arc::new(conv)),
                    bias,
                })
            }
            (Tuner::Planes(_), None) => unreachable!("planes have a context"),
        }
    }

    fn linear(&self, place: &Place) -> Result<Weight> {
        let layer = &place.layer;
        let (name, shape) = (weight_name(layer), &layer.weight);
        let site = place.linear_site(self.precision);
        let weight = match site.precision {
            Precision::F16 => {
                let fill =
                    |first: usize, out: &mut [f32]| self.source.fill(&name, shape, first, out);
                Frozen::Halves(Halves::from_fn(self.gpu, [shape[0], shape[1]], fill)?)
            }
            Precision::F32 => Frozen::Plain(self.tensor(&name, shape)?),
        };
        let cuts = self.linear.map(|tuner| tuner.cuts(&site));
        Ok(Weight::Matrix(weight, cuts.unwrap_or_default()))
    }

    fn bias(&self, layer: &Layer) -> Result<Tensor> {
        self.tensor(&bias_name(layer), &layer.weight[..1])
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let fill = |first: usize, out: &mut [f32]| self.source.fill(name, shape, first, out);
        Tensor::from_fn(self.gpu, shape, fill)
    }
}

fn weight_name(layer: &Layer) -> String {
    format!("{}.weight", layer.name)
}

fn bias_name(layer: &Layer) -> String {
    format!("{}.bias", layer.name)
}
