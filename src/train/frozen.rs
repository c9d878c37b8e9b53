//! What a step needs of its images and no step changes: what the frozen layers below the lowest adapted one make of them,
//! and where a branch takes the pixels themselves, those. With the cache on, both are computed once an image; with it
//! off, in every step. The bits are the same.

use std::fmt;
use std::sync::Arc;

use super::kept::{Room, Rows};
use super::normalize::{crop_bytes, normalize};
use crate::data::{Batch, ImageStore, Transform};
use crate::error::Result;
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Vgg};
use crate::tensor::Tensor;

/// The input of layer `from` by image, its product with the layer's frozen weight where that is linear, and where they are wanted and there is room the normalised images.
pub struct Prefix {
    base: Vgg,
    /// The lowest layer that is adapted; the depth of the network where none is.
    from: usize,
    /// Whether steps take the pixels beside it.
    pixels: bool,
    transform: Transform,
    cache: Option<Cache>,
    passes: usize,
}

struct Cache {
    /// Where there are frozen layers.
    features: Option<Rows>,
    /// Of a linear layer.
    products: Option<Rows>,
    /// The images as 8-bit crops, where steps take them.
    crops: Option<Rows>,
    /// The images of the last step, normalised.
    last: Option<(Vec<usize>, Tensor)>,
}

impl Cache {
    /// Whether the frozen layers are needed no more.
    fn complete(&self) -> bool {
        let complete = |rows: &Option<Rows>| rows.as_ref().is_none_or(Rows::complete);
        complete(&self.features) && complete(&self.products)
    }

    /// Images from their crops, normalised: [N, 3 size size].
    fn images(&mut self, indices: &[usize], transform: Transform) -> Result<Tensor> {
        if let Some((_, images)) = self.last.as_ref().filter(|(last, _)| last == indices) {
            return Ok(images.clone());
        }
        let crops = self.crops.as_mut().expect("crops are kept");
        let images = normalize(&crops.tensor(indices)?, transform)?;
        self.last = Some((indices.to_vec(), images.clone()));
        Ok(images)
    }
}

/// A step's images.
pub(super) struct Input {
    /// Positions in the store.
    pub(super) indices: Vec<usize>,
    /// [N, 3 size size], where a branch wants them.
    pub(super) pixels: Option<Tensor>,
    /// What layer [`Prefix::from`] takes, [N, `row_len`].
    pub(super) features: Tensor,
    /// What its frozen weight makes of it, where it is linear.
    pub(super) product: Option<Tensor>,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("base", &self.base)
            .field("from", &self.from)
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

impl Prefix {
    /// Nothing computed yet, for images of `images` and the modules of `adapter`; `room` is where to keep it, `None` to
    /// keep nothing.
    pub fn new(base: Vgg, adapter: &Adapter, images: &ImageStore, room: Option<Room>) -> Self {
        let from = adapter.lowest(base.arch());
        let transform = images.transform();
        let count = images.len();
        let features = base.row_len(from, transform.size);
        // Below the first layer the images are what it takes.
        let pixels = adapter.get(PIXELS).is_some();
        let cache = room.map(|room| {
            let rows = |length: usize| Rows::new(base.gpu(), count, length, room.clone());
            Cache {
                features: (from > 0).then(|| rows(features * 4)),
                products: base.product_len(from).map(|length| rows(length * 4)),
                // The costlier rows first.
                crops: (pixels || from == 0).then(|| {
                    let taken = if from > 0 { count * features * 4 } else { 0 };
                    let rest = room.without(taken as u64);
                    Rows::new(base.gpu(), count, crop_bytes(transform), rest)
                }),
                last: None,
            }
        });
        Prefix {
            base,
            from,
            pixels,
            transform,
            cache,
            passes: 0,
        }
    }

    /// The base.
    pub fn base(&self) -> &Vgg {
        &self.base
    }

    /// The lowest adapted layer.
    pub fn from(&self) -> usize {
        self.from
    }

    /// Images that have gone through the frozen layers so far, counted each time.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// What is kept, in a word.
    pub fn kept(&self) -> String {
        let layers = self.base.arch().layers();
        match layers.get(self.from) {
            None => "the base's answers".into(),
            Some(_) if self.from == 0 => "the images".into(),
            Some(layer) => format!("the input of {}", layer.name),
        }
    }

    /// Bytes kept of an image: its features and their product, and its crop where steps take it.
    pub fn bytes_per_image(&self) -> usize {
        let crop = match self.pixels || self.from == 0 {
            true => crop_bytes(self.transform),
            false => 0,
        };
        let features = match self.from {
            0 => 0,
            from => self.base.row_len(from, self.transform.size),
        };
        let product = self.base.product_len(self.from).unwrap_or(0);
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
        let at_once = self.base.batch(self.transform.size);
        let order: Vec<usize> = (0..images.len()).collect();
        let mut done = 0;
        for batch in images.batches(order.chunks(at_once).map(<[usize]>::to_vec).collect()) {
            let batch = batch?;
            self.keep(&batch)?;
            done += batch.indices.len();
            progress(done)?;
        }
        if let Some(cache) = self.cache.as_ref().filter(|c| c.complete()) {
            let product = cache.products.as_ref().is_some_and(Rows::complete);
            self.base.release(self.from, product);
        }
        Ok(())
    }

    /// The inputs of layer [`Prefix::from`] for a batch: [N, `row_len`].
    ///
    /// # Errors
    /// What the device reported.
    pub fn of(&mut self, batch: &Batch) -> Result<Tensor> {
        self.keep(batch)?;
        let kept = self.cache.as_mut().and_then(|c| c.features.as_mut());
        if let Some(features) = kept {
            return features.tensor(&batch.indices);
        }
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let features = self.compute(batch, &all)?;
        let shape = [
            batch.indices.len(),
            self.base.row_len(self.from, self.transform.size),
        ];
        Tensor::from_slice(self.base.gpu(), shape, &features)
    }

    /// The inputs of every step of `order`.
    pub(super) fn inputs<'s>(
        &'s mut self,
        images: &Arc<ImageStore>,
        order: Vec<Vec<usize>>,
    ) -> impl Iterator<Item = Result<Input>> + use<'s> {
        let kept = self.cache.as_ref().is_some_and(|cache| {
            cache.complete() && cache.crops.as_ref().is_none_or(Rows::complete)
        });
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
        let images = match &cache.crops {
            Some(_) => Some(cache.images(&indices, self.transform)?),
            None => None,
        };
        let features = match (&mut cache.features, &images) {
            (Some(features), _) => features.tensor(&indices)?,
            (None, images) => images.clone().expect("the first layer takes the images"),
        };
        let product = match &mut cache.products {
            Some(products) => Some(products.tensor(&indices)?),
            None => None,
        };
        Ok(Input {
            pixels: images.filter(|_| self.pixels),
            features,
            product,
            indices,
        })
    }

    fn streamed(&mut self, batch: &Batch) -> Result<Input> {
        let features = self.of(batch)?;
        let product = match self.cache.as_mut().and_then(|c| c.products.as_mut()) {
            Some(products) => Some(products.tensor(&batch.indices)?),
            None => self.base.product(&features, self.from)?,
        };
        let shape = [
            batch.indices.len(),
            3 * self.transform.size * self.transform.size,
        ];
        let pixels = match (self.pixels, self.from) {
            (false, _) => None,
            (true, 0) => Some(features.clone()),
            _ => Some(Tensor::from_slice(self.base.gpu(), shape, &batch.pixels)?),
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
        let length = batch.crops.len() / batch.indices.len();
        if let Some(crops) = cache.crops.as_mut().filter(|crops| crops.fit()) {
            for (&image, crop) in batch.indices.iter().zip(batch.crops.chunks(length)) {
                if !crops.has(image) {
                    let mut row = crop.to_vec();
                    row.resize(crop_bytes(self.transform), 0);
                    crops.put(image, &row)?;
                }
            }
        }
        let Some(features) = &cache.features else {
            return Ok(());
        };
        let missing: Vec<usize> = (0..batch.indices.len())
            .filter(|&i| !features.has(batch.indices[i]))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let features = self.compute(batch, &missing)?;
        let length = features.len() / missing.len();
        let cache = self.cache.as_mut().expect("it was there above");
        for (&i, row) in missing.iter().zip(features.chunks(length)) {
            if let Some(kept) = &mut cache.features {
                kept.put(batch.indices[i], bytemuck::cast_slice(row))?;
            }
        }
        let Some(products) = &mut cache.products else {
            return Ok(());
        };
        let rows = Tensor::from_slice(self.base.gpu(), [missing.len(), length], &features)?;
        if let Some(product) = self.base.product(&rows, self.from)? {
            let product = product.to_vec()?;
            for (&i, row) in missing
                .iter()
                .zip(product.chunks(product.len() / missing.len()))
            {
                products.put(batch.indices[i], bytemuck::cast_slice(row))?;
            }
        }
        Ok(())
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
