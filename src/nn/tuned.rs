//! How the convolutions of a network are computed: which family's kernels, and what was chosen of them.

use super::loading::{LoadStep, Loading, Place};
use crate::conv::{planes, rows};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::tune::Measured;

/// The choices of a network's convolutions.
pub(super) struct Tuned {
    pub(super) tuner: Tuner,
    pub(super) measured: Measured,
}

/// Each family's.
pub(super) enum Tuner {
    Planes(planes::Tuner),
    Rows(rows::Tuner),
}

impl Tuned {
    /// As `how` says, measuring what that asks for.
    pub(super) fn new(
        gpu: &Gpu,
        how: &Loading,
        places: &[Place],
        mut progress: impl FnMut(LoadStep) -> Result<()>,
    ) -> Result<Self> {
        let progress = |done, of| progress(LoadStep::Measured { done, of });
        let tuning = how.tuning.as_ref();
        if !how.portable && planes::suits(gpu) {
            let mut tuner = planes::Tuner::new(gpu, tuning);
            return Ok(Tuned {
                measured: tuner.measure(&Place::planes_sites(places), progress)?,
                tuner: Tuner::Planes(tuner),
            });
        }
        let mut tuner = rows::Tuner::new(gpu, how.precision, tuning);
        let sites = Place::sites(places, how.precision);
        Ok(Tuned {
            measured: tuner.measure(&sites, progress)?,
            tuner: Tuner::Rows(tuner),
        })
    }

    /// As [`Vgg::family`](super::Vgg::family).
    pub(super) fn family(&self) -> &'static str {
        match self.tuner {
            Tuner::Planes(_) => "software",
            Tuner::Rows(_) => "portable",
        }
    }

    /// What decides how the numbers of all convolutions and of their gradients are rounded.
    pub(super) fn roundings(&self, places: &[Place], how: &Loading) -> Vec<String> {
        match &self.tuner {
            Tuner::Planes(tuner) => {
                let sites = Place::planes_sites(places);
                sites.iter().map(|site| tuner.algorithm(site)).collect()
            }
            Tuner::Rows(tuner) => {
                let sites = Place::sites(places, how.precision);
                sites.iter().map(|site| tuner.spelling(site)).collect()
            }
        }
    }

    /// What decides how the numbers of a convolution are rounded.
    pub(super) fn rounding(&self, place: &Place, how: &Loading) -> String {
        match &self.tuner {
            Tuner::Planes(tuner) => tuner.algorithm(&place.planes_site()),
            Tuner::Rows(tuner) => tuner.spelling(&place.site(how.precision)),
        }
    }
}
