//! The images of a step: decoded and augmented on all cores, made ready ahead of the device.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::image::Transform;
use super::origin::ContentHash;
use super::store::ImageStore;
use super::variants::{Augmented, known_as};
use crate::error::Result;

/// Batches made ready before they are asked for.
const AHEAD: usize = 2;

/// The images of one step.
#[derive(Clone)]
pub struct Batch {
    /// Positions in the store.
    pub indices: Vec<usize>,
    /// 8-bit samples, interleaved RGB: [N, size, size, 3].
    pub crops: Vec<u8>,
    /// What they went through.
    pub transform: Transform,
    /// What each file holds, where the store knows it: see [`ImageStore::content`].
    pub contents: Vec<Option<ContentHash>>,
}

impl fmt::Debug for Batch {
    /// Which images, not their pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("indices", &self.indices)
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// The images normalised, on all cores: [N, 3, size, size].
    pub fn pixels(&self) -> Vec<f32> {
        let length = 3 * self.transform.size * self.transform.size;
        let mut pixels = vec![0.0; self.crops.len()];
        pixels
            .par_chunks_mut(length)
            .zip(self.crops.par_chunks(length))
            .for_each(|(out, crop)| self.transform.normalise(crop, out));
        pixels
    }
}

impl ImageStore {
    /// One batch, decoded on all cores.
    ///
    /// # Errors
    /// As [`decode`](super::decode), where a file has changed since it was first read.
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let sources: Vec<&[usize]> = indices
            .chunk_by(|&a, &b| self.source(a) == self.source(b))
            .collect();
        let crops: Vec<Vec<u8>> = sources
            .into_par_iter()
            .map(|same| self.crops(same))
            .collect::<Result<_>>()?;
        Ok(Batch {
            indices: indices.to_vec(),
            crops: crops.concat(),
            transform: self.transform(),
            contents: indices.iter().map(|&i| self.content(i)).collect(),
        })
    }

    /// The given batches in order, made ready on another thread a few ahead of the reader.
    pub fn batches(self: &Arc<Self>, order: Vec<Vec<usize>>) -> Receiver<Result<Batch>> {
        let (sender, receiver) = sync_channel(AHEAD);
        let store = self.clone();
        std::thread::spawn(move || {
            for indices in order {
                // A reader that is gone wants no more.
                if sender.send(store.batch(&indices)).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// The image behind position `index`, and whether the whole of it is wanted.
    fn source(&self, index: usize) -> (usize, bool) {
        let parts = |(of, _): (&Augmented, _)| of.variants.augment.crop.is_some();
        (self.image(index), self.variant(index).is_some_and(parts))
    }

    /// The crops at `indices`, which have one source: it is decoded once.
    fn crops(&self, indices: &[usize]) -> Result<Vec<u8>> {
        let (image, whole) = self.source(indices[0]);
        let name = known_as(self.path(image));
        let which = |index: usize| {
            let (augmented, variant) = self.variant(index)?;
            let which = augmented.which(&name, variant);
            Some((augmented.variants.augment, which))
        };
        let to = self.transform();
        let mut crops = Vec::with_capacity(indices.len() * 3 * to.size * to.size);
        if whole {
            let picture = self.picture(image)?;
            for (augment, which) in indices.iter().filter_map(|&index| which(index)) {
                let drawn = augment.draw(which, [picture.width, picture.height]);
                crops.extend(drawn.of(&picture, to));
            }
            return Ok(crops);
        }
        let middle = self.crop(image)?;
        for &index in indices {
            let first = crops.len();
            crops.extend_from_slice(&middle);
            if let Some((augment, which)) = which(index) {
                let drawn = augment.draw(which, [to.size; 2]);
                drawn.change(&mut crops[first..], to.size);
            }
        }
        Ok(crops)
    }
}
