//! Pictures that are there twice: the same pixels, nearly the same, or mirrored.
//!
//! Of each picture a print is kept, 0.8 KB: the SHA-256 of its pixels, and the picture at 16 x 16 pixels. Two pictures are
//! nearly the same where their small ones correlate by [`ALIKE`] over all 768 samples: brightness and contrast do not count,
//! colours do. `tests/fixtures/duplicates.py` measured this beside the 64 bits of pHash (Zauner 2010): at as few
//! false pairs among handwritten digits it finds more copies.

mod join;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::resize::resize;
use super::store::ImageStore;
use crate::error::Result;
use join::{AXES, Point, WIDTH, join};

/// Pixels of a side of the small picture.
const SIDE: usize = 16;
/// Its samples.
const SAMPLES: usize = 3 * SIDE * SIDE;
/// The correlation from which on two pictures are nearly the same. Of 25 photographs and drawings, halved, stretched, saved
/// as JPEG of quality 50 or with a third more contrast, all are above 0.992; of 1000 textures, 1797 digits and 200 faces,
/// 7 pairs in two million are above 0.99, all of digits.
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

    /// Whether the small pictures are alike.
    fn is_like(&self, other: &Print) -> bool {
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
    let axes = [
        ([1, 0], grey),
        ([0, 1], grey),
        ([1, 1], grey),
        ([2, 0], grey),
        ([0, 2], grey),
        ([0, 0], red),
        ([0, 0], green),
    ];
    axes.map(|([across, down], colour)| {
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

    let points = |of: &(dyn Fn(&Print, usize) -> Point + Sync)| -> Vec<Point> {
        firsts.par_iter().map(|&i| of(&prints[i], i)).collect()
    };
    let mut near = Forest::new(prints.len());
    let plain = points(&|print, i| print.point(i));
    join(&plain, &plain, &mut |a, b| {
        if a < b && !near.joined(a, b) && prints[a].is_like(&prints[b]) {
            near.join(a, b, Likeness::Near);
        }
    });
    let mirrored = points(&|print, i| print.mirrored().point(i));
    join(&plain, &mirrored, &mut |a, b| {
        if a < b && !near.joined(a, b) && prints[a].is_like(&prints[b].mirrored()) {
            near.join(a, b, Likeness::Mirrored);
        }
    });
    groups.extend(near.groups(firsts));
    groups
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
    let mut found: Vec<Option<(Likeness, usize)>> = validation
        .iter()
        .map(|print| Some((Likeness::Same, *known.get(&print.pixels)?)))
        .collect();
    let points = |prints: &[Print], mirror: bool| -> Vec<Point> {
        let prints = prints.par_iter().enumerate();
        let point = |(i, print): (usize, &Print)| match mirror {
            true => print.mirrored().point(i),
            false => print.point(i),
        };
        prints.map(point).collect()
    };
    let trained = points(training, false);
    for (likeness, mirror) in [(Likeness::Near, false), (Likeness::Mirrored, true)] {
        join(&trained, &points(validation, mirror), &mut |a, b| {
            let before = found[b].is_some_and(|best| best <= (likeness, a));
            let like = || match mirror {
                true => training[a].is_like(&validation[b].mirrored()),
                false => training[a].is_like(&validation[b]),
            };
            if !before && like() {
                found[b] = Some((likeness, a));
            }
        });
    }
    let found = found.into_iter().enumerate();
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

/// The same of images that were read for a run, by what the network sees of them: their crops.
///
/// # Errors
/// As [`decode`](super::decode), where a file that is not kept in memory has changed since it was first read.
pub fn leaks_between(training: &ImageStore, validation: &ImageStore) -> Result<Vec<Leak>> {
    let prints = |images: &ImageStore| -> Result<Vec<Print>> {
        let size = images.transform().size;
        let print = |i| Ok(Print::of(&*images.crop(i)?, size, size));
        (0..images.len()).into_par_iter().map(print).collect()
    };
    Ok(leaks(&prints(training)?, &prints(validation)?))
}

/// Trees of pictures that are near: each knows one that stands above it, the first of a group stands at its top.
struct Forest {
    above: Vec<usize>,
    likeness: Vec<Likeness>,
}

impl Forest {
    fn new(images: usize) -> Self {
        Forest {
            above: (0..images).collect(),
            likeness: vec![Likeness::Near; images],
        }
    }

    fn top(&mut self, mut image: usize) -> usize {
        while self.above[image] != image {
            // Halves the way for the next who asks.
            self.above[image] = self.above[self.above[image]];
            image = self.above[image];
        }
        image
    }

    fn joined(&mut self, a: usize, b: usize) -> bool {
        self.top(a) == self.top(b)
    }

    fn join(&mut self, a: usize, b: usize, likeness: Likeness) {
        let (a, b) = (self.top(a), self.top(b));
        let (first, other) = (a.min(b), a.max(b));
        self.above[other] = first;
        self.likeness[first] = likeness.max(self.likeness[first]).max(self.likeness[other]);
    }

    /// All groups of two or more among `images`.
    fn groups(&mut self, images: Vec<usize>) -> Vec<Alike> {
        let mut groups = BTreeMap::<usize, Vec<usize>>::new();
        for image in images {
            groups.entry(self.top(image)).or_default().push(image);
        }
        let several = groups.into_iter().filter(|(_, images)| images.len() > 1);
        several
            .map(|(top, mut images)| {
                images.sort_unstable();
                Alike {
                    likeness: self.likeness[top],
                    images,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
