//! The choices of this family: see `gpu/tune.rs`. What is chosen depends on the processor that a software device runs on.

use std::sync::Arc;

use super::context::Context;
use super::shape::Shape;
use super::site::Site;
use super::winograd::{Role, Winograd};
use crate::autograd::{Tape, Var};
use crate::error::Result;
use crate::gpu::tune::{Choices, Family, Measured, Trial, noise};
use crate::gpu::{Gpu, Kernel, Tuning, Warmer};
use crate::ops::planes::to_planes;
use crate::ops::relu::Floor;
use crate::tensor::Tensor;

/// Tiles of a measurement at least, of F(4x4): where a plane has fewer, so many images are taken.
const TILES: usize = 100;

/// Makes the choices of one network.
pub(crate) struct Tuner {
    device: Device,
    choices: Choices,
}

struct Device(Gpu);

impl Tuner {
    /// With what an earlier run kept, measuring what is missing where `tuning` says so; without it the choices are fixed.
    pub(crate) fn new(gpu: &Gpu, tuning: Option<&Tuning>) -> Self {
        Tuner {
            device: Device(gpu.clone()),
            choices: Choices::new(gpu, tuning),
        }
    }

    /// Measures what no earlier run did for `sites`, and keeps it: as [`Choices::measure`].
    pub(crate) fn measure(
        &mut self,
        sites: &[Site],
        progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Measured> {
        // The first layer has a way of its own, and a pool changes nothing.
        let sites = sites.iter().filter(|site| site.cin > 4);
        let sites = sites.map(|site| Site {
            pooled: false,
            ..*site
        });
        let sites: Vec<Site> = sites.collect();
        self.choices.measure(&self.device, &sites, progress)
    }

    /// How `site` is cut up: as was measured, where it was.
    pub(super) fn shape(&self, site: &Site) -> Shape {
        let kept = self.choices.kept(&self.device, site);
        kept.unwrap_or_else(|| Shape::fixed(site.side))
    }

    /// What of the choice for `site` decides how numbers are rounded.
    pub(crate) fn algorithm(&self, site: &Site) -> String {
        self.shape(site).algorithm()
    }
}

impl Family for Device {
    type Site = Site;
    type Choice = Shape;

    fn candidates(&self, site: &Site) -> Vec<Shape> {
        Shape::candidates(site, self.0.info().subgroup[0] as usize)
    }

    fn kernels(&self, _: &Site, _: Shape) -> Vec<&'static Kernel> {
        // A software driver compiles each where it is met: `Winograd::new` has it done beside the weights.
        Vec::new()
    }

    fn trial<'a>(&'a self, site: &'a Site) -> Result<Trial<'a, Shape>> {
        let gpu = &self.0;
        let Site {
            cin, cout, side, ..
        } = *site;
        // With textures of its own, which go when it does.
        let context = Context::new(gpu, &Arc::new(Warmer::idle()))?;
        let weight = noise("weight", cout * cin * 9, 1.0 / (9.0 * cin as f64).sqrt());
        let bias = noise("bias", cout, 1.0);
        let n = TILES.div_ceil(side.div_ceil(4).pow(2));
        let x = Tensor::from_slice(
            gpu,
            [n, cin, side, side],
            &noise("x", n * cin * side * side, 1.0),
        )?;
        let x = to_planes(&mut Tape::new(), &Var::frozen(&x), cin)?.tensor;
        let y = Tensor::planes(gpu, [n, cout, side])?;
        let mut prepared: Option<Winograd> = None;
        Ok(Box::new(move |shape| {
            let shape = Shape {
                outs: context.outs(shape.outs, cout),
                ..shape
            };
            let ready = match prepared.take().and_then(|ready| ready.shaped(shape)) {
                Some(ready) => ready,
                None => {
                    let role = Role::Forward {
                        bias: &bias,
                        rank: 0,
                        kept: false,
                    };
                    Winograd::new(&context, *site, shape, &weight, role)?
                }
            };
            let ready = prepared.insert(ready);
            ready.forward(&context, &x, None, &y, None, Floor::RELU)
        }))
    }
}
