//! How a network is loaded, and what its layers are loaded for.

use std::collections::BTreeMap;

use crate::conv::{planes, rows};
use crate::gpu::Tuning;
use crate::gpu::tune::engine;
use crate::nn::arch::{Arch, Layer};
use crate::ops::linear;
use crate::tensor::{Halves, Precision};

/// How a network is loaded.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The side of the images that its kernels are chosen for. It runs on those of other sides too.
    pub side: usize,
    /// The portable kernels whatever the device, else those that its kind is best at.
    pub portable: bool,
    /// The rank of the LoRA that each named layer may have.
    pub ranks: BTreeMap<String, usize>,
    /// Gradients are wanted down to the lowest of those layers.
    pub trained: bool,
    /// Without the last layer, which an adapter's head replaces: what the trunk below it gives is then the result. So it is
    /// too where the network has none.
    pub headless: bool,
    /// How the portable family stores the frozen weights.
    pub precision: Precision,
    /// The file of which kernels are fastest on this device, and whether what it lacks is measured. Else the choices are
    /// the same on every device.
    pub tuning: Option<Tuning>,
    /// The layers below this one are not loaded: what it takes is known of every image, as after [`Vgg::release`](super::Vgg::release).
    pub lowest: usize,
    /// Nor is the weight of that layer: its [`Vgg::product`](super::Vgg::product) is known too.
    pub product: bool,
}

impl Default for Loading {
    /// For images of torchvision's 224 pixels a side.
    fn default() -> Self {
        Loading {
            side: 224,
            portable: false,
            ranks: BTreeMap::new(),
            trained: false,
            headless: false,
            precision: Precision::default(),
            tuning: None,
            lowest: 0,
            product: false,
        }
    }
}

/// What [`Vgg::load`](super::Vgg::load) has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// Measured one more of the kernels that [`Loading::tuning`] asks for.
    Measured {
        /// So far.
        done: usize,
        /// In all.
        of: usize,
    },
    /// Brought one more layer to the device, of so many bytes.
    Loaded(u64),
}

/// A layer in the network that is loaded.
pub(super) struct Place {
    pub(super) layer: Layer,
    /// Of the planes that it takes.
    side: usize,
    pub(super) needs: planes::Needs,
}

impl Place {
    /// Each layer's.
    pub(super) fn all(arch: Arch, how: &Loading) -> Vec<Place> {
        let (mut side, mut below) = (how.side, true);
        let places = arch.below_head(how.headless).into_iter().map(|layer| {
            let rank = how.ranks.get(&layer.name).copied().unwrap_or(0);
            let backward = how.trained && !below;
            let before = side;
            below &= rank == 0;
            side >>= usize::from(layer.pool);
            Place {
                layer,
                side: before,
                needs: planes::Needs { backward, rank },
            }
        });
        places.collect()
    }

    /// What the portable family chooses a convolution's kernels for.
    pub(super) fn site(&self, precision: Precision) -> rows::Site {
        rows::Site {
            cin: self.layer.weight[1],
            cout: self.layer.weight[0],
            side: self.side,
            precision,
            gradient: false,
            pooled: self.layer.pool,
        }
    }

    /// What is chosen for a linear layer's product with its frozen weight.
    pub(super) fn linear_site(&self, precision: Precision) -> linear::Site {
        let [out, k] = [self.layer.weight[0], self.layer.weight[1]];
        linear::Site {
            k,
            out,
            precision: match precision {
                Precision::F16 if Halves::suit(k) => Precision::F16,
                Precision::F16 | Precision::F32 => Precision::F32,
            },
            gradient: false,
        }
    }

    /// What is chosen for linear layers: as [`Place::sites`].
    pub(super) fn linear_sites(places: &[Place], precision: Precision) -> Vec<linear::Site> {
        let layers = places.iter().filter(|place| !place.layer.is_conv());
        let sites = layers.flat_map(|place| {
            let site = place.linear_site(precision);
            let gradient = place.needs.backward.then_some(linear::Site {
                gradient: true,
                ..site
            });
            std::iter::once(site).chain(gradient)
        });
        sites.collect()
    }

    /// What the family in planes cuts up a convolution for.
    pub(super) fn planes_site(&self) -> planes::Site {
        planes::Site {
            cin: self.layer.weight[1],
            cout: self.layer.weight[0],
            side: self.side,
            pooled: self.layer.pool,
        }
    }

    /// What the family in planes chooses for: as [`Place::sites`].
    pub(super) fn planes_sites(places: &[Place]) -> Vec<planes::Site> {
        let convolutions = places.iter().filter(|place| place.layer.is_conv());
        let sites = convolutions.flat_map(|place| {
            let site = place.planes_site();
            let turned = place.needs.backward.then(|| site.turned());
            std::iter::once(site).chain(turned)
        });
        sites.collect()
    }

    /// What the portable family chooses kernels for: of each convolution, and of its gradient where that is wanted.
    pub(super) fn sites(places: &[Place], precision: Precision) -> Vec<rows::Site> {
        let convolutions = places.iter().filter(|place| place.layer.is_conv());
        let sites = convolutions.flat_map(|place| {
            let site = place.site(precision);
            let turned = place.needs.backward.then(|| site.turned());
            std::iter::once(site).chain(turned)
        });
        sites.collect()
    }
}

impl Loading {
    /// The version of the kernels that are measured, which a [`Loading::tuning`] file carries: a file of another is not
    /// used.
    pub fn kernels_version() -> String {
        engine()
    }
}
