//! What the frozen layers made of a batch, on its way to those who keep it. What has room on the device stays there; the rest,
//! and what other runs are to find, comes to the host while the device works on the next batch.

use super::cache::Cache;
use super::frozen::Frozen;
use super::kept::Kept;
use crate::data::{Batch, ContentHash, ImageStore};
use crate::error::Result;
use crate::gpu::Readback;
use crate::tensor::Tensor;

/// Rows of some images of a batch, one after the other, and then their products.
pub(super) struct Arriving {
    of: Vec<Of>,
    reading: Readback,
    /// Numbers of a row and of a product.
    lengths: [usize; 2],
}

/// Of which image a row is, and what its file holds where the store asks.
struct Of {
    image: usize,
    content: Option<ContentHash>,
}

impl Frozen {
    /// Keeps what the device has room for of `rows`, [M, length], and `products` of some images of a batch, and has the rest come
    /// to the host, which is what is returned. Nothing of it is waited for.
    pub(super) fn hand_on(
        &mut self,
        batch: &Batch,
        wanted: &[usize],
        rows: &Tensor,
        products: Option<&Tensor>,
    ) -> Result<Option<Arriving>> {
        let mut whole = self.shelf.as_ref().is_none_or(|shelf| !shelf.takes());
        if let Some(Cache::Features {
            features,
            products: kept,
            ..
        }) = &mut self.cache
        {
            for (row, &index) in wanted.iter().enumerate() {
                let image = batch.indices[index];
                whole &= features.put_from(image, rows, row)?;
                if let (Some(kept), Some(products)) = (kept.as_mut(), products) {
                    whole &= kept.put_from(image, products, row)?;
                }
            }
        }
        if whole {
            return Ok(None);
        }
        let length = |rows: &Tensor| rows.shape().row_len();
        let of = wanted.iter().map(|&index| Of {
            image: batch.indices[index],
            content: batch.contents[index],
        });
        Ok(Some(Arriving {
            of: of.collect(),
            lengths: [length(rows), products.map_or(0, length)],
            reading: rows.read_with(products)?,
        }))
    }

    /// Waits for what comes to the host, and keeps it.
    ///
    /// # Errors
    /// What the device reported, and [`Error::Io`](crate::Error::Io) where the disk is full.
    pub(super) fn take_in(&mut self, arriving: Arriving) -> Result<()> {
        let Arriving {
            of,
            reading,
            lengths,
        } = arriving;
        let numbers = reading.wait()?;
        self.put(of, &numbers, lengths)
    }

    /// Keeps the rows of `images` of the store, and then their products, as another rank computed them.
    ///
    /// # Errors
    /// As [`Frozen::take_in`].
    pub(super) fn accept(
        &mut self,
        store: &ImageStore,
        images: &[usize],
        numbers: &[f32],
    ) -> Result<()> {
        let lengths = match &self.cache {
            Some(Cache::Features { features, .. }) => {
                let row = features.length() / 4;
                [row, self.row_numbers() - row]
            }
            _ => return Ok(()),
        };
        let of = images.iter().map(|&image| Of {
            image,
            content: store.content(image),
        });
        self.put(of.collect(), numbers, lengths)
    }

    fn put(&mut self, of: Vec<Of>, numbers: &[f32], lengths: [usize; 2]) -> Result<()> {
        let (rows, products) = numbers.split_at(of.len() * lengths[0]);
        fn row(all: &[f32], length: usize, n: usize) -> &[u8] {
            bytemuck::cast_slice(&all[n * length..(n + 1) * length])
        }
        let put = |kept: &mut Kept, image: usize, row: &[u8]| match kept.lacks(image) {
            true => kept.put(image, row),
            false => Ok(()),
        };
        for (n, Of { image, content }) in of.into_iter().enumerate() {
            let (feature, product) = (row(rows, lengths[0], n), row(products, lengths[1], n));
            if let Some(Cache::Features {
                features,
                products: kept,
                ..
            }) = &mut self.cache
            {
                put(features, image, feature)?;
                if let Some(kept) = kept {
                    put(kept, image, product)?;
                }
            }
            if let (Some(shelf), Some(content)) = (&mut self.shelf, content) {
                shelf.put(&content, &[feature, product]);
            }
        }
        Ok(())
    }
}
