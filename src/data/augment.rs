//! Random changes of the pictures that are trained on: a random part resized, flipped, its colours jittered, as
//! torchvision's `RandomResizedCrop`, `RandomHorizontalFlip` and `ColorJitter` have them, in this order
//! (`torchvision/transforms/v2/{_geometry,_color}.py` of 0.29).
//!
//! [`Augment`] says what may be drawn, [`Variant`] what was. What is drawn for a picture hangs on the seed, the picture's
//! name and the variant's number alone: never on what was drawn before, in what order or on which thread. The parameters
//! are distributed as torchvision's, and where they are equal the picture is.

use serde::Serialize;

use super::colour::Adjustment;
use super::image::{Decoded, Transform};
use super::resize::{Region, resize_region};
use crate::error::{Error, Result};
use crate::random::Stream;

/// Attempts at a part that fits, after which the middle is taken.
const ATTEMPTS: u64 = 10;

/// Raised with every change of what is drawn or of what is made of it.
pub(super) const AUGMENT_VERSION: u32 = 1;

/// What may be changed, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Augment {
    /// Takes a random part instead of the middle.
    pub crop: Option<RandomCrop>,
    /// The share of pictures that are flipped from left to right.
    pub flip: f64,
    /// Changes of the colours.
    pub jitter: Jitter,
}

/// The parts that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RandomCrop {
    /// The least and the most of the picture's area.
    pub scale: [f64; 2],
    /// The least and the most of width over height, of which the logarithm is uniform.
    pub ratio: [f64; 2],
}

impl Default for RandomCrop {
    /// torchvision's.
    fn default() -> Self {
        RandomCrop {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// How far colours may be changed; 0 is not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Jitter {
    /// The factor lies between 1 less this, or 0, and 1 more.
    pub brightness: f64,
    /// Likewise.
    pub contrast: f64,
    /// Likewise.
    pub saturation: f64,
    /// Share of the circle of hues, either way; at most 0.5.
    pub hue: f64,
}

/// A picture's changes, drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    /// The part that is taken; the middle, as without augmentation, where there is none.
    pub region: Option<Region>,
    /// Whether it is flipped from left to right.
    pub flip: bool,
    /// The changes of its colours, in order.
    pub colours: Vec<Adjustment>,
}

/// Which picture, and which variant of it.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// What the picture is known by.
    pub name: &'a str,
    /// The variant's number.
    pub variant: usize,
}

impl Draw<'_> {
    /// The random numbers for one purpose, so that none moves another's.
    fn stream(&self, purpose: &str) -> Stream {
        let Draw {
            seed,
            name,
            variant,
        } = self;
        Stream::new(*seed, &format!("augment {purpose} {variant} {name}"))
    }
}

/// Word `index` of `stream` as a number between `least` and `most`.
fn uniform(stream: &Stream, index: u64, [least, most]: [f64; 2]) -> f64 {
    least + (most - least) * (f64::from(stream.word(index)) / 4_294_967_296.0)
}

/// Word `index` of `stream` as a whole number up to `most`.
fn up_to(stream: &Stream, index: u64, most: usize) -> usize {
    ((u128::from(stream.word(index)) * (most as u128 + 1)) >> 32) as usize
}

impl Augment {
    /// Whether nothing is changed.
    pub fn is_none(&self) -> bool {
        *self == Augment::default()
    }

    /// Refuses what cannot be drawn.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let refuse = |name: &'static str, expected: &str, found: &[f64]| {
            Err(Error::setting(name, format!("{expected}, found {found:?}")))
        };
        if !(0.0..=1.0).contains(&self.flip) {
            return refuse("flip", "must lie between 0 and 1", &[self.flip]);
        }
        if let Some(RandomCrop { scale, ratio }) = self.crop {
            let [least, most] = scale;
            if !(least > 0.0 && least <= most && most <= 1.0) {
                let expected =
                    "must be two shares of the area, above 0 and up to 1, the smaller first";
                return refuse("crop_scale", expected, &scale);
            }
            let [least, most] = ratio;
            if !(least >= 0.01 && least <= most && most <= 100.0) {
                let expected =
                    "must be two ratios of width to height between 0.01 and 100, the smaller first";
                return refuse("crop_ratio", expected, &ratio);
            }
        }
        let Jitter {
            brightness,
            contrast,
            saturation,
            hue,
        } = self.jitter;
        let factors = [brightness, contrast, saturation];
        let possible = |x: &f64| (0.0..=100.0).contains(x);
        match factors.iter().all(possible) && (0.0..=0.5).contains(&hue) {
            true => Ok(()),
            false => refuse(
                "jitter",
                "must be brightness, contrast and saturation from 0 to 100 and hue from 0 to 0.5",
                &[brightness, contrast, saturation, hue],
            ),
        }
    }

    /// What is drawn for a picture of `size`, width and height.
    pub fn draw(&self, which: Draw, size: [usize; 2]) -> Variant {
        let flip = || uniform(&which.stream("flip"), 0, [0.0, 1.0]) < self.flip;
        Variant {
            region: self.crop.map(|crop| crop.draw(&which.stream("crop"), size)),
            flip: self.flip > 0.0 && flip(),
            colours: self.jitter.draw(&which.stream("jitter")),
        }
    }
}

impl RandomCrop {
    /// `RandomResizedCrop.make_params`: attempt `a` takes words `4 a` to `4 a + 3`.
    fn draw(&self, stream: &Stream, [width, height]: [usize; 2]) -> Region {
        let area = width as f64 * height as f64;
        let ratios = self.ratio.map(libm::log);
        for first in (0..ATTEMPTS).map(|attempt| attempt * 4) {
            let target = area * uniform(stream, first, self.scale);
            let ratio = libm::exp(uniform(stream, first + 1, ratios));
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return Region {
                    top: up_to(stream, first + 2, height - h),
                    left: up_to(stream, first + 3, width - w),
                    width: w,
                    height: h,
                };
            }
        }
        // The middle of it, as much as has a ratio that is wanted.
        let [least, most] = self.ratio;
        let ratio = width as f64 / height as f64;
        let (mut w, mut h) = (width, height);
        if ratio < least {
            h = ((width as f64 / least).round_ties_even() as usize).clamp(1, height);
        } else if ratio > most {
            w = ((height as f64 * most).round_ties_even() as usize).clamp(1, width);
        }
        Region {
            top: (height - h) / 2,
            left: (width - w) / 2,
            width: w,
            height: h,
        }
    }
}

impl Jitter {
    /// `ColorJitter.make_params`: the order of the changes from the first words, their factors from word 4 on.
    fn draw(&self, stream: &Stream) -> Vec<Adjustment> {
        let factor = |index: u64, centre: f64, least: f64, reach: f64| {
            let range = [(centre - reach).max(least), centre + reach];
            (reach > 0.0).then(|| uniform(stream, 4 + index, range))
        };
        let all = [
            factor(0, 1.0, 0.0, self.brightness).map(Adjustment::Brightness),
            factor(1, 1.0, 0.0, self.contrast).map(Adjustment::Contrast),
            factor(2, 1.0, 0.0, self.saturation).map(Adjustment::Saturation),
            factor(3, 0.0, -0.5, self.hue).map(Adjustment::Hue),
        ];
        let order = stream.permutation(all.len());
        order.into_iter().filter_map(|index| all[index]).collect()
    }
}

impl Variant {
    /// The crop of `picture`, interleaved RGB, that `transform` takes, changed so.
    pub fn of(&self, picture: &Decoded, transform: Transform) -> Vec<u8> {
        let mut crop = match self.region {
            None => transform.crop(picture),
            Some(region) => resize_region(
                &picture.rgb,
                [picture.width, picture.height],
                region,
                [transform.size; 2],
            ),
        };
        self.change(&mut crop, transform.size);
        crop
    }

    /// Flips and colours a crop of rows of `width` pixels, which holds the part that is wanted.
    pub(super) fn change(&self, crop: &mut [u8], width: usize) {
        if self.flip {
            for row in crop.chunks_exact_mut(width * 3) {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
        for colour in &self.colours {
            colour.apply(crop);
        }
    }
}
