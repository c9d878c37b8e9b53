//! The variants of a store's images: where they stand among its positions, and what they are drawn by.

use std::path::Path;

use super::augment::{Augment, Draw};
use crate::error::{Error, Result};

/// How the images of a store are augmented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variants {
    /// What may be drawn.
    pub augment: Augment,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Of each image; one more is the first again.
    pub count: usize,
}

impl Variants {
    /// Refuses what cannot be drawn, or counted beside `images`.
    ///
    /// # Errors
    /// As [`Augment::check`], and [`Error::Setting`] for none or too many variants.
    pub fn check(&self, images: usize) -> Result<()> {
        self.augment.check()?;
        let most = usize::MAX / images.max(1) - 1;
        match (1..=most).contains(&self.count) {
            true => Ok(()),
            false => Err(Error::setting(
                "cache_variants",
                format!("must be between 1 and {most}, found {}", self.count),
            )),
        }
    }

    /// Where variant `variant` of `image` stands behind the `images` themselves.
    pub(super) fn position(&self, images: usize, image: usize, variant: usize) -> usize {
        (1 + variant % self.count) * images + image
    }

    /// Variant `variant` of a picture that is known as `name`.
    pub(super) fn which<'a>(&self, name: &'a str, variant: usize) -> Draw<'a> {
        Draw {
            seed: self.seed,
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
