//! A frozen convolution of this family on the tape: its weight prepared for the layer's [`Choice`], once for each
//! direction that runs.

use std::sync::Arc;

use super::choice::{Algorithm, Choice, Site};
use super::prepared::Prepared;
use super::tune::Tuner;
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::conv::weights::turn;
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::ops::relu::{self, Floor};
use crate::tensor::Tensor;

/// One direction of a layer.
struct Direction {
    choice: Choice,
    prepared: Prepared,
}

impl Direction {
    fn new(tuner: &Tuner, site: Site, weight: &[f32]) -> Result<Self> {
        let choice = tuner.choice(&site);
        let prepared = Prepared::new(tuner.gpu(), site, choice.algorithm, weight)?;
        Ok(Direction { choice, prepared })
    }
}

/// A frozen 3x3 convolution with stride 1 and padding 1.
pub(crate) struct Layer {
    site: Site,
    forward: Direction,
    /// With the weight rotated and its channels exchanged.
    backward: Option<Direction>,
    bias: Tensor,
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

    /// What it will dispatch.
    pub(crate) fn kernels(&self) -> Vec<&'static Kernel> {
        let mut kernels = self.forward.choice.kernels(&self.site);
        if let Some(backward) = &self.backward {
            kernels.extend(backward.choice.kernels(&self.site.turned()));
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

    /// The choice of the forward pass, as it is reported.
    pub(crate) fn choice(&self) -> String {
        self.forward.choice.to_string()
    }
}

/// x [N, cin, H, W] -> [N, cout, H, W] with bias, and with ReLU where it is `finished`: nothing comes after it but a pool.
///
/// # Errors
/// [`Error::Shape`] where `x` has other channels, [`Error::Memory`] where an activation does not fit a binding.
pub(crate) fn convolve(
    tape: &mut Tape,
    layer: &Arc<Layer>,
    x: &Var,
    finished: bool,
) -> Result<Var> {
    let shape = x.tensor.shape();
    if shape.rank() != 4 || shape[1] != layer.site.cin {
        let expected = format!("[N, {}, H, W]", layer.site.cin);
        return Err(Error::shape("conv2d", expected, shape.to_string()));
    }
    let Direction { choice, prepared } = &layer.forward;
    let floor = if finished { Floor::RELU } else { Floor::NONE };
    let y = prepared.run(*choice, &x.tensor, &layer.bias, floor)?;
    tape.record(y.clone(), &[x], || Rule {
        layer: layer.clone(),
        y: finished.then_some(y),
    })
}

struct Rule {
    layer: Arc<Layer>,
    /// What ReLU let through.
    y: Option<Tensor>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Some(Direction { choice, prepared }) = &self.layer.backward else {
            return Err(Error::Usage(
                "conv2d: the layer was loaded without its gradient".into(),
            ));
        };
        let dy = match &self.y {
            Some(y) => relu::backward(y, dy)?,
            None => dy.clone(),
        };
        let dx = prepared.run(*choice, &dy, &self.layer.zeros, Floor::NONE)?;
        Ok(vec![Some(dx.into())])
    }
}
