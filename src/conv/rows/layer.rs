//! A frozen convolution of this family on the tape: its weight prepared for the layer's [`Choice`], once for each
//! direction that runs.

use std::sync::Arc;

use super::choice::{Algorithm, Choice, Site};
use super::ending::{Ended, Ending, Pool};
use super::prepared::Prepared;
use super::tune::Tuner;
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::conv::weights::turn;
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::ops::relu::Floor;
use crate::ops::{Kept, low_rank_relu, max_pool2d};
use crate::tensor::Tensor;

/// One direction of a layer.
pub(super) struct Direction {
    choice: Choice,
    prepared: Prepared,
}

impl Direction {
    fn new(tuner: &Tuner, site: Site, weight: &[f32]) -> Result<Self> {
        let choice = tuner.choice(&site);
        let prepared = Prepared::new(tuner.gpu(), site, choice.algorithm, weight)?;
        Ok(Direction { choice, prepared })
    }

    /// `ending` of the product with `x`.
    pub(super) fn run(&self, x: &Tensor, ending: &Ending) -> Result<Ended> {
        self.prepared.run(self.choice, x, ending)
    }
}

/// A frozen 3x3 convolution with stride 1 and padding 1.
pub(crate) struct Layer {
    site: Site,
    pub(super) forward: Direction,
    /// With the weight rotated and its channels exchanged.
    backward: Option<Direction>,
    pub(super) bias: Tensor,
    /// The gradient's bias, which has none.
    zeros: Tensor,
}

impl Layer {
    /// From [cout, cin, 3, 3] and [cout]; `backward` where its input's gradient will be wanted.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has no room, [`Error::Setting`] where the precision cannot hold a weight.
    pub(crate) fn new(
        tuner: &Tuner,
        site: Site,
        weight: &[f32],
        bias: &Tensor,
        backward: bool,
    ) -> Result<Self> {
        let forward = Direction::new(tuner, site, weight)?;
        let turned = || {
            let weight = turn(weight, [site.cout, site.cin]);
            Direction::new(tuner, site.turned(), &weight)
        };
        let backward = backward.then(turned).transpose()?;
        let zeros = vec![0.0; site.cin];
        Ok(Layer {
            site,
            forward,
            backward,
            bias: bias.clone(),
            zeros: Tensor::from_slice(bias.gpu(), [zeros.len()], &zeros)?,
        })
    }

    /// What it will dispatch, with a pool where it is `pooled` and a LoRA where it is `adapted`, and where the gradient of that is
    /// asked for, so that something is `kept` for it.
    pub(crate) fn kernels(&self, pooled: bool, adapted: bool, kept: bool) -> Vec<&'static Kernel> {
        let pool = match (pooled, self.backward.is_some() || kept) {
            (false, _) => Pool::No,
            (true, false) => Pool::Largest,
            (true, true) => Pool::Kept,
        };
        let mut kernels = self.forward.choice.kernels(&self.site, pool, adapted);
        if let Some(backward) = &self.backward {
            kernels.extend(
                backward
                    .choice
                    .kernels(&self.site.turned(), Pool::No, false),
            );
        }
        kernels
    }

    /// The most channels of an image's planes that it keeps in one tensor: its own, and those of a sum's splits.
    pub(crate) fn widest(&self) -> usize {
        let Site { cin, cout, .. } = self.site;
        let ways = [(Some(&self.forward), cout), (self.backward.as_ref(), cin)];
        let splits = ways.into_iter().filter_map(|(direction, channels)| {
            match direction?.choice.algorithm {
                Algorithm::Direct { splits } => Some(splits * channels),
                Algorithm::Winograd { .. } => None,
            }
        });
        splits.fold(cin.max(cout), usize::max)
    }

    /// dy [N, cout, H, W], the gradient of its product, -> that of its input, [N, cin, H, W].
    pub(super) fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let Some(direction) = &self.backward else {
            return Err(Error::Usage(
                "conv2d: the layer was loaded without its gradient".into(),
            ));
        };
        let ending = Ending {
            bias: &self.zeros,
            share: None,
            floor: Floor::NONE,
            pool: Pool::No,
        };
        Ok(direction.run(dy, &ending)?.y)
    }

    /// The choice of the forward pass, as it is reported.
    pub(crate) fn choice(&self) -> String {
        self.forward.choice.to_string()
    }
}

/// What follows a frozen convolution and its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    Relu,
    /// ReLU, and the largest of each 2 x 2.
    Pool,
}

/// x [N, cin, H, W] -> [N, cout, H, W] with bias and what comes `after`, which halves H and W where it is a pool.
///
/// # Errors
/// [`Error::Shape`] where `x` has other channels, [`Error::Memory`] where an activation does not fit a binding.
pub(crate) fn convolve(tape: &mut Tape, layer: &Arc<Layer>, x: &Var, after: After) -> Result<Var> {
    let sides = check(layer, x, after == After::Pool)?;
    if after == After::Pool && !layer.forward.choice.algorithm.pools() {
        let y = convolve(tape, layer, x, After::Relu)?;
        return max_pool2d(tape, &y, 2, 2);
    }
    let ending = Ending {
        bias: &layer.bias,
        share: None,
        floor: match after {
            After::Nothing => Floor::NONE,
            After::Relu | After::Pool => Floor::RELU,
        },
        pool: match (after, x.is_tracked()) {
            (After::Nothing | After::Relu, _) => Pool::No,
            (After::Pool, false) => Pool::Largest,
            (After::Pool, true) => Pool::Kept,
        },
    };
    let ended = layer.forward.run(&x.tensor, &ending)?;
    let y = ended.y.clone();
    tape.record(y, &[x], || Rule {
        layer: layer.clone(),
        kept: (after != After::Nothing).then(|| ended.kept(sides)),
    })
}

/// The sides of `x`, if `layer` takes it, and 2 x 2 of what it makes of it where it is `pooled`.
pub(super) fn check(layer: &Layer, x: &Var, pooled: bool) -> Result<[usize; 2]> {
    let shape = x.tensor.shape();
    let least = if pooled { 2 } else { 1 };
    if shape.rank() != 4 || shape[1] != layer.site.cin || shape[2].min(shape[3]) < least {
        let sides = if pooled { ", H and W from 2" } else { "" };
        let expected = format!("[N, {}, H, W]{sides}", layer.site.cin);
        return Err(Error::shape("conv2d", expected, shape.to_string()));
    }
    Ok([shape[2], shape[3]])
}

struct Rule {
    layer: Arc<Layer>,
    /// Of ReLU and pool, where they follow.
    kept: Option<Kept>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dy = match &self.kept {
            Some(kept) => low_rank_relu::backward_relu(dy, kept)?,
            None => dy.clone(),
        };
        Ok(vec![Some(self.layer.backward(&dy)?.into())])
    }
}
