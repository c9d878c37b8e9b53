//! Ranks that answer together have the same network, or nothing is computed.

use goldfish::nn::{Adapter, Loading, rounding};
use goldfish::train::MadeOn;
use goldfish::{Gpu, Result};

use super::base::Base;
use super::terminal::note;
use super::world::world;

/// Refuses ranks whose weights, settings or adapters, which may be none, differ; whether they compute by the same kernels, which
/// is told of where they do not.
pub fn same_network(gpu: &Gpu, base: &Base, adapter: &Adapter, how: &Loading) -> Result<bool> {
    let world = world();
    if world.is_alone() {
        return Ok(true);
    }
    world.same("weights", base.identity()?.to_string().as_bytes())?;
    let settings = format!(
        "{:?} {:?} {}",
        base.transform, base.precision, base.arch.name
    );
    world.same("settings", settings.as_bytes())?;
    world.same("adapter", adapter.fingerprint()?.as_bytes())?;
    let how = base.loading(gpu, how.clone());
    let made_on = MadeOn::new(gpu.info(), rounding(gpu, base.arch, &how)?);
    let all = world.gather(format!("{made_on:?}").into())?;
    let other = all.iter().position(|one| *one != all[0]);
    if let Some(other) = other {
        note!(
            "notice   {} computes on another device than {}, or by kernels that were measured otherwise (--tune=off takes the \
             same): the bytes may depend on how many ranks there are",
            world.name(other),
            world.name(0)
        );
    }
    Ok(other.is_none())
}
