//! What a step needs of its images and no step changes: what the frozen layers below the lowest adapted one make of them,
//! and where a branch takes the pixels themselves, those. With the cache on, both are computed once an image; with it
//! off, in every step. The bits are the same.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::cache::{Cache, Input};
use super::frozen::Frozen;
use super::kept::{Kept, Room, Takes};
use super::normalize::crop_bytes;
use super::store::Shelf;
use crate::data::{Batch, ImageStore};
use crate::error::Result;
use crate::nn::{Adapter, Vgg};
use crate::tensor::Tensor;

/// The input of the lowest adapted layer by image, its product with the layer's frozen weight where that is linear, and
/// where they are wanted the images.
pub struct Prefix {
    below: Below,
    frozen: Frozen,
}

/// The frozen layers below the lowest adapted one.
struct Below {
    base: Vgg,
    passes: usize,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("base", &self.below.base)
            .field("from", &self.from())
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

impl Below {
    /// What the layers below `from` make of some images, of `size` pixels a side, of a batch.
    fn compute(
        &mut self,
        (from, size): (usize, usize),
        batch: &Batch,
        wanted: &[usize],
    ) -> Result<Vec<f32>> {
        let length = batch.pixels.len() / batch.indices.len();
        let mut features = Vec::new();
        for group in wanted.chunks(self.base.batch(size)) {
            let image = |i: usize| &batch.pixels[i * length..(i + 1) * length];
            // Mostly all of a batch: as they lie.
            let pixels = match group[group.len() - 1] + 1 - group[0] == group.len() {
                true => Cow::from(&batch.pixels[group[0] * length..][..group.len() * length]),
                false => Cow::from(group.iter().map(|&i| image(i)).collect::<Vec<_>>().concat()),
            };
            if from == 0 {
                features.extend_from_slice(&pixels);
                continue;
            }
            features.extend(self.base.prefix(&pixels, size, from)?);
            self.passes += group.len();
        }
        Ok(features)
    }
}

impl Prefix {
    /// Nothing computed yet, for images of `images` and the modules of `adapter`; `room` is where to keep it, `None` to
    /// keep nothing.
    pub fn new(base: Vgg, adapter: &Adapter, images: &ImageStore, room: Option<Room>) -> Self {
        let frozen = Frozen::new(base.gpu(), base.arch(), adapter, images, room);
        Prefix::over(base, frozen)
    }

    /// A base on what is there already: one that was loaded as [`Frozen::spare`] says has what is lacking.
    pub fn over(base: Vgg, frozen: Frozen) -> Self {
        let below = Below { base, passes: 0 };
        Prefix { below, frozen }
    }

    /// What is kept, for another run on the same images whose adapter has the same lowest layer.
    pub fn into_frozen(self) -> Frozen {
        self.frozen
    }

    /// Where it is kept for other runs.
    pub fn shelf(&mut self) -> Option<&mut Shelf> {
        self.frozen.shelf.as_mut()
    }

    /// The base.
    pub fn base(&self) -> &Vgg {
        &self.below.base
    }

    /// The length of what the lowest adapted layer takes of an image.
    fn row_len(&self) -> usize {
        let size = self.frozen.transform.size;
        self.below.base.row_len(self.frozen.from, size)
    }

    /// The lowest adapted layer.
    pub fn from(&self) -> usize {
        self.frozen.from
    }

    /// Images that have gone through the frozen layers so far, counted each time.
    pub fn passes(&self) -> usize {
        self.below.passes
    }

    /// Whether anything is.
    pub fn keeps(&self) -> bool {
        self.frozen.keeps()
    }

    /// What so many rows, an image's or a variant's each, take in `room`.
    pub fn takes(&self, rows: usize, room: &Room) -> Takes {
        let crop = crop_bytes(self.frozen.transform);
        let crops = |room: &Room| match (rows * crop) as u64 <= 2 * room.bytes {
            true => Takes::rows(rows, crop, room),
            false => Takes::default(),
        };
        if self.frozen.from == 0 {
            return crops(room);
        }
        // As they are given their room: the costlier first.
        let features = self.row_len() * 4;
        let product = self.below.base.product_len(self.frozen.from).map(|n| n * 4);
        let mut rest = room.clone();
        let mut all = Takes::default();
        for length in std::iter::once(features).chain(product) {
            all = all + Takes::rows(rows, length, &rest);
            rest = rest.without((rows * length) as u64);
        }
        match self.frozen.pixels {
            true => all + crops(&rest),
            false => all,
        }
    }

    /// What is kept, in a word.
    pub fn kept(&self) -> String {
        let layers = self.below.base.arch().layers();
        match layers.get(self.frozen.from) {
            None if self.below.base.arch().classes > 0 => "the base's answers".into(),
            None => "the input of the head".into(),
            Some(_) if self.frozen.from == self.below.base.depth() => {
                "the input of the head".into()
            }
            Some(_) if self.frozen.from == 0 => "the images".into(),
            Some(layer) => format!("the input of {}", layer.name),
        }
    }

    /// Bytes kept of an image: its features and their product, and its crop where steps take it.
    pub fn bytes_per_image(&self) -> usize {
        let crop = match self.frozen.pixels || self.frozen.from == 0 {
            true => crop_bytes(self.frozen.transform),
            false => 0,
        };
        let features = match self.frozen.from {
            0 => 0,
            _ => self.row_len(),
        };
        let product = self.below.base.product_len(self.frozen.from).unwrap_or(0);
        (features + product) * 4 + crop
    }

    /// Computes what is missing of all images or, where they are augmented, of [`ImageStore::lasting`], then gives the memory of
    /// the layers that made it back, where nothing else will be asked of them; `progress` hears how many are done.
    ///
    /// # Errors
    /// What the device or an image file reported.
    pub fn fill(
        &mut self,
        images: &Arc<ImageStore>,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let lacks = |&image: &usize| self.frozen.cache.as_ref().is_some_and(|c| c.lacks(image));
        let lasting = images.lasting();
        let all = lasting.len();
        let order: Vec<usize> = lasting.into_iter().filter(lacks).collect();
        let at_once = self.below.base.batch(self.frozen.transform.size);
        let mut done = all - order.len();
        for batch in images.batches(order.chunks(at_once).map(<[usize]>::to_vec).collect()) {
            let batch = batch?;
            self.keep(&batch)?;
            done += batch.indices.len();
            progress(done)?;
        }
        if let Some(shelf) = &mut self.frozen.shelf {
            shelf.seal();
        }
        if self.frozen.complete() {
            let product = self.frozen.has_products();
            self.below.base.release(self.frozen.from, product);
        }
        Ok(())
    }

    /// The inputs of layer [`Prefix::from`] for a batch: [N, `row_len`].
    ///
    /// # Errors
    /// What the device reported.
    pub fn of(&mut self, batch: &Batch) -> Result<Tensor> {
        self.keep(batch)?;
        if let Some(Cache::Features { features, .. }) = &mut self.frozen.cache
            && batch.indices.iter().all(|&image| features.has(image))
        {
            return features.tensor(&batch.indices);
        }
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let at = self.frozen.at();
        let features = self.below.compute(at, batch, &all)?;
        let shape = [batch.indices.len(), self.row_len()];
        Tensor::from_slice(self.below.base.gpu(), shape, &features)
    }

    /// The inputs of every step of `order`.
    pub(super) fn inputs<'s>(
        &'s mut self,
        images: &Arc<ImageStore>,
        order: Vec<Vec<usize>>,
    ) -> Box<dyn Iterator<Item = Result<Input>> + 's> {
        let pixels = self.frozen.pixels;
        let whole = self.frozen.cache.as_ref().is_some_and(|cache| {
            let mut images = order.iter().flatten();
            images.all(|&image| cache.has(image))
        });
        if whole && let Some(ref mut cache) = self.frozen.cache {
            return Box::new(order.into_iter().map(move |i| cache.input(i, pixels)));
        }
        let batches = images.batches(order).into_iter();
        Box::new(batches.map(|batch| self.streamed(&batch?)))
    }

    fn streamed(&mut self, batch: &Batch) -> Result<Input> {
        let features = self.of(batch)?;
        let kept = self.frozen.cache.as_mut().and_then(Cache::products);
        let has = |kept: &&mut Kept| batch.indices.iter().all(|&image| kept.has(image));
        let product = match kept.filter(has) {
            Some(products) => Some(products.tensor(&batch.indices)?),
            None => self.below.base.product(&features, self.frozen.from)?,
        };
        let shape = [
            batch.indices.len(),
            3 * self.frozen.transform.size * self.frozen.transform.size,
        ];
        let pixels = match (self.frozen.pixels, self.frozen.from) {
            (false, _) => None,
            (true, 0) => Some(features.clone()),
            _ => Some(Tensor::from_slice(
                self.below.base.gpu(),
                shape,
                &batch.pixels,
            )?),
        };
        Ok(Input {
            indices: batch.indices.clone(),
            features,
            product,
            pixels,
        })
    }

    /// Puts what the cache lacks of a batch into it.
    fn keep(&mut self, batch: &Batch) -> Result<()> {
        let at = self.frozen.at();
        let Some(cache) = &mut self.frozen.cache else {
            return Ok(());
        };
        if let Some(crops) = cache.crops() {
            crops.keep(batch)?;
        }
        let Cache::Features {
            features, products, ..
        } = cache
        else {
            return Ok(());
        };
        let missing: Vec<usize> = (0..batch.indices.len())
            .filter(|&i| features.lacks(batch.indices[i]))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows = self.below.compute(at, batch, &missing)?;
        let put = |kept: &mut Kept, rows: &[f32]| {
            let rows = rows.chunks(rows.len() / missing.len());
            let mut both = missing.iter().zip(rows);
            both.try_for_each(|(&i, row)| kept.put(batch.indices[i], bytemuck::cast_slice(row)))
        };
        put(features, &rows)?;
        let mut more = Vec::new();
        if let Some(products) = products {
            let base = &self.below.base;
            let length = rows.len() / missing.len();
            let input = Tensor::from_slice(base.gpu(), [missing.len(), length], &rows)?;
            let product = base.product(&input, at.0)?;
            more = product.expect("a linear layer has a product").to_vec()?;
            put(products, &more)?;
        }
        if let Some(shelf) = &mut self.frozen.shelf {
            let part = |all: &[f32], n: usize| {
                let length = all.len() / missing.len();
                bytemuck::cast_slice::<f32, u8>(&all[n * length..(n + 1) * length]).to_vec()
            };
            for (n, &i) in missing.iter().enumerate() {
                if let Some(content) = &batch.contents[i] {
                    shelf.put(content, &[&part(&rows, n), &part(&more, n)]);
                }
            }
        }
        Ok(())
    }
}
