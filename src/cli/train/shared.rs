//! What the runs of a sweep have in common: the device, the base, the images, and what frozen layers make of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use goldfish::Gpu;
use goldfish::data::ImageStore;
use goldfish::nn::{Identity, Vgg};
use goldfish::train::Frozen;

use crate::cli::base::Base;

/// The file beside the runs of a sweep that says what was asked for.
pub(in crate::cli) const SWEEP: &str = "sweep.toml";

/// What a run of a sweep knows of it.
#[derive(Clone, Copy)]
pub struct OfSweep<'a> {
    pub folder: &'a Path,
    /// What tells its runs from others.
    pub id: Option<&'a str>,
    /// One of its runs that has ended, with which this one is compared.
    pub ended: Option<&'a Path>,
}

/// Nothing before the first run.
#[derive(Default)]
pub(in crate::cli) struct Shared {
    pub(super) found: Option<Found>,
    pub(super) frozen: Option<Frozen>,
    /// The layers that are needed beside that, loaded for adapters of these ranks.
    pub(super) network: Option<(BTreeMap<String, usize>, Vgg)>,
}

/// What is found before the first image is read, and the images.
pub(super) struct Found {
    pub(super) gpu: Gpu,
    pub(super) base: Base,
    pub(super) identity: Identity,
    pub(super) images: Arc<ImageStore>,
}
