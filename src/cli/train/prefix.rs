//! The frozen layers of a run: the base loaded, and what it makes of the images taken from where it is kept, or computed.

use std::path::PathBuf;
use std::time::Instant;

use goldfish::Result;
use goldfish::train::{Frozen, Prefix};

use super::args::Request;
use super::checked::Checked;
use super::shared::Shared;
use crate::cli::progress::Progress;
use crate::cli::stop::go_on;
use crate::cli::store;
use crate::cli::terminal::note;
use crate::cli::world::{tell_traffic, world};

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
    let world = world();
    let room = args.room(&room_folder(request), world.local().1);
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
    // Of what is computed together rank 0 keeps what other runs may want.
    let frozen = match world.leads() {
        true => frozen,
        false => frozen.without_shelf(),
    };
    // Where no step has parts to share, rank 0 takes them all, and it alone needs what they start from.
    let for_all = checked.plan.shares_steps(data.split.train.len());
    // What another rank lacks is computed by all.
    let how = match Prefix::asked(&frozen, &world, for_all)? {
        true => checked.how.clone(),
        false => frozen.spare(checked.how.clone()),
    };
    let network = base.load(gpu, how)?;
    let mut prefix = Prefix::over(network, frozen).among(&world);
    args.augment
        .tell(&checked.plan, &prefix, data.split.train.len())?;
    if !keeps {
        return Ok(prefix);
    }
    let total = images.lasting().len() as u64;
    let mut progress = Progress::from(known as u64, "frozen", "images", total);
    let (before, begun) = (world.traffic(), Instant::now());
    prefix.fill_for(images, for_all, |done| {
        progress.set(done as u64, "");
        go_on(0)
    })?;
    let kept = prefix.kept();
    if known as u64 == total {
        progress.clear();
        note!("frozen   nothing is left to compute, {kept} kept");
    } else {
        progress.finish(&format!(", {kept} kept"));
        tell_traffic(before, begun.elapsed().as_secs_f64());
    }
    if let Some(shelf) = prefix.shelf() {
        store::tell(shelf, known);
    }
    Ok(prefix)
}

/// Where a file goes of what has no room in memory: beside the run, and of a rank that has none where the system keeps such.
fn room_folder(request: &Request) -> PathBuf {
    match world().leads() {
        true => request.output.to_path_buf(),
        false => std::env::temp_dir(),
    }
}
