//! What tells a picture from others: its print.

use std::fmt;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::join::{AXES, Point, WIDTH};
use crate::data::resize::resize;

/// Raised with every change of what a print of the same pixels is.
pub(crate) const PRINT_VERSION: u32 = 1;

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
#[derive(Clone, PartialEq)]
pub struct Print {
    /// SHA-256 of its size and its pixels.
    pub(super) pixels: [u8; 32],
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
    /// The length of [`Print::to_bytes`].
    pub const BYTES: usize = 32 + SAMPLES;

    /// Of a picture of `width` x `height` pixels, interleaved RGB.
    pub fn of(rgb: &[u8], width: usize, height: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update([width as u64, height as u64].map(u64::to_le_bytes).concat());
        hash.update(rgb);
        let small = resize(rgb, [width, height], [SIDE; 2]);
        Self::new(hash.finalize().into(), std::array::from_fn(|i| small[i]))
    }

    fn new(pixels: [u8; 32], small: [u8; SAMPLES]) -> Self {
        let samples = small.iter().map(|&s| f64::from(s));
        let mean = samples.clone().sum::<f64>() / SAMPLES as f64;
        let norm = samples.map(|s| (s - mean).powi(2)).sum::<f64>().sqrt();
        Print {
            pixels,
            small,
            mean,
            norm,
        }
    }

    /// As it is kept in a file.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        std::array::from_fn(|i| match i.checked_sub(self.pixels.len()) {
            None => self.pixels[i],
            Some(sample) => self.small[sample],
        })
    }

    /// From such bytes, of which any are a print: whether they are this picture's, whoever keeps them must know.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let at = |from: usize| move |i: usize| bytes[from + i];
        Self::new(std::array::from_fn(at(0)), std::array::from_fn(at(32)))
    }

    /// The same picture, left to right. Its pixels' hash is nobody's.
    pub(super) fn mirrored(&self) -> Self {
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
    pub(super) fn is_like(&self, other: &Print, likeness: Likeness) -> bool {
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
    pub(super) fn point(&self, image: usize) -> Point {
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
