//! What a step needs of its images and no step changes: what the frozen layers below the lowest adapted one make of them,
//! and where a branch takes the pixels themselves, those. With the cache on, both are computed once an image; with it
//! off, in every step. The bits are the same.

use std::fmt;
use std::sync::Arc;

use super::cache::{Cache, Crops, Input};
use super::kept::{Kept, Room, Takes};
use super::normalize::crop_bytes;
use crate::data::{Batch, ImageStore, Transform};
use crate::error::Result;
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Vgg};
use crate::tensor::Tensor;

/// The input of the lowest adapted layer by image, its product with the layer's frozen weight where that is linear, and
/// where they are wanted the images.
pub struct Prefix {
    below: Below,
    /// Whether steps take the pixels beside it.
    pixels: bool,
    cache: Option<Cache>,
}

/// The frozen layers below the lowest adapted one.
struct Below {
    base: Vgg,
    /// The lowest layer that is adapted; the depth of the network where none is.
    from: usize,
    transform: Transform,
    passes: usize,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("base", &self.below.base)
            .field("from", &self.below.from)
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

impl Below {
    /// The length of what the lowest adapted layer takes of an image.
    fn row_len(&self) -> usize {
        self.base.row_len(self.from, self.transform.size)
    }

    /// What the frozen layers make of some images of a batch.
    fn compute(&mut self, batch: &Batch, wanted: &[usize]) -> Result<Vec<f32>> {
        let length = batch.pixels.len() / batch.indices.len();
        let size = self.transform.size;
        let mut features = Vec::new();
        for group in wanted.chunks(self.base.batch(size)) {
            let pixels: Vec<f32> = group
                .iter()
                .flat_map(|&i| &batch.pixels[i * length..(i + 1) * length])
                .copied()
                .collect();
            if self.from == 0 {
                features.extend(pixels);
                continue;
            }
            features.extend(self.base.prefix(&pixels, size, self.from)?);
            self.passes += group.len();
        }
        Ok(features)
    }
}

impl Prefix {
    /// Nothing computed yet, for images of `images` and the modules of `adapter`; `room` is where to keep it, `None` to
    /// keep nothing.
    pub fn new(base: Vgg, adapter: &Adapter, images: &ImageStore, room: Option<Room>) -> Self {
        let from = adapter.lowest(base.arch());
        let transform = images.transform();
        let count = images.len();
        let pixels = adapter.get(PIXELS).is_some();
        let gpu = base.gpu();
        let cache = room.map(|room| {
            if from == 0 {
                // Below the first layer the images are what it takes.
                return Cache::Images(Crops::new(gpu, count, transform, room));
            }
            let features = base.row_len(from, transform.size) * 4;
            // The costlier first; each has what those before it leave.
            let mut rest = room;
            let mut take = |length: usize| {
                let room = rest.clone();
                rest = rest.without((count * length) as u64);
                room
            };
            let kept = |length: usize, room: Room| Kept::new(gpu, count, length, room);
            Cache::Features {
                features: kept(features, take(features)),
                products: base
                    .product_len(from)
                    .map(|length| kept(length * 4, take(length * 4))),
                crops: pixels.then(|| Crops::new(gpu, count, transform, rest)),
            }
        });
        Prefix {
            below: Below {
                base,
                from,
                transform,
                passes: 0,
            },
            pixels,
            cache,
        }
    }

    /// The base.
    pub fn base(&self) -> &Vgg {
        &self.below.base
    }

    /// The lowest adapted layer.
    pub fn from(&self) -> usize {
        self.below.from
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.cache.is_some()
    }

    /// What is kept of so many images in `room` takes.
    pub fn takes(&self, images: usize, room: &Room) -> Takes {
        let crop = crop_bytes(self.below.transform);
        let crops = |room: &Room| match (images * crop) as u64 <= 2 * room.bytes {
            true => Takes::rows(images, crop, room),
            false => Takes::default(),
        };
        if self.below.from == 0 {
            return crops(room);
        }
        // As they are given their room: the costlier first.
        let features = self.below.row_len() * 4;
        let product = self.below.base.product_len(self.below.from).map(|n| n * 4);
        let mut rest = room.clone();
        let mut all = Takes::default();
        for length in std::iter::once(features).chain(product) {
            all = all + Takes::rows(images, length, &rest);
            rest = rest.without((images * length) as u64);
        }
        match self.pixels {
            true => all + crops(&rest),
            false => all,
        }
    }

    /// Images that have gone through the frozen layers so far, counted each time.
    pub fn passes(&self) -> usize {
        self.below.passes
    }

    /// What is kept, in a word.
    pub fn kept(&self) -> String {
        let layers = self.below.base.arch().layers();
        match layers.get(self.below.from) {
            None if self.below.base.arch().classes > 0 => "the base's answers".into(),
            None => "the input of the head".into(),
            Some(_) if self.below.from == self.below.base.depth() => "the input of the head".into(),
            Some(_) if self.below.from == 0 => "the images".into(),
            Some(layer) => format!("the input of {}", layer.name),
        }
    }

    /// Bytes kept of an image: its features and their product, and its crop where steps take it.
    pub fn bytes_per_image(&self) -> usize {
        let crop = match self.pixels || self.below.from == 0 {
            true => crop_bytes(self.below.transform),
            false => 0,
        };
        let features = match self.below.from {
            0 => 0,
            _ => self.below.row_len(),
        };
        let product = self.below.base.product_len(self.below.from).unwrap_or(0);
        (features + product) * 4 + crop
    }

    /// Computes what is missing of all images, then gives the memory of the layers that made it back; `progress` hears
    /// how many are done.
    ///
    /// # Errors
    /// What the device or an image file reported.
    pub fn fill(
        &mut self,
        images: &Arc<ImageStore>,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let at_once = self.below.base.batch(self.below.transform.size);
        let order: Vec<usize> = (0..images.len()).collect();
        let mut done = 0;
        for batch in images.batches(order.chunks(at_once).map(<[usize]>::to_vec).collect()) {
            let batch = batch?;
            self.keep(&batch)?;
            done += batch.indices.len();
            progress(done)?;
        }
        if let Some(cache) = self.cache.as_mut().filter(|c| c.complete()) {
            let product = cache.products().is_some_and(|p| p.complete());
            self.below.base.release(self.below.from, product);
        }
        Ok(())
    }

    /// The inputs of layer [`Prefix::from`] for a batch: [N, `row_len`].
    ///
    /// # Errors
    /// What the device reported.
    pub fn of(&mut self, batch: &Batch) -> Result<Tensor> {
        self.keep(batch)?;
        if let Some(Cache::Features { features, .. }) = &mut self.cache {
            return features.tensor(&batch.indices);
        }
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let features = self.below.compute(batch, &all)?;
        let shape = [batch.indices.len(), self.below.row_len()];
        Tensor::from_slice(self.below.base.gpu(), shape, &features)
    }

    /// The inputs of every step of `order`.
    pub(super) fn inputs<'s>(
        &'s mut self,
        images: &Arc<ImageStore>,
        order: Vec<Vec<usize>>,
    ) -> Box<dyn Iterator<Item = Result<Input>> + 's> {
        let pixels = self.pixels;
        let whole = self.cache.as_ref().is_some_and(Cache::whole);
        if whole && let Some(ref mut cache) = self.cache {
            return Box::new(order.into_iter().map(move |i| cache.input(i, pixels)));
        }
        let batches = images.batches(order).into_iter();
        Box::new(batches.map(|batch| self.streamed(&batch?)))
    }

    fn streamed(&mut self, batch: &Batch) -> Result<Input> {
        let features = self.of(batch)?;
        let product = match self.cache.as_mut().and_then(Cache::products) {
            Some(products) => Some(products.tensor(&batch.indices)?),
            None => self.below.base.product(&features, self.below.from)?,
        };
        let shape = [
            batch.indices.len(),
            3 * self.below.transform.size * self.below.transform.size,
        ];
        let pixels = match (self.pixels, self.below.from) {
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
        let Some(cache) = &mut self.cache else {
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
            .filter(|&i| !features.has(batch.indices[i]))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows = self.below.compute(batch, &missing)?;
        let put = |kept: &mut Kept, rows: &[f32]| {
            let rows = rows.chunks(rows.len() / missing.len());
            let mut both = missing.iter().zip(rows);
            both.try_for_each(|(&i, row)| kept.put(batch.indices[i], bytemuck::cast_slice(row)))
        };
        put(features, &rows)?;
        let Some(products) = products else {
            return Ok(());
        };
        let Below { base, from, .. } = &self.below;
        let length = rows.len() / missing.len();
        let rows = Tensor::from_slice(base.gpu(), [missing.len(), length], &rows)?;
        match base.product(&rows, *from)? {
            Some(product) => put(products, &product.to_vec()?),
            None => Ok(()),
        }
    }
}
