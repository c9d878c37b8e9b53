//! The frozen layers of a run: the base loaded, and what it makes of the images taken from where it is kept, or computed.

use goldfish::Result;
use goldfish::train::{Frozen, Prefix};

use super::args::Request;
use super::checked::Checked;
use super::shared::Shared;
use crate::cli::progress::Progress;
use crate::cli::stop::go_on;
use crate::cli::store;
use crate::cli::terminal::note;

/// Loads the base, and with the cache on runs its frozen layers over all images of which no other run has kept it.
pub(super) fn prefix(
    checked: &mut Checked,
    request: &Request,
    before: &mut Shared,
) -> Result<Prefix> {
    let Checked {
        base,
        gpu,
        start,
        data,
        ..
    } = checked;
    let images = &data.images;
    let args = request.settings;
    let room = args.room(request.output);
    let same = |frozen: &Frozen| {
        frozen.keeps() == room.is_some() && frozen.suits(base.arch, start, images)
    };
    match before.frozen.take() {
        Some(frozen) if same(&frozen) => {
            let network = before.network.take();
            let network = match network.filter(|(ranks, _)| *ranks == checked.how.ranks) {
                Some((_, network)) => network,
                None => base.load(gpu, frozen.spare(checked.how.clone()))?,
            };
            return Ok(Prefix::over(network, frozen));
        }
        // Of other variants: what earlier runs put down is found there.
        Some(frozen) => checked.shelf = frozen.into_shelf(),
        None => {}
    }
    before.network = None;
    let keeps = room.is_some();
    let frozen = Frozen::new(gpu, base.arch, start, images, room);
    let mut frozen = match request.looks_again {
        true => frozen,
        false => frozen.for_steps(),
    };
    let known = match checked.shelf.take().filter(|_| keeps) {
        Some(shelf) => frozen.stock(shelf, images)?,
        None => 0,
    };
    let network = base.load(gpu, frozen.spare(checked.how.clone()))?;
    let mut prefix = Prefix::over(network, frozen);
    args.augment
        .tell(&checked.plan, &prefix, data.split.train.len())?;
    if !keeps {
        return Ok(prefix);
    }
    let total = images.lasting().len() as u64;
    let mut progress = Progress::from(known as u64, "frozen", "images", total);
    prefix.fill(images, |done| {
        progress.set(done as u64, "");
        go_on(0)
    })?;
    let kept = prefix.kept();
    if known as u64 == total {
        progress.clear();
        note!("frozen   nothing is left to compute, {kept} kept");
    } else {
        progress.finish(&format!(", {kept} kept"));
    }
    if let Some(shelf) = prefix.shelf() {
        store::tell(shelf, known);
    }
    Ok(prefix)
}
