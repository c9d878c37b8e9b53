//! What a layer within the network makes of images: embeddings.

use std::sync::Arc;

use super::normalize::Sent;
use super::reading::Answers;
use crate::data::ImageStore;
use crate::error::{Error, Result};
use crate::nn::{Adapter, Vgg};
use crate::world::World;

/// What layer number `layer` takes of every image, with the LoRAs of `adapter` on the layers below: `each` is given them
/// in order, [`Vgg::row_len`] numbers an image.
///
/// # Errors
/// What the device or an image file reported, and what `each` returned.
pub fn embed(
    base: &Vgg,
    images: &Arc<ImageStore>,
    adapter: &Adapter,
    layer: usize,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let side = images.transform().size;
    let at_once = base.batch(side).min(base.max_batch(0, side));
    let order: Vec<usize> = (0..images.len()).collect();
    let factors = adapter.frozen();
    let mut reading = Answers::new(base.gpu(), &World::alone());
    let mut take = |image: usize, row: &[f32]| {
        finite(images, image, row)?;
        each(image, row)
    };
    let mut batches = images
        .batches(order.chunks(at_once).map(<[usize]>::to_vec).collect())
        .into_iter();
    let asked = batches.try_for_each(|batch| {
        let batch = batch?;
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let pixels = Sent::new(base.gpu(), &batch).images(&all)?;
        let pixels = pixels.reshaped([all.len(), 3, side, side]);
        let rows = base.below(&pixels, layer, &factors)?;
        reading.push(batch.indices, &rows, &mut take)
    });
    // What was asked is answered, whatever came after it.
    let answered = reading.finish(&mut take);
    asked.and(answered)
}

/// What the network says of an image must be finite.
pub(super) fn finite(images: &ImageStore, image: usize, numbers: &[f32]) -> Result<()> {
    match numbers.iter().all(|number| number.is_finite()) {
        true => Ok(()),
        false => Err(Error::data(
            images.path(image),
            "what the network makes of it is not finite: the numbers of the weights or of the adapter are too large",
        )),
    }
}
