//! How the layers of a network are computed: which family's kernels, and what was chosen of them.

use super::loading::{LoadStep, Loading, Place};
use crate::conv::{planes, rows};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::tune::Measured;
use crate::ops::linear;

/// The choices of a network's layers.
pub(super) struct Tuned {
    pub(super) tuner: Tuner,
    /// Of linear layers, which the portable family has a choice for.
    pub(super) linear: Option<linear::Tuner>,
    pub(super) measured: Measured,
}

/// Each family's of convolutions.
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
        let tuning = how.tuning.as_ref();
        if !how.portable && planes::suits(gpu) {
            let mut tuner = planes::Tuner::new(gpu, tuning);
            let progress = |done, of| progress(LoadStep::Measured { done, of });
            return Ok(Tuned {
                measured: tuner.measure(&Place::planes_sites(places), progress)?,
                tuner: Tuner::Planes(tuner),
                linear: None,
            });
        }
        let mut tuner = rows::Tuner::new(gpu, how.precision, tuning);
        let sites = Place::sites(places, how.precision);
        let more = Place::linear_sites(places, how.precision);
        let first = tuner.left(&sites);
        let of = first + linear::Tuner::new(tuner.choices().clone()).left(&more);
        let mut progress = |done| progress(LoadStep::Measured { done, of });
        let convolutions = tuner.measure(&sites, |done, _| progress(done))?;
        let mut linear = linear::Tuner::new(tuner.choices().clone());
        let products = linear.measure(&more, |done, _| progress(first + done))?;
        Ok(Tuned {
            measured: Measured {
                choices: convolutions.choices + products.choices,
                lost: convolutions.lost.or(products.lost),
            },
            tuner: Tuner::Rows(tuner),
            linear: Some(linear),
        })
    }

    /// As [`Vgg::family`](super::Vgg::family).
    pub(super) fn family(&self) -> &'static str {
        match self.tuner {
            Tuner::Planes(_) => "software",
            Tuner::Rows(_) => "portable",
        }
    }

    /// What decides how the numbers of all layers and of their gradients are rounded.
    pub(super) fn roundings(&self, places: &[Place], how: &Loading) -> Vec<String> {
        let mut roundings: Vec<String> = match &self.tuner {
            Tuner::Planes(tuner) => {
                let sites = Place::planes_sites(places);
                sites.iter().map(|site| tuner.algorithm(site)).collect()
            }
            Tuner::Rows(tuner) => {
                let sites = Place::sites(places, how.precision);
                sites.iter().map(|site| tuner.spelling(site)).collect()
            }
        };
        if let Some(tuner) = &self.linear {
            let sites = Place::linear_sites(places, how.precision);
            roundings.extend(sites.iter().filter_map(|site| tuner.rounding(site)));
        }
        roundings
    }

    /// What decides how the numbers of a layer are rounded, where that is chosen.
    pub(super) fn rounding(&self, place: &Place, how: &Loading) -> Option<String> {
        if !place.layer.is_conv() {
            let site = place.linear_site(how.precision);
            return self.linear.as_ref()?.rounding(&site);
        }
        Some(match &self.tuner {
            Tuner::Planes(tuner) => tuner.algorithm(&place.planes_site()),
            Tuner::Rows(tuner) => tuner.spelling(&place.site(how.precision)),
        })
    }
}
