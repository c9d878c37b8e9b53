//! What the frozen base says of an image: the same in every epoch, so it is computed once and kept.

use crate::data::{Batch, ImageStore, Transform};
use crate::nn::Frozen;
use crate::{Result, Tensor};

/// The base's logits by image. With the cache off every request computes them again; the bits are the same.
pub struct FrozenLogits<'a> {
    base: &'a Frozen,
    transform: Transform,
    /// `None` with the cache off.
    rows: Option<Vec<Option<Vec<f32>>>>,
    passes: usize,
}

impl<'a> FrozenLogits<'a> {
    /// Nothing computed yet, for images of `images`.
    pub fn new(base: &'a Frozen, images: &ImageStore, cache: bool) -> Self {
        FrozenLogits {
            base,
            transform: images.transform(),
            rows: cache.then(|| vec![None; images.len()]),
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
        images: &std::sync::Arc<ImageStore>,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let at_once = self.base.batch(self.transform.size);
        let order: Vec<usize> = (0..images.len()).collect();
        let mut done = 0;
        for batch in images.batches(order.chunks(at_once).map(<[usize]>::to_vec).collect()) {
            let batch = batch?;
            self.rows(&batch)?;
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
        let rows = self.rows(batch)?;
        Tensor::from_slice(
            self.base.gpu(),
            [batch.indices.len(), self.base.arch().classes],
            &rows,
        )
    }

    fn rows(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        let image = 3 * self.transform.size * self.transform.size;
        let missing: Vec<usize> = (0..batch.indices.len())
            .filter(|&i| {
                self.rows
                    .as_ref()
                    .is_none_or(|rows| rows[batch.indices[i]].is_none())
            })
            .collect();
        let mut fresh = Vec::new();
        for group in missing.chunks(self.base.batch(self.transform.size)) {
            let pixels: Vec<f32> = group
                .iter()
                .flat_map(|&i| &batch.pixels[i * image..(i + 1) * image])
                .copied()
                .collect();
            fresh.extend(self.base.logits(&pixels, self.transform.size)?);
            self.passes += group.len();
        }
        let Some(rows) = &mut self.rows else {
            return Ok(fresh);
        };
        let classes = self.base.arch().classes;
        for (&i, row) in missing.iter().zip(fresh.chunks(classes)) {
            rows[batch.indices[i]] = Some(row.to_vec());
        }
        Ok(batch
            .indices
            .iter()
            .filter_map(|&i| rows[i].as_deref())
            .flatten()
            .copied()
            .collect())
    }
}
