//! The pictures of a dataset, examined by all ranks of a job: each reads its share, and rank 0 hears of all.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::checks::Checks;
use super::fault::Fault;
use super::picture::{Looked, Seen, examine};
use crate::data::duplicates::Print;
use crate::data::origin::files_digest;
use crate::error::{Error, Result};
use crate::world::World;

/// Pictures a thread in what a rank tells rank 0 at once: so few that an interruption does not wait long.
const AT_ONCE: usize = 16;

/// What is to be said of every picture, in their order; `None` on a rank that is led.
///
/// # Errors
/// [`Error::Interrupted`] where it was stopped; [`Error::Rank`] where the ranks do not find the same files, or one is gone.
pub(super) fn examine_all(
    items: &[&Path],
    checks: &Checks,
    progress: impl Fn(usize, usize) + Sync,
    stop: &AtomicBool,
) -> Result<Option<Vec<Looked>>> {
    let alone = World::alone();
    let world = checks.world.unwrap_or(&alone);
    world.same("pictures", &files_digest(items.iter().copied()))?;
    let own = world.share(world.rank(), items.len(), 1);
    let done = AtomicUsize::new(0);
    // Others are as far as this one is.
    let far = |done: usize| done * items.len() / own.len().max(1);
    let examine = |path: &&Path| {
        let looked = (!stop.load(Ordering::Relaxed)).then(|| examine(path, checks));
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress(far(done), items.len());
        looked.ok_or(())
    };
    let stopped = || Error::Interrupted {
        step: far(done.load(Ordering::Relaxed)) as u64,
    };
    let at_once = AT_ONCE * rayon::current_num_threads();
    if !world.leads() {
        for items in items[own.clone()].chunks(at_once) {
            let looked: Result<Vec<Looked>, ()> = items.par_iter().map(examine).collect();
            let looked = looked.map_err(|()| stopped())?;
            world.send(0, told(&looked))?;
        }
        return Ok(None);
    }
    // All are looked at before the first that was left counts: the number that is told is the number of all.
    let looked: Vec<Result<Looked, ()>> = items[own.clone()].par_iter().map(examine).collect();
    let looked: Result<Vec<Looked>, ()> = looked.into_iter().collect();
    let mut looked = looked.map_err(|()| stopped())?;
    for rank in 1..world.size() {
        let mut rest = world.share(rank, items.len(), 1).len();
        while rest > 0 {
            let heard = heard(&world.receive(rank)?);
            let heard = heard.filter(|heard| (1..=rest).contains(&heard.len()));
            let heard = heard.ok_or_else(|| world.garbled(rank))?;
            rest -= heard.len();
            looked.extend(heard);
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted {
                    step: looked.len() as u64,
                });
            }
        }
    }
    Ok(Some(looked))
}

/// What rank 0 is told of a picture: whether it is grey, where it can be read, and its faults.
type Told = (Option<bool>, Vec<(Fault, String)>);

/// The length of the JSON of what is told, that JSON, and the prints of those that can be read.
fn told(looked: &[Looked]) -> Vec<u8> {
    let each = looked.iter().map(|(seen, faults)| {
        let grey = seen.as_ref().map(|seen| seen.grey);
        (grey, faults)
    });
    let words = serde_json::to_vec(&each.collect::<Vec<_>>()).expect("text becomes JSON");
    let mut told = (words.len() as u64).to_le_bytes().to_vec();
    told.extend(words);
    for seen in looked.iter().filter_map(|(seen, _)| seen.as_ref()) {
        told.extend(seen.print.to_bytes());
    }
    told
}

/// What was [`told`]; nothing where it was none of that.
fn heard(told: &[u8]) -> Option<Vec<Looked>> {
    let (length, rest) = told.split_first_chunk()?;
    let (words, prints) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    let words: Vec<Told> = serde_json::from_slice(words).ok()?;
    let (prints, []) = prints.as_chunks() else {
        return None;
    };
    let mut prints = prints.iter().map(Print::from_bytes);
    let each = words.into_iter().map(|(grey, faults)| {
        let seen = match grey {
            Some(grey) => Some(Seen {
                print: prints.next()?,
                grey,
            }),
            None => None,
        };
        Some((seen, faults))
    });
    let looked = each.collect::<Option<Vec<Looked>>>()?;
    prints.next().is_none().then_some(looked)
}
