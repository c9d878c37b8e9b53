//! How this family cuts a convolution up: what there is to choose, and what is where nothing was measured.

use super::site::Site;

/// How one layer is cut up. But for `m` it changes the order of no sum, and so no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Outputs along a tile's side: 4 or 6.
    pub(super) m: usize,
    /// Output channels of a workgroup.
    pub(super) outs: usize,
    /// Tiles of a workgroup, in lanes.
    pub(super) groups: usize,
    /// Tiles of a chunk.
    pub(super) chunk: usize,
}

/// As the file of choices spells it.
impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape {
            outs,
            groups,
            chunk,
            ..
        } = self;
        write!(
            f,
            "{} {outs}x{groups}, {chunk} tiles at once",
            self.algorithm()
        )
    }
}

/// Side from which on F(6x6) is tried: on smaller planes most of its tiles are ragged.
const LARGE: usize = 24;
/// The tiles of a product that are tried, in output channels and in lanes: each takes the driver 0.2 to 0.6 s to compile.
pub(super) const PRODUCTS: [[usize; 2]; 4] = [[32, 7], [32, 6], [32, 5], [16, 7]];
/// Tiles of a chunk that are tried, next to what makes whole workgroups: their transforms fit a second-level cache of
/// 256 KiB to 2 MiB.
const CHUNKS: [usize; 3] = [48, 112, 224];

impl Shape {
    /// What is fastest on planes of `side`: measured on two Zen 4 cores with 8 lanes for VGG19's five, 224 down to 14 (see
    /// benches/RESULTS.md), of which the one that is nearest by its ratio counts. `chunk` is for the channels that the
    /// network has there.
    pub(super) fn fixed(side: usize) -> Self {
        let [m, groups, chunk] = match side {
            159.. => [6, 7, 112],
            80..159 => [6, 6, 96],
            40..80 => [4, 7, 224],
            20..40 => [4, 7, 56],
            _ => [4, 6, 48],
        };
        Shape {
            m,
            outs: 32,
            groups,
            chunk,
        }
    }

    /// What can be run for `site` on a device of `lanes`, those of the same weights together.
    pub(super) fn candidates(site: &Site, lanes: usize) -> Vec<Self> {
        let sizes = [4, 6].into_iter().filter(|m| *m == 4 || site.side >= LARGE);
        let mut shapes: Vec<Shape> = Vec::new();
        for m in sizes {
            for [outs, groups] in PRODUCTS {
                for chunk in CHUNKS {
                    let chunk = chunk.next_multiple_of(groups * lanes);
                    let shape = Shape {
                        m,
                        outs,
                        groups,
                        chunk,
                    };
                    if !shapes.contains(&shape) {
                        shapes.push(shape);
                    }
                }
            }
        }
        shapes
    }

    /// What of it decides how numbers are rounded.
    pub(super) fn algorithm(self) -> String {
        format!("winograd{}", self.m)
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Site};

    #[test]
    fn each_of_the_sides_that_were_measured_has_its_own_shape() {
        let fixed = |side| {
            let shape = Shape::fixed(side);
            [shape.m, shape.groups, shape.chunk]
        };
        assert_eq!(
            [224, 112, 56, 28, 14].map(fixed),
            [[6, 7, 112], [6, 6, 96], [4, 7, 224], [4, 7, 56], [4, 6, 48]]
        );
        // Nearest by ratio, on both sides of the middle between 112 and 224.
        assert_eq!((fixed(158), fixed(159)), (fixed(112), fixed(224)));
        assert_eq!((fixed(2), fixed(2048)), (fixed(14), fixed(224)));
    }

    #[test]
    fn candidates_differ_in_their_spelling_and_small_planes_are_not_cut_by_six() {
        let of = |side| {
            let site = Site {
                cin: 64,
                cout: 64,
                side,
                pooled: false,
            };
            Shape::candidates(&site, 8)
        };
        let spelled: std::collections::BTreeSet<String> =
            of(56).iter().map(Shape::to_string).collect();
        assert_eq!(spelled.len(), of(56).len());
        assert!(of(14).iter().all(|shape| shape.m == 4));
        assert!(of(56).iter().any(|shape| shape.m == 6));
    }
}
