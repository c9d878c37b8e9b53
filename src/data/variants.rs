//! The variants of a store's images: where they stand among its positions, and what they are drawn by.

use std::path::Path;

use super::augment::{AUGMENT_VERSION, Augment, Draw};
use super::origin::ContentHash;
use crate::error::{Error, Result};

/// The most variants, of all images, that may be kept: there is a table of them.
const MOST: usize = 1 << 26;

/// How images are augmented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variants {
    /// What may be drawn.
    pub augment: Augment,
    /// Seed of what is drawn.
    pub seed: u64,
    /// So many of each image, one more being the first again; without end where there is no number.
    pub count: Option<usize>,
}

/// Those of a store's images that have variants.
#[derive(Clone, Debug)]
pub(super) struct Augmented {
    pub(super) variants: Variants,
    /// Of each image, whether it has some.
    has: Vec<bool>,
}

impl Augmented {
    /// Variants of those `of` so many `images`.
    ///
    /// # Errors
    /// As [`Augment::check`], and [`Error::Setting`] for none or too many variants.
    pub(super) fn new(variants: Variants, images: usize, of: &[usize]) -> Result<Self> {
        variants.augment.check()?;
        let most = MOST / images.max(1);
        if !(1..=most).contains(&variants.count.unwrap_or(1)) {
            return Err(Error::setting(
                "cache_variants",
                format!("must be between 1 and {most}"),
            ));
        }
        let mut has = vec![false; images];
        of.iter().for_each(|&image| has[image] = true);
        Ok(Augmented { variants, has })
    }

    /// Where variant `variant` of `image` stands: the first variants follow the images themselves, the second ones those.
    pub(super) fn position(&self, image: usize, variant: usize) -> usize {
        let variant = self.variants.count.map_or(variant, |n| variant % n);
        match self.has[image] {
            true => (1 + variant) * self.has.len() + image,
            false => image,
        }
    }

    /// The positions that are asked for again and again, image by image: variants that have an end, and images without any.
    pub(super) fn lasting(&self) -> Vec<usize> {
        let of = |image: usize| match self.has[image] {
            true => 0..self.variants.count.unwrap_or(0),
            false => 0..1,
        };
        let images = 0..self.has.len();
        images
            .flat_map(|image| of(image).map(move |variant| self.position(image, variant)))
            .collect()
    }

    /// What stands for the content of that variant of a picture: the picture's, and all that decides what is drawn.
    pub(super) fn content(&self, picture: ContentHash, name: &str, variant: usize) -> ContentHash {
        let Variants { augment, seed, .. } = self.variants;
        let drawn = (AUGMENT_VERSION, augment, seed, variant, name);
        let mut all = serde_json::to_vec(&drawn).expect("numbers and a name become JSON");
        all.extend(picture.0);
        ContentHash::of(&all)
    }

    /// Variant `variant` of a picture that is known as `name`.
    pub(super) fn which<'a>(&self, name: &'a str, variant: usize) -> Draw<'a> {
        Draw {
            seed: self.variants.seed,
            name,
            variant,
        }
    }
}

/// What a picture's variants are drawn by: its folder and its name, which neither other pictures beside it nor their order
/// nor the place of the data change.
pub(super) fn known_as(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).collect();
    let parts = parts.iter().rev();
    let parts: Vec<_> = parts
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}
