//! Where a network looked: Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
//! localization", 2017) on what the classifier takes, the planes of the last convolution after their ReLU and pool.

use std::sync::Arc;

use super::embed::embed;
use crate::autograd::{Tape, Var};
use crate::data::ImageStore;
use crate::error::{Error, Result};
use crate::nn::arch::POOLED;
use crate::nn::{Adapter, Vgg};
use crate::ops;
use crate::tensor::Tensor;

/// Side of the maps.
pub const SIDE: usize = POOLED;

/// How much each of [`SIDE`] by [`SIDE`] places of every image speaks for its class of `classes`, between 0 and 1: the
/// activations there, weighted by how much the class's logit grows with each channel. What a branch from the pixels adds
/// does not go through the network and is not seen. `each` is given the maps in order.
///
/// # Errors
/// [`Error::Usage`] where there are not as many classes as images or one is no class of the network; what the device or an
/// image file reported, and what `each` returned.
pub fn look(
    base: &Vgg,
    images: &Arc<ImageStore>,
    adapter: &Adapter,
    classes: &[usize],
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let outputs = adapter.classes(base.arch());
    if classes.len() != images.len() || classes.iter().any(|&class| class >= outputs) {
        return Err(Error::Usage(format!(
            "look: {} images need as many classes below {outputs}",
            images.len()
        )));
    }
    let layer = base.arch().convolutions().len();
    let factors = adapter.frozen();
    embed(base, images, adapter, layer, |image, planes| {
        let mut tape = Tape::new();
        let x = Tensor::from_slice(base.gpu(), [1, planes.len()], planes)?;
        let x = tape.leaf(&x);
        let logits = base.forward_from(&mut tape, &x, layer, None, &factors, false)?;
        let mut one = vec![0.0; outputs];
        one[classes[image]] = 1.0;
        let one = Var::frozen(&Tensor::from_slice(base.gpu(), [1, outputs], &one)?);
        let logit = ops::linear(&mut tape, &logits, &one)?;
        let gradient = tape.backward(&logit)?.of(&x)?.dense()?.to_vec()?;
        each(image, &map(planes, &gradient))
    })
}

/// The weighted sum of the planes, without what speaks against the class, as a share of its largest number.
fn map(planes: &[f32], gradient: &[f32]) -> Vec<f32> {
    const PLACES: usize = SIDE * SIDE;
    let mut map = vec![0.0; PLACES];
    for (plane, gradient) in planes.chunks(PLACES).zip(gradient.chunks(PLACES)) {
        let weight = gradient.iter().sum::<f32>() / PLACES as f32;
        for (sum, value) in map.iter_mut().zip(plane) {
            *sum += weight * value;
        }
    }
    let largest = map.iter().copied().fold(0.0, f32::max);
    let share = |value: f32| match largest > 0.0 {
        true => (value / largest).max(0.0),
        false => 0.0,
    };
    map.into_iter().map(share).collect()
}
