//! A frozen network in the kernel family that its device is best at.

use crate::nn::vgg::{Arch, Vgg};
use crate::nn::weights::Source;
use crate::software::Net;
use crate::{Gpu, Result, Tape, Tensor, Var};

/// The base: images in, logits out, nothing recorded.
pub struct Frozen {
    gpu: Gpu,
    arch: Arch,
    family: Family,
}

enum Family {
    Portable(Vgg),
    Software(Box<Net>),
}

impl Frozen {
    /// Loads `source` in the software family where the device is one of its kind, else in the portable one.
    /// `progress` hears of each parameter with its bytes.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where the device has no room.
    pub fn load(gpu: &Gpu, arch: Arch, source: &Source, progress: impl FnMut(u64)) -> Result<Self> {
        let family = if Net::suits(gpu) {
            Family::Software(Box::new(Net::new(gpu, arch, source, progress)?))
        } else {
            Family::Portable(Vgg::load(gpu, arch, source, progress)?)
        };
        Ok(Frozen {
            gpu: gpu.clone(),
            arch,
            family,
        })
    }

    /// `vgg` in the portable family, whatever the device.
    pub fn portable(vgg: Vgg) -> Self {
        Frozen {
            gpu: vgg.gpu().clone(),
            arch: vgg.arch(),
            family: Family::Portable(vgg),
        }
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// `software` or `portable`.
    pub fn family(&self) -> &'static str {
        match self.family {
            Family::Software(_) => "software",
            Family::Portable(_) => "portable",
        }
    }

    /// The logits of normalised images [N, 3, side, side], both on the host: [N, classes]. An image's logits do
    /// not depend on the others, to the bit.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for other input, [`crate::Error::Memory`] where the images do not fit.
    pub fn logits(&self, pixels: &[f32], side: usize) -> Result<Vec<f32>> {
        match &self.family {
            Family::Software(net) => net.logits(pixels, side),
            Family::Portable(vgg) => {
                let n = pixels.len() / (3 * side * side);
                let images =
                    Var::frozen(&Tensor::from_slice(&self.gpu, [n, 3, side, side], pixels)?);
                vgg.forward(&mut Tape::new(), &images)?.tensor.to_vec()
            }
        }
    }

    /// Images of `side` that go through together: few enough to fit, and on a software device few enough to
    /// show progress.
    pub fn batch(&self, side: usize) -> usize {
        match &self.family {
            Family::Software(net) => net.max_batch(side).min(8),
            Family::Portable(_) if self.gpu.is_software() => 1,
            Family::Portable(vgg) => vgg.max_batch(side, side).clamp(1, 32),
        }
    }
}
