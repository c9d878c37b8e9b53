//! What the runs of a sweep have in common: the device, the base, the images, and what frozen layers make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use goldfish::Gpu;
use goldfish::data::ImageStore;
use goldfish::nn::{Identity, Vgg};
use goldfish::train::{Frozen, Prefix};

use super::checked::Checked;
use crate::cli::base::Base;

/// Nothing before the first run.
#[derive(Default)]
pub(in crate::cli) struct Shared {
    pub(super) found: Option<Found>,
    pub(super) frozen: Option<Frozen>,
    /// The layers that are needed yet, loaded for adapters of these ranks.
    pub(super) network: Option<(BTreeMap<String, usize>, Vgg)>,
}

/// What is found before the first image is read, and the images.
pub(super) struct Found {
    pub(super) gpu: Gpu,
    pub(super) base: Base,
    pub(super) identity: Identity,
    pub(super) images: Arc<ImageStore>,
}

impl Shared {
    /// What the run that is over leaves for the next.
    pub(in crate::cli) fn after(checked: Checked, prefix: Prefix) -> Self {
        let Checked {
            gpu,
            base,
            identity,
            data,
            how,
            ..
        } = checked;
        let network = prefix.base().clone();
        let frozen = prefix.into_frozen();
        Shared {
            found: Some(Found {
                gpu,
                base,
                identity,
                images: data.images,
            }),
            // Without what it spares, a network is whole.
            network: frozen.complete().then_some((how.ranks, network)),
            frozen: Some(frozen).filter(Frozen::complete),
        }
    }
}
