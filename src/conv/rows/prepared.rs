//! A weight prepared for the algorithm that a layer's [`Choice`] names.

use super::choice::{Algorithm, Choice, Site};
use super::direct::{self, Direct};
use super::ending::{Ended, Ending, Pool};
use super::winograd::{self, Winograd};
use crate::error::Result;
use crate::gpu::{Gpu, Kernel};
use crate::ops::relu::Floor;
use crate::ops::{Kept, low_rank_relu};
use crate::tensor::Tensor;

impl Choice {
    /// What it dispatches for `site`, with this pool and a LoRA where it is `adapted`.
    pub(super) fn kernels(self, site: &Site, pool: Pool, adapted: bool) -> Vec<&'static Kernel> {
        match self.algorithm {
            Algorithm::Direct { splits } => direct::dispatched(site, self.tile, splits),
            Algorithm::Winograd { m } => winograd::dispatched(site, self.tile, m, pool, adapted),
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

    /// [N, cin, H, W] -> [N, cout, H, W], or what `ending` makes of it. A pool is for what [`Algorithm::pools`], or has a LoRA.
    pub(super) fn run(&self, choice: Choice, x: &Tensor, ending: &Ending) -> Result<Ended> {
        let (direct, splits) = match (self, choice.algorithm) {
            (Prepared::Winograd(winograd), Algorithm::Winograd { .. }) => {
                return winograd.run(x, ending, choice.tile);
            }
            (Prepared::Direct(direct), Algorithm::Direct { splits }) => (direct, splits),
            _ => unreachable!("a weight is prepared for its choice"),
        };
        let Some(share) = &ending.share else {
            assert_eq!(ending.pool, Pool::No, "a pool has an op of its own");
            let y = direct.run(x, ending.bias, ending.floor, choice.tile, splits)?;
            return Ok(Ended { y, winners: None });
        };
        let y = direct.run(x, ending.bias, Floor::NONE, choice.tile, splits)?;
        let (y, kept) = low_rank_relu::forward(&y, share, ending.pool != Pool::No)?;
        let winners = match kept {
            Kept::Winners(winners, _) => Some(winners),
            Kept::Result(_) => None,
        };
        Ok(Ended { y, winners })
    }
}
