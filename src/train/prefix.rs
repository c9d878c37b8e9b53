//! What a step needs of its images and no step changes: what the frozen layers below the lowest adapted one make of them,
//! and where a branch takes the pixels themselves, those. With the cache on, both are computed once an image; with it
//! off, in every step. The bits are the same.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::arriving::Arriving;
use super::cache::{Cache, Input};
use super::frozen::Frozen;
use super::kept::{Kept, Room, Takes};
use super::normalize::{Sent, crop_bytes};
use super::store::Shelf;
use crate::data::{Batch, ImageStore};
use crate::error::{Error, Result};
use crate::gpu::Mark;
use crate::nn::{Adapter, Factors, Vgg};
use crate::tensor::Tensor;
use crate::world::World;

/// The input of the lowest adapted layer by image, its product with the layer's frozen weight where that is linear, and
/// where they are wanted the images.
pub struct Prefix {
    below: Below,
    pub(super) frozen: Frozen,
    pub(super) world: World,
}

/// Batches that the device has while those before them are kept: while it works on one, the host takes in the one before.
pub(super) const AHEAD: usize = 1;

/// What there is to wait for of a batch before the next but one is begun.
enum Coming {
    /// What comes to the host.
    Rows(Arriving),
    /// That the device is done.
    Nothing(Mark),
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
    /// What the layers below `from` make of some images, of `size` pixels a side, of a batch: [M, `row_len`].
    fn compute(
        &mut self,
        (from, size): (usize, usize),
        sent: &mut Sent,
        wanted: &[usize],
    ) -> Result<Tensor> {
        if from == 0 {
            return sent.images(wanted);
        }
        let at_once = self.base.batch(size);
        let mut all: Option<Tensor> = None;
        let mut offset = 0;
        for group in wanted.chunks(at_once) {
            let images = sent.images(group)?.reshaped([group.len(), 3, size, size]);
            let rows = self.base.below(&images, from, &Factors::default())?;
            self.passes += group.len();
            if wanted.len() <= at_once {
                return Ok(rows);
            }
            let gpu = self.base.gpu();
            let all = match &mut all {
                Some(all) => all,
                none => none.insert(Tensor::empty(gpu, [wanted.len(), rows.shape().row_len()])?),
            };
            let (from, to) = (rows.buffer("features")?, all.buffer("features")?);
            gpu.copy(from, 0, to, offset, from.bytes)?;
            offset += from.bytes;
        }
        all.ok_or_else(|| Error::Usage("a batch has no image".into()))
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
        Prefix {
            below,
            frozen,
            world: World::alone(),
        }
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
    /// the layers that made it back, where nothing else will be asked of them; `progress` hears how many are done. On several
    /// ranks each computes its share of what any of them lacks, and hears of the others' where `for_all` says so; else rank 0
    /// alone does, and nothing is kept on the others.
    ///
    /// # Errors
    /// What the device or an image file reported.
    pub fn fill_for(
        &mut self,
        images: &Arc<ImageStore>,
        for_all: bool,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        if !self.world.is_alone() {
            self.fill_together(images, for_all, &mut progress)?;
            if !for_all && !self.world.leads() {
                return Ok(());
            }
        }
        let lacks = |&image: &usize| self.frozen.cache.as_ref().is_some_and(|c| c.lacks(image));
        let lasting = images.lasting();
        let all = lasting.len();
        let order: Vec<usize> = lasting.into_iter().filter(lacks).collect();
        let at_once = self.below.base.batch(self.frozen.transform.size);
        let mut done = all - order.len();
        let order = order.chunks(at_once).map(<[usize]>::to_vec).collect();
        self.compute_each(images, order, |prefix, batch, coming| {
            match coming {
                Coming::Rows(arriving) => prefix.frozen.take_in(arriving)?,
                Coming::Nothing(mark) => mark.wait()?,
            }
            done += batch.indices.len();
            progress(done)
        })?;
        if let Some(shelf) = &mut self.frozen.shelf {
            shelf.seal();
        }
        if self.frozen.complete() {
            let product = self.frozen.has_products();
            self.below.base.release(self.frozen.from, product);
        }
        Ok(())
    }

    /// The same for every rank.
    ///
    /// # Errors
    /// As [`Prefix::fill_for`].
    pub fn fill(
        &mut self,
        images: &Arc<ImageStore>,
        progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        self.fill_for(images, true, progress)
    }

    /// Has the device compute what is lacking of each batch of `order`, and gives `take` what comes of it, while the device works
    /// on the next.
    fn compute_each(
        &mut self,
        images: &Arc<ImageStore>,
        order: Vec<Vec<usize>>,
        mut take: impl FnMut(&mut Self, Batch, Coming) -> Result<()>,
    ) -> Result<()> {
        let mut under_way = VecDeque::new();
        let mut ended = Ok(());
        for batch in images.batches(order) {
            ended = batch.and_then(|batch| {
                let gpu = self.below.base.gpu().clone();
                let coming = match self.keep(&mut Sent::new(&gpu, &batch))? {
                    Some(arriving) => Coming::Rows(arriving),
                    None => Coming::Nothing(gpu.mark()?),
                };
                under_way.push_back((batch, coming));
                match under_way.len() > AHEAD {
                    true => {
                        let (batch, coming) = under_way.pop_front().expect("there are some");
                        take(self, batch, coming)
                    }
                    false => Ok(()),
                }
            });
            if ended.is_err() {
                break;
            }
        }
        // What was handed over is kept, whatever came between.
        for (batch, coming) in under_way {
            ended = ended.and(take(self, batch, coming));
        }
        ended
    }

    /// The inputs of layer [`Prefix::from`] for a batch: [N, `row_len`].
    ///
    /// # Errors
    /// What the device reported.
    pub fn of(&mut self, batch: &Batch) -> Result<Tensor> {
        let gpu = self.below.base.gpu().clone();
        self.features(&mut Sent::new(&gpu, batch))
    }

    fn features(&mut self, sent: &mut Sent) -> Result<Tensor> {
        let batch = sent.batch();
        if let Some(cache) = &self.frozen.cache
            && batch.indices.iter().any(|&image| cache.lacks(image))
            && let Some(arriving) = self.keep(sent)?
        {
            self.frozen.take_in(arriving)?;
        }
        if let Some(Cache::Features { features, .. }) = &mut self.frozen.cache
            && batch.indices.iter().all(|&image| features.has(image))
        {
            return features.tensor(&batch.indices);
        }
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        self.compute(sent, &all)
    }

    /// What the frozen layers make of some images of a batch.
    pub(super) fn compute(&mut self, sent: &mut Sent, wanted: &[usize]) -> Result<Tensor> {
        self.below.compute(self.frozen.at(), sent, wanted)
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
        let gpu = self.below.base.gpu().clone();
        let mut sent = Sent::new(&gpu, batch);
        let features = self.features(&mut sent)?;
        let kept = self.frozen.cache.as_mut().and_then(Cache::products);
        let has = |kept: &&mut Kept| batch.indices.iter().all(|&image| kept.has(image));
        let product = match kept.filter(has) {
            Some(products) => Some(products.tensor(&batch.indices)?),
            None => self.below.base.product(&features, self.frozen.from)?,
        };
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let pixels = match self.frozen.pixels {
            true => Some(sent.images(&all)?),
            false => None,
        };
        Ok(Input {
            indices: batch.indices.clone(),
            features,
            product,
            pixels,
        })
    }

    /// Has the device compute what the cache lacks of a batch, and keeps it there; what comes to the host is kept once it is
    /// [taken in](Frozen::take_in).
    fn keep(&mut self, sent: &mut Sent) -> Result<Option<Arriving>> {
        let batch = sent.batch();
        let cache = self.frozen.cache.as_mut();
        if let Some(crops) = cache.and_then(Cache::crops) {
            crops.keep(sent)?;
        }
        let mut missing = Vec::new();
        if let Some(Cache::Features { features, .. }) = &self.frozen.cache {
            missing.extend((0..batch.indices.len()).filter(|&i| features.lacks(batch.indices[i])));
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let rows = self.compute(sent, &missing)?;
        let products = match self.frozen.has_products() {
            true => self.below.base.product(&rows, self.frozen.from)?,
            false => None,
        };
        self.frozen
            .hand_on(batch, &missing, &rows, products.as_ref())
    }
}
