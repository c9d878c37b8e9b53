//! What is kept between runs, as the command line has it: where it lies, how large it may become, what is said of it.

use clap::{Args, ValueEnum};
use goldfish::nn::{Adapter, Engine, Identity, LoadStep, Loading};
use goldfish::train::store::{Counts, Images, Key, Shelf, Store};
use goldfish::{Gpu, Result};
use serde::Serialize;

use super::base::Base;
use super::folders::{NO_CACHE, features_folder};
use super::progress::Tuning;
use super::stop::go_on;
use super::terminal::{note, plain};

/// MiB that are kept for other runs unless somebody says otherwise.
pub const STORE_SIZE: u64 = 4096;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is computed once")]
pub struct StoreArgs {
    /// Keep what the layers below the lowest adapted one make of each image for other runs too, and take what is there
    /// (auto), or neither (off); the adapter is the same
    #[arg(long, value_enum, default_value = "auto")]
    pub store: StoreArg,
    /// Most that is kept for other runs, in MiB; what was used the longest ago goes
    #[arg(long, value_name = "MIB", default_value_t = STORE_SIZE)]
    pub store_size: u64,
}

/// `--store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreArg {
    Auto,
    Off,
}

impl StoreArgs {
    /// The store that is asked for, where there is a place for one.
    pub fn open(&self) -> Option<Store> {
        if self.store == StoreArg::Off {
            return None;
        }
        let Some(folder) = features_folder() else {
            note!(
                "notice   {NO_CACHE}: what frozen layers make of the images is kept for this run alone"
            );
            return None;
        };
        Some(Store::new(&folder, self.store_size.saturating_mul(1 << 20)))
    }
}

/// What a run's rows depend on, beside the images.
pub struct Needs<'a> {
    pub gpu: &'a Gpu,
    pub base: &'a Base,
    pub identity: &'a Identity,
    /// The adapter to start from.
    pub start: &'a Adapter,
    /// Whether images are turned as their EXIF orientation says.
    pub exif: bool,
}

impl StoreArgs {
    /// The shelf of what a run needs, where there is one.
    pub fn shelf(&self, needs: &Needs, how: Loading) -> Result<Option<Shelf>> {
        let Some(store) = self.open() else {
            return Ok(None);
        };
        let Needs { gpu, base, .. } = needs;
        let images = Images {
            transform: base.transform,
            exif: needs.exif,
        };
        let how = base.loading(gpu, how);
        let mut tuning = Tuning::default();
        let engine = |layer| {
            Engine::new(gpu, base.arch, &how, layer, |step| {
                if let LoadStep::Measured { done, of } = step {
                    tuning.set(done, of);
                }
                go_on(0)
            })
        };
        let key = Key::new((needs.identity, base.arch), needs.start, images, engine)?;
        Ok(key.map(|key| Shelf::open(&store, key)))
    }
}

/// Says what was had of a shelf, and what went wrong with it.
pub fn tell(shelf: &mut Shelf, before: usize) {
    let Counts { put, damaged, .. } = shelf.counts();
    let mut said = Vec::new();
    if before > 0 {
        said.push(format!("{before} images as an earlier run made them"));
    }
    if damaged > 0 {
        said.push(format!("{damaged} that were damaged were computed again"));
    }
    if put > 0 {
        said.push(format!("{put} kept for other runs"));
    }
    if !said.is_empty() {
        note!("store    {}", said.join("; "));
    }
    for problem in shelf.notes() {
        note!("notice   {}", plain(&problem));
    }
}
