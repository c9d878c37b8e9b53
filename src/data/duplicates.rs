//! Pictures that are there twice: the same pixels, nearly the same, or mirrored.
//!
//! Of each picture a print is kept, 0.8 KB: the SHA-256 of its pixels, and the picture at 16 x 16 pixels. Two pictures are
//! nearly the same where their small ones correlate by `ALIKE` over all 768 samples: brightness and contrast do not count,
//! colours do. `tests/fixtures/duplicates.py` measured this beside the 64 bits of pHash (Zauner 2010): with as few false
//! pairs among handwritten digits (pHash at a distance of 2) it finds as many copies of another size or quality, and more
//! that are mirrored or cropped a little. pHash knows no colours: it finds grey copies, and takes other hues for the same.

mod join;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::resize::resize;
use super::store::ImageStore;
use crate::error::Result;
use join::{AXES, Pairs, Point, WIDTH, join};

/// Pixels of a side of the small picture.
const SIDE: usize = 16;
/// Its samples.
const SAMPLES: usize = 3 * SIDE * SIDE;
/// The correlation from which on two pictures are nearly the same. Of 25 photographs and drawings, halved, stretched, saved
/// as JPEG of quality 50 or with a third more contrast, all are; of 1000 textures, 1797 digits and 100 faces,
/// 7 pairs in two million are, all of digits.
const ALIKE: f64 = 0.99;
/// A small picture whose samples deviate by less from their mean than this many levels has nothing to correlate: it is
/// like another where no sample differs by more.
const FLAT: f64 = 2.0;

/// What tells a picture from others.
#[derive(Clone)]
pub struct Print {
    /// SHA-256 of its size and its pixels.
    pixels: [u8; 32],
    /// The picture at 16 x 16 pixels, interleaved RGB.
    small: [u8; SAMPLES],
    /// The mean of those samples.
    mean: f64,
    /// The root of the sum of their squared differences from it.
    norm: f64,
}

/// How two pictures are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Every pixel is the same, whatever the files.
    Same,
    /// Nearly the same: another size or quality, brighter, darker.
    Near,
    /// Nearly the same once one is mirrored, left to right.
    Mirrored,
}

impl fmt::Debug for Print {
    /// The hash, not the pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.pixels.iter().map(|b| format!("{b:02x}")).collect();
        f.debug_tuple("Print").field(&hex).finish()
    }
}

impl Print {
    /// Of a picture of `width` x `height` pixels, interleaved RGB.
    pub fn of(rgb: &[u8], width: usize, height: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update([width as u64, height as u64].map(u64::to_le_bytes).concat());
        hash.update(rgb);
        let small = resize(rgb, [width, height], [SIDE; 2]);
        let samples = small.iter().map(|&s| f64::from(s));
        let mean = samples.clone().sum::<f64>() / SAMPLES as f64;
        Print {
            pixels: hash.finalize().into(),
            small: std::array::from_fn(|i| small[i]),
            mean,
            norm: samples.map(|s| (s - mean).powi(2)).sum::<f64>().sqrt(),
        }
    }

    /// The same picture, left to right. Its pixels' hash is nobody's.
    fn mirrored(&self) -> Self {
        Print {
            pixels: [0; 32],
            small: std::array::from_fn(|i| {
                let (y, x, c) = (i / 3 / SIDE, i / 3 % SIDE, i % 3);
                self.small[(y * SIDE + SIDE - 1 - x) * 3 + c]
            }),
            ..*self
        }
    }

    /// Whether there is nothing to correlate.
    fn is_flat(&self) -> bool {
        self.norm < FLAT * (SAMPLES as f64).sqrt()
    }

    /// Whether the picture is one colour all over, as far as the small one shows.
    pub fn is_blank(&self) -> bool {
        let channel = |c: usize| self.small.iter().skip(c).step_by(3);
        (0..3).all(|c| {
            let (least, most) = (channel(c).min(), channel(c).max());
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1)
        })
    }

    /// Whether the small pictures are alike, of which the other one is mirrored where `likeness` says so.
    fn is_like(&self, other: &Print, likeness: Likeness) -> bool {
        if likeness == Likeness::Mirrored {
            return self.is_like(&other.mirrored(), Likeness::Near);
        }
        match (self.is_flat(), other.is_flat()) {
            (true, true) => {
                let mut pairs = self.small.iter().zip(&other.small);
                pairs.all(|(&a, &b)| f64::from(a.abs_diff(b)) <= FLAT)
            }
            (false, false) => {
                let products = self.small.iter().zip(&other.small);
                let products: u32 = products.map(|(&a, &b)| u32::from(a) * u32::from(b)).sum();
                let covariance = f64::from(products) - self.mean * other.mean * SAMPLES as f64;
                covariance >= ALIKE * self.norm * other.norm
            }
            _ => false,
        }
    }

    /// Where it stands among others: coordinates of the small picture of mean 0 and length 1 in an orthonormal basis, so
    /// that two that are alike are no further apart than [`WIDTH`] in any. One without contrast stands where its colour is.
    fn point(&self, image: usize) -> Point {
        let mut at = [0.0; AXES];
        if self.is_flat() {
            // No sample differs by more than FLAT from that of another one that is like it, and no channel's mean does.
            let levels = f64::from(WIDTH) / (FLAT * 3f64.sqrt());
            for (c, at) in at.iter_mut().take(3).enumerate() {
                let channel = self.small.iter().skip(c).step_by(3);
                let sum: f64 = channel.map(|&s| f64::from(s)).sum();
                *at = (levels * sum / (SIDE * SIDE) as f64) as f32;
            }
            return Point { at, image };
        }
        for (at, axis) in at.iter_mut().zip(BASIS.iter()) {
            let samples = self.small.iter().zip(axis);
            let product: f64 = samples.map(|(&s, a)| (f64::from(s) - self.mean) * a).sum();
            *at = (product / self.norm) as f32;
        }
        Point { at, image }
    }
}

/// Orthonormal directions in which small pictures differ most: the longest cosines of their grey, and two of their colour.
static BASIS: LazyLock<[[f64; SAMPLES]; AXES]> = LazyLock::new(|| {
    // Sample `x` of cosine number `k`, of length 1: a row of the DCT-II.
    let wave = |k: usize, x: usize| {
        let angle = std::f64::consts::PI * (x as f64 + 0.5) * k as f64 / SIDE as f64;
        let scale: f64 = if k == 0 { 1.0 } else { 2.0 };
        (scale / SIDE as f64).sqrt() * angle.cos()
    };
    let unit = |weights: [f64; 3]| {
        let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        weights.map(|w| w / norm)
    };
    let (grey, red, green) = ([1.0; 3], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]);
    // The longest waves of the grey, the mean colours, longer waves of both.
    let waves = |sum: usize| (0..=sum).map(move |down| ([sum - down, down], grey));
    let colours = [[0, 0], [1, 0], [0, 1]].map(|waves| [(waves, red), (waves, green)]);
    let mut axes = (1..=2)
        .flat_map(waves)
        .chain(colours.concat())
        .chain((3..=6).flat_map(waves));
    std::array::from_fn(|_| {
        // There are 33 of them.
        let ([across, down], colour) = axes.next().unwrap_or(([0, 0], [0.0; 3]));
        std::array::from_fn(|i| {
            let (y, x) = (i / 3 / SIDE, i / 3 % SIDE);
            wave(across, x) * wave(down, y) * unit(colour)[i % 3]
        })
    })
});

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
fn points(prints: &[Print], images: &[usize], mirror: bool) -> Vec<Point> {
    let point = |&image: &usize| match mirror {
        true => prints[image].mirrored().point(image),
        false => prints[image].point(image),
    };
    images.par_iter().map(point).collect()
}

/// A picture to validate with that is also trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Position of the picture among those to validate with.
    pub validation: usize,
    /// Position of the most alike one, or one of them, among those to train with.
    pub training: usize,
    /// How they are alike.
    pub likeness: Likeness,
}

/// The pictures of `validation` that are in `training` too, or nearly, in their order, each once.
pub fn leaks(training: &[Print], validation: &[Print]) -> Vec<Leak> {
    let mut known = BTreeMap::new();
    for (image, print) in training.iter().enumerate().rev() {
        known.insert(print.pixels, image);
    }
    let same = validation
        .iter()
        .map(|print| Some((Likeness::Same, *known.get(&print.pixels)?)));
    let mut leaking = Leaking {
        found: same.collect(),
        training,
        validation,
        likeness: Likeness::Near,
    };
    let all = |prints: &[Print]| (0..prints.len()).collect::<Vec<usize>>();
    let trained = points(training, &all(training), false);
    for (likeness, mirror) in [(Likeness::Near, false), (Likeness::Mirrored, true)] {
        leaking.likeness = likeness;
        let validated = points(validation, &all(validation), mirror);
        join(&trained, &validated, &mut leaking);
    }
    let found = leaking.found.into_iter().enumerate();
    found
        .filter_map(|(validation, found)| {
            let (likeness, training) = found?;
            Some(Leak {
                validation,
                training,
                likeness,
            })
        })
        .collect()
}

/// The same of the images at the positions `training` and `validation` of a run, by what the network sees of them: their
/// crops. A leak names positions in those lists.
///
/// # Errors
/// As [`decode`](super::decode), where a file that is not kept in memory has changed since it was first read.
pub fn leaks_between(
    images: &ImageStore,
    training: &[usize],
    validation: &[usize],
) -> Result<Vec<Leak>> {
    let size = images.transform().size;
    let print = |&at: &usize| Ok(Print::of(&images.crop(at)?, size, size));
    let prints = |which: &[usize]| which.par_iter().map(print).collect::<Result<Vec<Print>>>();
    Ok(leaks(&prints(training)?, &prints(validation)?))
}

/// What is known of the pictures to validate with.
struct Leaking<'a> {
    training: &'a [Print],
    validation: &'a [Print],
    /// How those of the pairs that come now are alike.
    likeness: Likeness,
    /// Of each picture the most alike one to train with, of several the first.
    found: Vec<Option<(Likeness, usize)>>,
}

impl Pairs for Leaking<'_> {
    fn wanted(&self, a: usize, b: usize) -> bool {
        self.found[b].is_none_or(|best| best > (self.likeness, a))
    }

    fn near(&mut self, a: usize, b: usize) {
        if self.training[a].is_like(&self.validation[b], self.likeness) {
            self.found[b] = Some((self.likeness, a));
        }
    }
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
