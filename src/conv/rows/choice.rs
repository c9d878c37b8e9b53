//! What can be chosen for a convolution, and what is where nothing was measured.

use crate::gpu::{Gpu, Tile};
use crate::tensor::Precision;

/// A convolution as a choice is made for it: the same for all its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    /// Of its planes, for images of the side that the network was loaded for.
    pub(crate) side: usize,
    pub(crate) precision: Precision,
    /// What it takes is a gradient, which may be too small for the f16 of cooperative matrices: f32 there.
    pub(crate) gradient: bool,
    /// The largest of each 2 x 2 is taken of what it gives: in its last kernel or by another, as its algorithm has it.
    pub(crate) pooled: bool,
}

/// As the file of choices names it.
impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Site {
            cin,
            cout,
            side,
            precision,
            gradient,
            pooled,
        } = self;
        let pool = if *pooled { ", pooled" } else { "" };
        write!(f, "conv {cin} to {cout} at {side}, {precision}{pool}")?;
        // In f32 both directions choose among the same.
        match (precision, gradient) {
            (Precision::F16, true) => f.write_str(", of a gradient"),
            _ => Ok(()),
        }
    }
}

impl Site {
    /// The gradient of its input, as a convolution.
    pub(crate) fn turned(self) -> Self {
        Site {
            cin: self.cout,
            cout: self.cin,
            gradient: true,
            pooled: false,
            ..self
        }
    }

    /// Input channels that the weight of [`Algorithm::Direct`] is padded to.
    pub(super) fn padded(&self) -> usize {
        self.cin
            .next_multiple_of(if self.cin < 16 { 4 } else { 16 })
    }

    /// Whether some of those are no channels.
    pub(super) fn is_ragged(&self) -> bool {
        self.cin != self.padded()
    }

    /// Whether a tile on cooperative matrices, whose depth is fixed, divides the padded channels.
    fn suits(&self, matrix: Tile) -> bool {
        !self.gradient && self.padded().is_multiple_of(matrix.depth)
    }

    /// `tile` with a depth that divides the padded channels.
    fn deep(&self, tile: Tile) -> Tile {
        let depth = [tile.depth, 16, 8, 4]
            .into_iter()
            .find(|d| self.padded().is_multiple_of(*d));
        tile.at_depth(depth.unwrap_or(4))
    }
}

/// How a convolution's sums are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// As an implicit matrix product, its depth in so many splits.
    Direct { splits: usize },
    /// By Winograd's F(4x4, 3x3) or F(6x6, 3x3).
    Winograd { m: usize },
}

impl Algorithm {
    /// Whether its last kernel has whole windows of pixels, so that it can take the largest.
    pub(super) fn pools(self) -> bool {
        matches!(self, Algorithm::Winograd { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) algorithm: Algorithm,
    pub(super) tile: Tile,
}

/// As the file of choices spells it, which is how it is found again: a spelling that no candidate has is none.
impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.algorithm {
            Algorithm::Direct { splits: 1 } => write!(f, "direct {}", self.tile),
            Algorithm::Direct { splits } => write!(f, "direct {} in {splits} splits", self.tile),
            Algorithm::Winograd { m } => write!(f, "winograd{m} {}", self.tile),
        }
    }
}

/// Channels below which Winograd's transforms cost more than they save.
const WIDE: usize = 32;
/// Side from which on F(6x6) is tried: on smaller planes most of its tiles are ragged.
const LARGE: usize = 24;
/// Side up to which splitting the depth is tried: larger planes keep a device busy.
const SMALL: usize = 28;
/// The splits that are tried.
const SPLITS: usize = 4;

impl Choice {
    /// What is used where nothing was measured: cooperative matrices where they can be used, else Winograd where its
    /// transforms pay.
    pub(super) fn fixed(site: &Site, matrices: &[Tile]) -> Self {
        let wide = site.cin.min(site.cout) >= WIDE;
        let matrix = matrices.iter().copied().find(|tile| site.suits(*tile));
        Choice {
            algorithm: match wide && matrix.is_none() {
                true => Algorithm::Winograd { m: 4 },
                false => Algorithm::Direct { splits: 1 },
            },
            tile: matrix.unwrap_or(site.deep(Tile::MIDDLE)),
        }
    }

    /// The same for another site.
    pub(super) fn at(self, site: &Site) -> Self {
        Choice {
            tile: site.deep(self.tile),
            ..self
        }
    }

    /// What the device can run for `site`, candidates of one algorithm together.
    pub(super) fn candidates(gpu: &Gpu, site: &Site, matrices: &[Tile]) -> Vec<Self> {
        let mut algorithms = vec![Algorithm::Direct { splits: 1 }];
        if site.side <= SMALL {
            algorithms.push(Algorithm::Direct { splits: SPLITS });
        }
        if site.cin.min(site.cout) >= WIDE {
            algorithms.push(Algorithm::Winograd { m: 4 });
            // F(6x6) magnifies the rounding of a weight in f16 too much.
            if site.side >= LARGE && site.precision == Precision::F32 {
                algorithms.push(Algorithm::Winograd { m: 6 });
            }
        }
        // Winograd's transforms of activations leave f16's range: no cooperative matrices there.
        let matrices: Vec<Tile> = matrices
            .iter()
            .copied()
            .filter(|t| site.suits(*t))
            .collect();
        algorithms
            .into_iter()
            .flat_map(|algorithm| {
                let direct = matches!(algorithm, Algorithm::Direct { .. });
                let tiles = Tile::ALL.map(|tile| site.deep(tile)).into_iter();
                let tiles = tiles.chain(matrices.iter().copied().filter(move |_| direct));
                let choices = tiles.map(|tile| Choice { algorithm, tile });
                choices.collect::<Vec<_>>()
            })
            .filter(|choice| choice.tile.fits(gpu.limits()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Site};
    use crate::gpu::Tile;
    use crate::tensor::Precision;

    #[test]
    fn a_gradient_never_goes_to_cooperative_matrices() {
        let matrices = Tile::matrices(16, 32);
        assert!(!matrices.is_empty());
        let tile = |gradient| {
            let site = Site {
                cin: 64,
                cout: 128,
                side: 28,
                precision: Precision::F16,
                gradient,
                pooled: false,
            };
            (Choice::fixed(&site, &matrices).tile, site.to_string())
        };
        let ((forward, name), (backward, other)) = (tile(false), tile(true));
        assert!(matrices.contains(&forward));
        assert!(!matrices.contains(&backward));
        // What is kept of one direction is not taken for the other.
        assert_ne!(name, other);
    }
}
