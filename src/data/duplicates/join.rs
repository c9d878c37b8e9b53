//! All pairs of points that are near each other, exactly: both sets are sorted into cells as wide as what is near, axis by
//! axis, and only neighbours are compared. An epsilon-kdB join (Shim, Srikant and Agrawal 1997) without the tree.

use std::collections::BTreeMap;

/// The number of a point's coordinates.
pub(super) const AXES: usize = 32;
/// Those by which points are sorted, from the first.
const SORTED: usize = 7;
/// Coordinates that are compared at once.
const AT_ONCE: usize = 8;
/// How far apart near points may be, along an axis and altogether: of two vectors of length 1 whose product is 0.99, and a
/// thousandth for the rounding of coordinates.
pub(super) const WIDTH: f32 = 0.1415;
/// Pairs that are compared rather than sorted further.
const FEW: usize = 4096;

/// A picture at its place.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) at: [f32; AXES],
    pub(super) image: usize,
}

impl Point {
    fn is_near(&self, other: &Point) -> bool {
        let (a, _) = self.at.as_chunks::<AT_ONCE>();
        let (b, _) = other.at.as_chunks::<AT_ONCE>();
        let mut apart = 0.0;
        a.iter().zip(b).all(|(a, b)| {
            let squares: [f32; AT_ONCE] = std::array::from_fn(|i| (a[i] - b[i]) * (a[i] - b[i]));
            apart += squares.iter().sum::<f32>();
            apart <= WIDTH * WIDTH
        })
    }
}

/// What is to be done with pairs of images.
pub(super) trait Pairs {
    /// Whether something is still to be known of this pair.
    fn wanted(&self, a: usize, b: usize) -> bool;

    /// A wanted pair whose points are near each other.
    fn near(&mut self, a: usize, b: usize);
}

/// Tells `pairs` of every pair of a point of `a` and one of `b` that are near each other.
pub(super) fn join(a: &[Point], b: &[Point], pairs: &mut impl Pairs) {
    along(
        0,
        &a.iter().collect::<Vec<_>>(),
        &b.iter().collect::<Vec<_>>(),
        pairs,
    );
}

fn along(axis: usize, a: &[&Point], b: &[&Point], pairs: &mut impl Pairs) {
    if axis == SORTED || a.len() * b.len() <= FEW {
        for one in a {
            for other in b {
                if pairs.wanted(one.image, other.image) && one.is_near(other) {
                    pairs.near(one.image, other.image);
                }
            }
        }
        return;
    }
    fn cells<'a>(axis: usize, points: &[&'a Point]) -> BTreeMap<i32, Vec<&'a Point>> {
        let mut cells = BTreeMap::<i32, Vec<&Point>>::new();
        for point in points {
            let cell = (point.at[axis] / WIDTH).floor() as i32;
            cells.entry(cell).or_default().push(point);
        }
        cells
    }
    let others = cells(axis, b);
    for (cell, points) in cells(axis, a) {
        let beside = others.range(cell - 1..=cell + 1);
        let beside: Vec<&Point> = beside.flat_map(|(_, points)| points).copied().collect();
        along(axis + 1, &points, &beside, pairs);
    }
}
