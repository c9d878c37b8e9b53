//! Loading a network: each layer's numbers, prepared for the kernels that the device is best at, where they want them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::conv::{planes, rows};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Warmer};
use crate::nn::arch::{Arch, Layer};
use crate::nn::vgg::{Held, Loaded, Vgg, Weight};
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

impl Vgg {
    /// A network with the numbers of `source`. `progress` hears of each layer with its bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has no room, [`Error::Setting`] where the kernels or a weight are not for `how`.
    pub fn load(
        gpu: &Gpu,
        arch: Arch,
        source: &Source,
        how: &Loading,
        mut progress: impl FnMut(u64),
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
        let mut loader = Loader {
            gpu,
            source,
            how,
            tuner: rows::Tuner::new(gpu, how.precision, how.tuning.as_deref())?,
            warmer: &warmer,
            pools: 0,
            below: true,
        };
        let mut layers = Vec::new();
        for layer in arch.layers() {
            let rank = how.ranks.get(&layer.name).copied().unwrap_or(0);
            let held = loader.layer(&layer, rank, software.as_ref())?;
            progress((layer.weight.iter().product::<usize>() + layer.weight[0]) as u64 * 4);
            layers.push(Loaded { layer, held, rank });
        }
        Ok(Vgg {
            gpu: gpu.clone(),
            arch,
            layers,
            measured: loader.tuner.finish(),
            software,
            _warmer: Some(warmer),
        })
    }
}

/// Loads the layers in their order.
struct Loader<'a> {
    gpu: &'a Gpu,
    source: &'a Source<'a>,
    how: &'a Loading,
    tuner: rows::Tuner,
    warmer: &'a Warmer,
    /// Pools so far.
    pools: usize,
    /// Whether no layer so far is adapted: no gradient goes further down.
    below: bool,
}

impl Loader<'_> {
    fn layer(
        &mut self,
        layer: &Layer,
        rank: usize,
        software: Option<&Arc<planes::Context>>,
    ) -> Result<Held> {
        let backward = self.how.trained && !self.below;
        self.below &= rank == 0;
        let held = match software {
            Some(context) if layer.is_conv() => {
                let needs = planes::Needs { backward, rank };
                Held::Planes(Arc::new(self.in_planes(layer, context, needs)?))
            }
            _ => {
                let bias = self.tensor(&bias_name(layer), &layer.weight[..1])?;
                let weight = match layer.is_conv() {
                    true => Weight::Tiles(Arc::new(self.in_tiles(layer, &bias, backward)?)),
                    false => self.linear(layer)?,
                };
                Held::Rows { weight, bias }
            }
        };
        self.pools += usize::from(layer.pool);
        Ok(held)
    }

    fn in_planes(
        &self,
        layer: &Layer,
        context: &Arc<planes::Context>,
        needs: planes::Needs,
    ) -> Result<planes::Layer> {
        let shape = &layer.weight;
        let weight = self.source.read(&weight_name(layer), shape);
        let bias = self.source.read(&bias_name(layer), &shape[..1]);
        let site = planes::Site {
            cin: shape[1],
            cout: shape[0],
            depth: self.pools,
            pooled: layer.pool,
        };
        planes::Layer::new(context, site, &weight, &bias, needs)
    }

    fn in_tiles(&mut self, layer: &Layer, bias: &Tensor, backward: bool) -> Result<rows::Layer> {
        let site = rows::Site {
            cin: layer.weight[1],
            cout: layer.weight[0],
            side: SIDE >> self.pools,
            precision: self.how.precision,
            gradient: false,
        };
        let weight = self.source.read(&weight_name(layer), &layer.weight);
        let conv = rows::Layer::new(&mut self.tuner, site, &weight, bias, backward)?;
        self.warmer.send(&conv.kernels());
        Ok(conv)
    }

    fn linear(&self, layer: &Layer) -> Result<Weight> {
        let (name, shape) = (weight_name(layer), &layer.weight);
        if self.how.precision == Precision::F16 && Halves::suit(shape[1]) {
            let fill = |first: usize, out: &mut [f32]| self.source.fill(&name, shape, first, out);
            let halves = Halves::from_fn(self.gpu, [shape[0], shape[1]], fill)?;
            return Ok(Weight::Halves(halves));
        }
        Ok(Weight::Plain(self.tensor(&name, shape)?))
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
