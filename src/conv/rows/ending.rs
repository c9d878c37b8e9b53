//! What follows a convolution's product in its last kernel, where its algorithm has one that can.

use crate::ops::relu::Floor;
use crate::ops::{Kept, Share};
use crate::tensor::Tensor;

/// What is done with a product [N, cout, H, W], in this order.
pub(super) struct Ending<'a> {
    /// [cout].
    pub(super) bias: &'a Tensor,
    /// What a LoRA adds.
    pub(super) share: Option<Share<'a, Tensor>>,
    pub(super) floor: Floor,
    pub(super) pool: Pool,
}

/// Whether the largest of each 2 x 2 is taken, after ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    No,
    /// Alone.
    Largest,
    /// With which pixel each came from, for the gradient.
    Kept,
}

impl Pool {
    /// The sides of what is stored of planes of these.
    pub(super) fn sides(self, sides: [usize; 2]) -> [usize; 2] {
        match self {
            Pool::No => sides,
            Pool::Largest | Pool::Kept => sides.map(|side| side / 2),
        }
    }
}

/// A result, and of a pool that keeps them which pixels its numbers came from.
pub(super) struct Ended {
    pub(super) y: Tensor,
    pub(super) winners: Option<Tensor>,
}

impl Ended {
    /// What the gradient needs of planes whose sides were these before a pool.
    pub(super) fn kept(self, sides: [usize; 2]) -> Kept {
        match self.winners {
            Some(winners) => Kept::Winners(winners, sides),
            None => Kept::Result(self.y),
        }
    }
}
