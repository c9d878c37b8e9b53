//! All pairs of points that are near each other, exactly: both sets are sorted into cells as wide as what is near, axis by
//! axis, and only neighbours are compared. An epsilon-kdB join (Shim, Srikant and Agrawal 1997) without the tree.

use std::collections::BTreeMap;

/// The number of a point's coordinates.
pub(super) const AXES: usize = 7;
/// How far apart near points may be, along an axis and altogether: of two vectors of length 1 whose product is 0.99, and a
/// thousandth for the rounding of coordinates.
pub(super) const WIDTH: f32 = 0.1415;
/// Pairs that are compared rather than sorted further.
const FEW: usize = 4096;

/// A picture at its place.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) at: [f32; AXES],
    pub(super) image: usize,
}

impl Point {
    fn is_near(&self, other: &Point) -> bool {
        let pairs = self.at.iter().zip(&other.at);
        let squares: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
        squares <= WIDTH * WIDTH
    }
}

/// Calls `found` with the images of every pair of a point of `a` and one of `b` that are near each other.
pub(super) fn join(a: &[Point], b: &[Point], found: &mut dyn FnMut(usize, usize)) {
    along(0, a, b, found);
}

fn along(axis: usize, a: &[Point], b: &[Point], found: &mut dyn FnMut(usize, usize)) {
    if axis == AXES || a.len() * b.len() <= FEW {
        for one in a {
            for other in b.iter().filter(|other| one.is_near(other)) {
                found(one.image, other.image);
            }
        }
        return;
    }
    let cells = |points: &[Point]| {
        let mut cells = BTreeMap::<i32, Vec<Point>>::new();
        for point in points {
            let cell = (point.at[axis] / WIDTH).floor() as i32;
            cells.entry(cell).or_default().push(*point);
        }
        cells
    };
    let others = cells(b);
    for (cell, points) in cells(a) {
        let beside: Vec<Point> = others
            .range(cell - 1..=cell + 1)
            .flat_map(|(_, points)| points)
            .copied()
            .collect();
        along(axis + 1, &points, &beside, found);
    }
}
