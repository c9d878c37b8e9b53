//! What is computed of each image once and taken in every step.

use std::sync::Arc;

use super::kept::{Kept, Room};
use super::normalize::{Sent, crop_bytes, normalize};
use crate::data::Transform;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// A step's images.
pub(super) struct Input {
    /// Positions in the store.
    pub(super) indices: Vec<usize>,
    /// [N, 3 size size], where a branch wants them.
    pub(super) pixels: Option<Tensor>,
    /// What the lowest adapted layer takes, [N, `row_len`].
    pub(super) features: Tensor,
    /// What its frozen weight makes of it, where it is linear.
    pub(super) product: Option<Tensor>,
}

/// What is kept, which depends on the lowest adapted layer.
#[allow(clippy::large_enum_variant, reason = "a run has one")]
pub(super) enum Cache {
    /// Of the first layer, which takes the images: those.
    Images(Crops),
    /// Of a higher one.
    Features {
        /// What it takes.
        features: Kept,
        /// What its frozen weight makes of that, where it is linear.
        products: Option<Kept>,
        /// The images, where a branch wants them.
        crops: Option<Crops>,
    },
}

impl Cache {
    /// Whether the frozen layers are needed no more.
    pub(super) fn complete(&self) -> bool {
        match self {
            Cache::Images(_) => true,
            Cache::Features {
                features, products, ..
            } => features.complete() && products.as_ref().is_none_or(Kept::complete),
        }
    }

    /// Whether neither frozen layers nor its file are needed for the image at this position.
    pub(super) fn has(&self, image: usize) -> bool {
        match self {
            Cache::Images(crops) => crops.kept.has(image),
            Cache::Features {
                features,
                products,
                crops,
            } => {
                features.has(image)
                    && products.as_ref().is_none_or(|kept| kept.has(image))
                    && crops.as_ref().is_none_or(|crops| crops.kept.has(image))
            }
        }
    }

    /// Whether something of an image is yet to be computed or kept.
    pub(super) fn lacks(&self, image: usize) -> bool {
        let missing = |crops: &Crops| crops.kept.fit() && crops.kept.lacks(image);
        match self {
            Cache::Images(crops) => missing(crops),
            Cache::Features {
                features,
                products,
                crops,
            } => {
                features.lacks(image)
                    || products.as_ref().is_some_and(|kept| kept.lacks(image))
                    || crops.as_ref().is_some_and(missing)
            }
        }
    }

    /// The images.
    pub(super) fn crops(&mut self) -> Option<&mut Crops> {
        match self {
            Cache::Images(crops) => Some(crops),
            Cache::Features { crops, .. } => crops.as_mut(),
        }
    }

    /// The products with the frozen weight.
    pub(super) fn products(&mut self) -> Option<&mut Kept> {
        match self {
            Cache::Images(_) => None,
            Cache::Features { products, .. } => products.as_mut(),
        }
    }

    /// A step's input whose images the cache has ([`Cache::has`]); with the images beside it where `pixels` says so.
    pub(super) fn input(&mut self, indices: Vec<usize>, pixels: bool) -> Result<Input> {
        match self {
            Cache::Images(crops) => {
                let images = crops.images(&indices)?;
                Ok(Input {
                    pixels: pixels.then(|| images.clone()),
                    features: images,
                    product: None,
                    indices,
                })
            }
            Cache::Features {
                features,
                products,
                crops,
            } => Ok(Input {
                pixels: crops.as_mut().map(|c| c.images(&indices)).transpose()?,
                features: features.tensor(&indices)?,
                product: products.as_mut().map(|p| p.tensor(&indices)).transpose()?,
                indices,
            }),
        }
    }
}

/// The images as 8-bit crops, where all fit without a file.
pub(super) struct Crops {
    transform: Transform,
    kept: Kept,
    /// The images of the last step, normalised.
    last: Option<(Vec<usize>, Tensor)>,
}

impl Crops {
    pub(super) fn new(gpu: &Gpu, wanted: &Arc<[bool]>, transform: Transform, room: Room) -> Self {
        Crops {
            transform,
            kept: Kept::new(gpu, wanted, crop_bytes(transform), room),
            last: None,
        }
    }

    /// Keeps those of a batch that are not there yet.
    pub(super) fn keep(&mut self, sent: &mut Sent) -> Result<()> {
        if !self.kept.fit() {
            return Ok(());
        }
        for (index, &image) in sent.batch().indices.iter().enumerate() {
            if !self.kept.lacks(image) {
                continue;
            }
            // What there is no room for on the device need not go there.
            let there =
                self.kept.fits_device() && self.kept.put_from(image, sent.crops()?, index)?;
            if !there {
                self.kept.put(image, &sent.crop(index))?;
            }
        }
        Ok(())
    }

    /// The normalised images: [N, 3 size size].
    fn images(&mut self, indices: &[usize]) -> Result<Tensor> {
        if let Some((_, images)) = self.last.as_ref().filter(|(last, _)| last == indices) {
            return Ok(images.clone());
        }
        let images = normalize(&self.kept.tensor(indices)?, self.transform)?;
        self.last = Some((indices.to_vec(), images.clone()));
        Ok(images)
    }
}
