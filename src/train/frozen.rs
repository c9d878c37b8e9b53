//! What a step needs of its images and no step changes: what the frozen layers below the lowest adapted one make of them,
//! and where a branch takes the pixels themselves, those. With the cache on, both are computed once an image; with it
//! off, in every step. The bits are the same.

use std::sync::Arc;

use super::rows::{Room, Rows};
use crate::data::{Batch, ImageStore, Transform};
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Vgg};
use crate::{Result, Tensor};

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
    features: Rows,
    /// Of a linear layer.
    products: Option<Rows>,
    pixels: Option<Rows>,
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

impl Prefix {
    /// Nothing computed yet, for images of `images` and the modules of `adapter`; `room` is where to keep it, `None` to
    /// keep nothing.
    pub fn new(base: Vgg, adapter: &Adapter, images: &ImageStore, room: Option<Room>) -> Self {
        let from = adapter.lowest(base.arch());
        let transform = images.transform();
        let count = images.len();
        let features = base.row_len(from, transform.size);
        let image = 3 * transform.size * transform.size;
        // Below the first layer the images are what it takes.
        let pixels = adapter.get(PIXELS).is_some();
        let cache = room.map(|room| Cache {
            // The costlier rows first.
            pixels: (pixels && from > 0).then(|| {
                let rest = room.without((count * features * 4) as u64);
                Rows::new(base.gpu(), count, image, rest)
            }),
            products: base
                .product_len(from)
                .map(|length| Rows::new(base.gpu(), count, length, room.clone())),
            features: Rows::new(base.gpu(), count, features, room),
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

    /// Bytes kept of an image: its features, and its pixels where a branch wants them.
    pub fn bytes_per_image(&self) -> usize {
        let image = 3 * self.transform.size * self.transform.size;
        let pixels = if self.pixels && self.from > 0 {
            image
        } else {
            0
        };
        let product = self.base.product_len(self.from).unwrap_or(0);
        (self.base.row_len(self.from, self.transform.size) + product + pixels) * 4
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
        if let Some(cache) = self.cache.as_ref().filter(|c| c.features.complete()) {
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
        if let Some(cache) = &mut self.cache {
            return cache.features.tensor(&batch.indices);
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
            cache.features.complete() && cache.pixels.as_ref().is_none_or(Rows::complete)
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
        let features = cache.features.tensor(&indices)?;
        let product = match &mut cache.products {
            Some(products) => Some(products.tensor(&indices)?),
            None => None,
        };
        let pixels = match (&mut cache.pixels, self.pixels) {
            (Some(pixels), _) => Some(pixels.tensor(&indices)?),
            (None, wanted) => wanted.then(|| features.clone()),
        };
        Ok(Input {
            pixels,
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
        let length = batch.pixels.len() / batch.indices.len();
        if let Some(pixels) = cache.pixels.as_mut().filter(|pixels| pixels.fit()) {
            for (&image, row) in batch.indices.iter().zip(batch.pixels.chunks(length)) {
                if !pixels.has(image) {
                    pixels.put(image, row)?;
                }
            }
        }
        let missing: Vec<usize> = (0..batch.indices.len())
            .filter(|&i| !cache.features.has(batch.indices[i]))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let features = self.compute(batch, &missing)?;
        let length = features.len() / missing.len();
        let cache = self.cache.as_mut().expect("it was there above");
        for (&i, row) in missing.iter().zip(features.chunks(length)) {
            cache.features.put(batch.indices[i], row)?;
        }
        let some: Vec<usize> = missing.iter().map(|&i| batch.indices[i]).collect();
        let rows = Tensor::from_slice(self.base.gpu(), [some.len(), length], &features)?;
        if let (Some(products), Some(product)) =
            (&mut cache.products, self.base.product(&rows, self.from)?)
        {
            let product = product.to_vec()?;
            for (&image, row) in some.iter().zip(product.chunks(product.len() / some.len())) {
                products.put(image, row)?;
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
