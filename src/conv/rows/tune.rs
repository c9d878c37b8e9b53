//! The choices of this family: see `gpu/tune.rs`.

use super::choice::{Algorithm, Choice, Site};
use super::ending::{Ending, Pool};
use super::matrix;
use super::prepared::Prepared;
use crate::autograd::{Tape, Var};
use crate::error::Result;
use crate::gpu::tune::{Choices, Family, Measured, Trial, noise};
use crate::gpu::{Gpu, Kernel, Tile, Tuning};
use crate::ops::max_pool2d;
use crate::ops::relu::Floor;
use crate::tensor::{Precision, Tensor};

/// Images of a measurement, where they fit a binding.
const BATCH: usize = 8;

/// Makes the choices of one network.
pub(crate) struct Tuner {
    device: Device,
    /// The choice wherever it is, for tests.
    always: Option<Choice>,
    choices: Choices,
}

/// What can be chosen on a device.
struct Device {
    gpu: Gpu,
    /// On cooperative matrices that were found right.
    matrices: Vec<Tile>,
}

impl Tuner {
    /// With what an earlier run kept, measuring what is missing where `tuning` says so; without it the choices are fixed.
    pub(crate) fn new(gpu: &Gpu, precision: Precision, tuning: Option<&Tuning>) -> Self {
        let matrices = match precision {
            Precision::F32 => Vec::new(),
            Precision::F16 => matrix::usable(gpu),
        };
        Tuner {
            device: Device {
                gpu: gpu.clone(),
                matrices,
            },
            always: None,
            choices: Choices::new(gpu, tuning),
        }
    }

    /// One choice for every site.
    pub(super) fn always(gpu: &Gpu, choice: Choice) -> Self {
        Tuner {
            always: Some(choice),
            ..Tuner::new(gpu, Precision::F32, None)
        }
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.device.gpu
    }

    /// What is kept of this network's device.
    pub(crate) fn choices(&self) -> &Choices {
        &self.choices
    }

    /// How many candidates [`Tuner::measure`] will measure.
    pub(crate) fn left(&self, sites: &[Site]) -> usize {
        self.choices.left(&self.device, sites)
    }

    /// Measures what no earlier run did for `sites`, and keeps it: as [`Choices::measure`].
    pub(crate) fn measure(
        &mut self,
        sites: &[Site],
        progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Measured> {
        self.choices.measure(&self.device, sites, progress)
    }

    /// The spelling of [`Tuner::choice`].
    pub(crate) fn spelling(&self, site: &Site) -> String {
        self.choice(site).to_string()
    }

    /// How the device computes `site`: as was measured, where it was.
    pub(super) fn choice(&self, site: &Site) -> Choice {
        match self.always {
            Some(choice) => {
                // As a measured choice would: see `Site::suits`.
                let unfit = site.gradient && self.gpu().matrix_tiles().contains(&choice.tile);
                let tile = if unfit { Tile::MIDDLE } else { choice.tile };
                Choice { tile, ..choice }.at(site)
            }
            None => {
                let kept = self.choices.kept(&self.device, site);
                kept.unwrap_or_else(|| Choice::fixed(site, &self.device.matrices))
            }
        }
    }
}

impl Family for Device {
    type Site = Site;
    type Choice = Choice;

    fn candidates(&self, site: &Site) -> Vec<Choice> {
        Choice::candidates(&self.gpu, site, &self.matrices)
    }

    fn kernels(&self, site: &Site, choice: Choice) -> Vec<&'static Kernel> {
        choice.kernels(site, pool(site, choice), false)
    }

    fn trial<'a>(&'a self, site: &'a Site) -> Result<Trial<'a, Choice>> {
        let gpu = &self.gpu;
        let deviation = 1.0 / (9.0 * site.cin as f64).sqrt();
        let weight = noise("weight", site.cout * site.cin * 9, deviation);
        let image = (site.cin.max(site.cout) * site.side * site.side * 4) as u64;
        let batch = (gpu.max_binding() / image).clamp(1, BATCH as u64) as usize;
        let shape = [batch, site.cin, site.side, site.side];
        let x = Tensor::from_slice(gpu, shape, &noise("x", shape.iter().product(), 1.0))?;
        let bias = Tensor::from_slice(gpu, [site.cout], &noise("bias", site.cout, 1.0))?;
        let mut prepared: Option<(Algorithm, Prepared)> = None;
        Ok(Box::new(move |choice| {
            // Candidates of one algorithm follow each other.
            let ready = match &prepared {
                Some((algorithm, ready)) if *algorithm == choice.algorithm => ready,
                _ => {
                    let ready = Prepared::new(gpu, *site, choice.algorithm, &weight)?;
                    &prepared.insert((choice.algorithm, ready)).1
                }
            };
            let ending = Ending {
                bias: &bias,
                share: None,
                floor: Floor::RELU,
                pool: pool(site, choice),
            };
            let y = ready.run(choice, &x, &ending)?.y;
            if site.pooled && ending.pool == Pool::No {
                max_pool2d(&mut Tape::new(), &Var::frozen(&y), 2, 2)?;
            }
            Ok(())
        }))
    }
}

/// The pool in a choice's last kernel.
fn pool(site: &Site, choice: Choice) -> Pool {
    match site.pooled && choice.algorithm.pools() {
        true => Pool::Largest,
        false => Pool::No,
    }
}
