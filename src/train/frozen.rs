//! What is kept of the images of a run: what the frozen layers below the lowest adapted one make of each, and where a
//! branch takes the pixels themselves, those. It needs no network to be there: another run's may have computed it.

use std::fmt;
use std::sync::Arc;

use super::cache::{Cache, Crops};
use super::kept::{Kept, Lent, Room, rows};
use super::store::{Found, Shelf};
use crate::data::{ImageStore, Transform, Variants};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Arch, Loading};

/// Packs of a shelf that may be open at a time.
const MOST_LENT: u32 = 256;

/// What the rows of a network, an adapter and images are like.
#[derive(Debug, PartialEq)]
struct Rows {
    arch: &'static str,
    side: usize,
    /// Numbers of what the lowest adapted layer takes, and of its product.
    numbers: [usize; 2],
}

impl Rows {
    fn new(arch: Arch, adapter: &Adapter, images: &ImageStore) -> Self {
        let (from, headless) = (adapter.lowest(arch), adapter.head.is_some());
        let side = images.transform().size;
        Rows {
            arch: arch.name,
            side,
            numbers: [
                arch.row_len(headless, from, side),
                arch.product_len(headless, from).unwrap_or(0),
            ],
        }
    }
}

/// What is kept of the images, which needs no network to be there.
pub struct Frozen {
    /// The lowest layer that is adapted; the depth of the network where none is.
    pub(super) from: usize,
    pub(super) transform: Transform,
    /// What decides how long the rows are, and the network's name.
    rows: Rows,
    /// Whether steps take the pixels beside what the frozen layers make of them.
    pub(super) pixels: bool,
    pub(super) cache: Option<Cache>,
    /// The positions of which something is kept, and how their images are augmented.
    wanted: Arc<[bool]>,
    variants: Option<Variants>,
    /// Whether nothing is asked for but what is kept: else what the frozen layers have to give has no end.
    closed: bool,
    /// Where it is kept for other runs.
    pub(super) shelf: Option<Shelf>,
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen")
            .field("from", &self.from)
            .field("complete", &self.complete())
            .field("shelf", &self.shelf)
            .finish_non_exhaustive()
    }
}

impl Frozen {
    /// Nothing yet, for images of `images` and the modules of `adapter` on a network of `arch`; `room` is where to keep
    /// it, `None` to keep nothing.
    pub fn new(
        gpu: &Gpu,
        arch: Arch,
        adapter: &Adapter,
        images: &ImageStore,
        room: Option<Room>,
    ) -> Self {
        let from = adapter.lowest(arch);
        let headless = adapter.head.is_some();
        let transform = images.transform();
        let wanted = wanted(images);
        let pixels = adapter.get(PIXELS).is_some();
        let cache = room.map(|room| {
            if from == 0 {
                // Below the first layer the images are what it takes.
                return Cache::Images(Crops::new(gpu, &wanted, transform, room));
            }
            let features = arch.row_len(headless, from, transform.size) * 4;
            // The costlier first; each has what those before it leave.
            let mut rest = room;
            let mut take = |length: usize| {
                let room = rest.clone();
                rest = rest.without((rows(&wanted) * length) as u64);
                room
            };
            let kept = |length: usize, room: Room| Kept::new(gpu, &wanted, length, room);
            Cache::Features {
                features: kept(features, take(features)),
                products: arch
                    .product_len(headless, from)
                    .map(|length| kept(length * 4, take(length * 4))),
                crops: pixels.then(|| Crops::new(gpu, &wanted, transform, rest)),
            }
        });
        Frozen {
            from,
            transform,
            rows: Rows::new(arch, adapter, images),
            pixels,
            cache,
            wanted,
            variants: images.variants(),
            closed: images.variants().is_none(),
            shelf: None,
        }
    }

    /// For somebody who asks of an image that has variants for those and never for itself, as steps and their validation do:
    /// where the variants have an end, so has what the frozen layers have to give.
    pub fn for_steps(self) -> Self {
        let closed = self.variants.is_none_or(|v| v.count.is_some());
        Frozen { closed, ..self }
    }

    /// Whether this is of the same rows as what another run on the same base and images takes: of the same layer and length, of
    /// these variants.
    pub fn suits(&self, arch: Arch, adapter: &Adapter, images: &ImageStore) -> bool {
        let pixels = adapter.get(PIXELS).is_some();
        (self.from, self.pixels) == (adapter.lowest(arch), pixels)
            && self.rows == Rows::new(arch, adapter, images)
            && self.variants == images.variants()
            && self.wanted == wanted(images)
    }

    /// Where it is kept for other runs, without what is here.
    pub fn into_shelf(self) -> Option<Shelf> {
        self.shelf.map(Shelf::anew)
    }

    /// Takes what `shelf` has of the images, whose contents are known, and keeps there what is computed from now on. The
    /// number of images that it had.
    ///
    /// # Errors
    /// What the device reported.
    pub fn stock(&mut self, mut shelf: Shelf, images: &ImageStore) -> Result<usize> {
        let Some(Cache::Features {
            features, products, ..
        }) = &mut self.cache
        else {
            return Ok(0);
        };
        let (mut row, mut taken) = (Vec::new(), 0);
        for image in images.lasting() {
            let content = images.content(image);
            let Some(found) = content.and_then(|content| shelf.take(&content, &mut row)) else {
                continue;
            };
            if !features.lacks(image) {
                continue;
            }
            // What has no room in memory is read where it lies, while that takes no more open files than a process may have.
            let lent = |skip: usize| {
                let Found { file, offset, pack } = &found;
                (*pack < MOST_LENT).then(|| Lent {
                    file: file.clone(),
                    offset: offset + skip as u64,
                })
            };
            let (feature, product) = row.split_at(features.length());
            features.put_or_lend(image, feature, lent(0))?;
            if let Some(products) = products {
                products.put_or_lend(image, product, lent(feature.len()))?;
            }
            taken += 1;
        }
        self.shelf = Some(shelf);
        Ok(taken)
    }

    /// Keeps nothing for other runs.
    pub fn without_shelf(self) -> Self {
        Frozen {
            shelf: None,
            ..self
        }
    }

    /// Whether the row of an image, or its product, is to be kept and is not there yet.
    pub(super) fn lacks_row(&self, image: usize) -> bool {
        match &self.cache {
            Some(Cache::Features {
                features, products, ..
            }) => features.lacks(image) || products.as_ref().is_some_and(|p| p.lacks(image)),
            _ => false,
        }
    }

    /// Numbers of a row and of its product.
    pub(super) fn row_numbers(&self) -> usize {
        let [row, product] = self.rows.numbers;
        row + if self.has_products() { product } else { 0 }
    }

    /// Whether anything is kept.
    pub fn keeps(&self) -> bool {
        self.cache.is_some()
    }

    /// Whether all that frozen layers have to give is there; of images that are augmented it never is, but [for
    /// steps](Frozen::for_steps).
    pub fn complete(&self) -> bool {
        self.closed && self.cache.as_ref().is_some_and(Cache::complete)
    }

    /// `how`, without the layers that nothing needs any more.
    pub fn spare(&self, how: Loading) -> Loading {
        match self.complete() {
            true => Loading {
                lowest: self.from,
                product: self.has_products(),
                ..how
            },
            false => how,
        }
    }

    /// The lowest adapted layer, and the side of the images.
    pub(super) fn at(&self) -> (usize, usize) {
        (self.from, self.transform.size)
    }

    pub(super) fn has_products(&self) -> bool {
        match &self.cache {
            Some(Cache::Features { products, .. }) => products.is_some(),
            _ => false,
        }
    }
}

/// The positions of which rows are kept: those that are asked for again and again. All images are among the positions.
fn wanted(images: &ImageStore) -> Arc<[bool]> {
    let lasting = images.lasting();
    let end = lasting.iter().max().map_or(0, |last| last + 1);
    let mut wanted = vec![false; end.max(images.len())];
    lasting
        .into_iter()
        .for_each(|position| wanted[position] = true);
    wanted.into()
}
