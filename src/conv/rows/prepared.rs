//! A weight prepared for the algorithm that a layer's [`Choice`] names.

use super::choice::{Algorithm, Choice, Site};
use super::direct::{self, Direct};
use super::winograd::{self, Winograd};
use crate::error::Result;
use crate::gpu::{Gpu, Kernel};
use crate::ops::relu::Floor;
use crate::tensor::Tensor;

impl Choice {
    /// What it dispatches for `site`.
    pub(super) fn kernels(self, site: &Site) -> Vec<&'static Kernel> {
        match self.algorithm {
            Algorithm::Direct { splits } => direct::dispatched(site, self.tile, splits),
            Algorithm::Winograd { m } => winograd::dispatched(site, self.tile, m),
        }
    }
}

/// A weight prepared for an algorithm.
#[derive(Clone)]
pub(super) enum Prepared {
    Direct(Direct),
    Winograd(Winograd),
}

impl Prepared {
    /// From [cout, cin, 3, 3].
    pub(super) fn new(gpu: &Gpu, site: Site, algorithm: Algorithm, weight: &[f32]) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Direct { .. } => Prepared::Direct(Direct::new(gpu, site, weight)?),
            Algorithm::Winograd { m } => Prepared::Winograd(Winograd::new(gpu, site, m, weight)?),
        })
    }

    /// [N, cin, H, W] -> [N, cout, H, W] with `bias`, and what `floor` says.
    pub(super) fn run(
        &self,
        choice: Choice,
        x: &Tensor,
        bias: &Tensor,
        floor: Floor,
    ) -> Result<Tensor> {
        match (self, choice.algorithm) {
            (Prepared::Direct(direct), Algorithm::Direct { splits }) => {
                direct.run(x, bias, floor, choice.tile, splits)
            }
            (Prepared::Winograd(winograd), Algorithm::Winograd { .. }) => {
                winograd.run(x, bias, floor, choice.tile)
            }
            _ => unreachable!("a weight is prepared for its choice"),
        }
    }
}
