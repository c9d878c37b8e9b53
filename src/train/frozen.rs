//! What a step needs of its images and no step changes: the pixels, and what the frozen base says of them. With the
//! cache on, both are computed once an image; with it off, in every step. The bits are the same.

use std::sync::Arc;

use super::rows::{Room, Rows};
use crate::data::{Batch, ImageStore, Transform};
use crate::nn::Frozen;
use crate::{Result, Tensor};

/// The base's logits by image, and where there is room the normalised images.
pub struct FrozenLogits<'a> {
    base: &'a Frozen,
    transform: Transform,
    cache: Option<Cache>,
    passes: usize,
}

struct Cache {
    logits: Rows,
    pixels: Rows,
}

/// A step's images.
pub(super) struct Input {
    /// Positions in the store.
    pub(super) indices: Vec<usize>,
    /// [N, 3 size size].
    pub(super) pixels: Tensor,
    /// The base's, [N, classes].
    pub(super) logits: Tensor,
}

impl<'a> FrozenLogits<'a> {
    /// Nothing computed yet, for images of `images`; `room` is where to keep it, `None` to keep nothing.
    pub fn new(base: &'a Frozen, images: &ImageStore, room: Option<Room>) -> Self {
        let (count, classes) = (images.len(), base.arch().classes);
        let transform = images.transform();
        let cache = room.map(|room| Cache {
            // The costlier rows first.
            pixels: Rows::new(
                base.gpu(),
                count,
                3 * transform.size * transform.size,
                room.without((count * classes * 4) as u64),
            ),
            logits: Rows::new(base.gpu(), count, classes, room),
        });
        FrozenLogits {
            base,
            transform,
            cache,
            passes: 0,
        }
    }

    /// Images that have gone through the base so far, counted each time.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Computes what is missing of all images; `progress` hears how many are done.
    ///
    /// # Errors
    /// What the device or an image file reported.
    pub fn fill(
        &mut self,
        images: &Arc<ImageStore>,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let at_once = self.base.batch(self.transform.size);
        let order: Vec<usize> = (0..images.len()).collect();
        let mut done = 0;
        for batch in images.batches(order.chunks(at_once).map(<[usize]>::to_vec).collect()) {
            let batch = batch?;
            self.keep(&batch)?;
            done += batch.indices.len();
            progress(done)?;
        }
        self.base.gpu().trim();
        Ok(())
    }

    /// The logits of a batch: [N, classes].
    ///
    /// # Errors
    /// What the device reported.
    pub fn of(&mut self, batch: &Batch) -> Result<Tensor> {
        self.keep(batch)?;
        if let Some(cache) = &mut self.cache {
            return cache.logits.tensor(&batch.indices);
        }
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let logits = self.compute(batch, &all)?;
        let shape = [batch.indices.len(), self.base.arch().classes];
        Tensor::from_slice(self.base.gpu(), shape, &logits)
    }

    /// The inputs of every step of `order`.
    pub(super) fn inputs<'s>(
        &'s mut self,
        images: &Arc<ImageStore>,
        order: Vec<Vec<usize>>,
    ) -> impl Iterator<Item = Result<Input>> + use<'s, 'a> {
        let kept = self
            .cache
            .as_ref()
            .is_some_and(|c| c.pixels.complete() && c.logits.complete());
        let (order, batches) = match kept {
            true => (order, None),
            false => (Vec::new(), Some(images.batches(order).into_iter())),
        };
        let mut order = order.into_iter();
        let mut batches = batches;
        std::iter::from_fn(move || match &mut batches {
            Some(batches) => batches.next().map(|batch| self.streamed(&batch?)),
            None => order.next().map(|indices| self.cached(indices)),
        })
    }

    fn cached(&mut self, indices: Vec<usize>) -> Result<Input> {
        let cache = self.cache.as_mut().expect("inputs are cached");
        Ok(Input {
            pixels: cache.pixels.tensor(&indices)?,
            logits: cache.logits.tensor(&indices)?,
            indices,
        })
    }

    fn streamed(&mut self, batch: &Batch) -> Result<Input> {
        let shape = [
            batch.indices.len(),
            3 * self.transform.size * self.transform.size,
        ];
        Ok(Input {
            indices: batch.indices.clone(),
            logits: self.of(batch)?,
            pixels: Tensor::from_slice(self.base.gpu(), shape, &batch.pixels)?,
        })
    }

    /// Puts what the cache lacks of a batch into it.
    fn keep(&mut self, batch: &Batch) -> Result<()> {
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let length = batch.pixels.len() / batch.indices.len();
        if cache.pixels.fit() {
            for (&image, row) in batch.indices.iter().zip(batch.pixels.chunks(length)) {
                if !cache.pixels.has(image) {
                    cache.pixels.put(image, row)?;
                }
            }
        }
        let missing: Vec<usize> = (0..batch.indices.len())
            .filter(|&i| !cache.logits.has(batch.indices[i]))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let logits = self.compute(batch, &missing)?;
        let cache = self.cache.as_mut().expect("it was there above");
        for (&i, row) in missing.iter().zip(logits.chunks(self.base.arch().classes)) {
            cache.logits.put(batch.indices[i], row)?;
        }
        Ok(())
    }

    /// The base's logits of some images of a batch.
    fn compute(&mut self, batch: &Batch, wanted: &[usize]) -> Result<Vec<f32>> {
        let length = batch.pixels.len() / batch.indices.len();
        let mut logits = Vec::new();
        for group in wanted.chunks(self.base.batch(self.transform.size)) {
            let pixels: Vec<f32> = group
                .iter()
                .flat_map(|&i| &batch.pixels[i * length..(i + 1) * length])
                .copied()
                .collect();
            logits.extend(self.base.logits(&pixels, self.transform.size)?);
            self.passes += group.len();
        }
        Ok(logits)
    }
}
