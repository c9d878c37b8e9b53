//! Pictures that are there twice: the same pixels, nearly the same, or mirrored.
//!
//! Of each picture a print is kept, 0.8 KB: the SHA-256 of its pixels, and the picture at 16 x 16 pixels. Two pictures are
//! nearly the same where their small ones correlate by `ALIKE` over all 768 samples: brightness and contrast do not count,
//! colours do. `tests/fixtures/duplicates.py` measured this beside the 64 bits of pHash (Zauner 2010): with as few false
//! pairs among handwritten digits (pHash at a distance of 2) it finds as many copies of another size or quality, and more
//! that are mirrored or cropped a little. pHash knows no colours: it finds grey copies, and takes other hues for the same.

mod join;
mod leaks;
mod print;

use std::borrow::Borrow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use join::{Pairs, Point, join};

pub use leaks::{Leak, leaks, leaks_between};
pub(crate) use print::PRINT_VERSION;
pub use print::{Likeness, Print};

/// Pictures that are alike, by their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alike {
    /// How: of several pictures, as the least alike of them are.
    pub likeness: Likeness,
    /// Two or more, in order.
    pub images: Vec<usize>,
}

/// All groups of pictures that are the same, then all of those that are nearly the same, each in the order of their first.
///
/// Pictures that are near to a third are of one group, though they may be less near to each other; a picture that is there
/// several times stands in a group of near ones once.
pub fn groups(prints: &[Print]) -> Vec<Alike> {
    let mut same = BTreeMap::<[u8; 32], Vec<usize>>::new();
    for (image, print) in prints.iter().enumerate() {
        same.entry(print.pixels).or_default().push(image);
    }
    let firsts: Vec<usize> = same.values().map(|images| images[0]).collect();
    let mut groups: Vec<Alike> = same
        .into_values()
        .filter(|images| images.len() > 1)
        .map(|images| Alike {
            likeness: Likeness::Same,
            images,
        })
        .collect();
    groups.sort_by(|a, b| a.images.cmp(&b.images));

    let mut near = Parts::new(prints);
    let plain = points(prints, &firsts, false);
    join(&plain, &plain, &mut near);
    near.likeness = Likeness::Mirrored;
    join(&plain, &points(prints, &firsts, true), &mut near);
    groups.extend(near.groups());
    groups
}

/// Where the pictures `images`, or what a mirror shows of them, stand.
fn points<P: Borrow<Print> + Sync>(prints: &[P], images: &[usize], mirror: bool) -> Vec<Point> {
    let point = |&image: &usize| {
        let print = prints[image].borrow();
        match mirror {
            true => print.mirrored().point(image),
            false => print.point(image),
        }
    };
    images.par_iter().map(point).collect()
}

/// Pictures in parts of those that are near.
struct Parts<'a> {
    prints: &'a [Print],
    /// How those of the pairs that come now are alike.
    likeness: Likeness,
    /// The part of each picture.
    part: Vec<usize>,
    /// The pictures of each part, and how they are alike.
    parts: Vec<Alike>,
}

impl<'a> Parts<'a> {
    /// Each picture alone.
    fn new(prints: &'a [Print]) -> Self {
        let alone = |image| Alike {
            likeness: Likeness::Near,
            images: vec![image],
        };
        Parts {
            prints,
            likeness: Likeness::Near,
            part: (0..prints.len()).collect(),
            parts: (0..prints.len()).map(alone).collect(),
        }
    }

    /// All parts of two or more in the order of their first picture.
    fn groups(self) -> Vec<Alike> {
        let several = self.parts.into_iter().filter(|part| part.images.len() > 1);
        let mut groups: Vec<Alike> = several
            .map(|mut part| {
                part.images.sort_unstable();
                part
            })
            .collect();
        groups.sort_by(|a, b| a.images.cmp(&b.images));
        groups
    }
}

impl Pairs for Parts<'_> {
    fn wanted(&self, a: usize, b: usize) -> bool {
        a < b && self.part[a] != self.part[b]
    }

    fn near(&mut self, a: usize, b: usize) {
        if !self.prints[a].is_like(&self.prints[b], self.likeness) {
            return;
        }
        // The smaller part goes into the larger one, so that a picture moves seldom.
        let (mut to, mut from) = (self.part[a], self.part[b]);
        if self.parts[to].images.len() < self.parts[from].images.len() {
            (to, from) = (from, to);
        }
        let moved = std::mem::take(&mut self.parts[from].images);
        moved.iter().for_each(|&image| self.part[image] = to);
        let likeness = self.likeness.max(self.parts[from].likeness);
        let into = &mut self.parts[to];
        into.images.extend(moved);
        into.likeness = into.likeness.max(likeness);
    }
}

#[cfg(test)]
mod tests;
