//! What a network with an adapter says of images.

use std::sync::Arc;

use super::embed;
use super::prefix::Prefix;
use super::reading::{Answers, of_others};
use super::step::{Given, Network};
use crate::autograd::{Tape, Var};
use crate::data::ImageStore;
use crate::error::Result;
use crate::nn::Adapter;
use crate::world::World;

/// The logits of every image by a base with `adapter`, which may be empty: `each` is given them in order.
///
/// # Errors
/// What the device or an image file reported, and what `each` returned; [`Error::Data`](crate::Error::Data) where they are not
/// finite.
pub fn predict(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    adapter: &Adapter,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let all: Vec<usize> = (0..images.len()).collect();
    answers(prefix, images, &all, adapter, |image, logits| {
        embed::finite(images, image, logits)?;
        each(image, logits)
    })
}

/// The same of the images in `which`, finite or not. On several ranks rank 0 alone is given them.
///
/// # Errors
/// What the device or an image file reported, and what `each` returned.
pub fn answers(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    which: &[usize],
    adapter: &Adapter,
    each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    answers_by(
        &prefix.world().clone(),
        prefix,
        images,
        which,
        adapter,
        each,
    )
}

/// The same by the ranks of `world`: each computes its share of the images.
pub(super) fn answers_by(
    world: &World,
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    which: &[usize],
    adapter: &Adapter,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let side = images.transform().size;
    let network = Network::after(prefix, side, false);
    // Devices may differ, and all cut alike.
    let at_once = world.least(network.base.batch(side).min(network.most))?;
    let own = &which[world.share(world.rank(), which.len(), at_once)];
    let order = own.chunks(at_once).map(<[usize]>::to_vec).collect();
    let factors = adapter.frozen();
    let mut reading = Answers::new(network.base.gpu(), world);
    let asked = prefix.inputs(images, order).try_for_each(|input| {
        let input = input?;
        let (features, pixels) = (
            Var::frozen(&input.features),
            input.pixels.map(|p| Var::frozen(&p)),
        );
        let product = input.product.map(|p| Var::frozen(&p));
        let x = Given {
            features: &features,
            product: product.as_ref(),
            pixels: pixels.as_ref(),
        };
        let logits = network.logits(&mut Tape::new(), x, &factors)?;
        reading.push(input.indices, &logits.tensor, &mut each)
    });
    // What was asked is answered, whatever came after it.
    let answered = reading.finish(&mut each);
    asked.and(answered)?;
    of_others(world, which, at_once, &mut each)
}
