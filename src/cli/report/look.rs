//! Where the network looked in some pictures.

use std::collections::BTreeMap;

use goldfish::Result;
use goldfish::data::{ImageStore, Origin};
use goldfish::formats::adapter;
use goldfish::nn::Loading;
use goldfish::train::{BEST, look as activation};

use super::told::Told;
use crate::cli::adopt::adopt;
use crate::cli::base::BaseArgs;
use crate::cli::images::tell_skipped;
use crate::cli::open_device;
use crate::cli::progress::Progress;

/// What spoke for the class that was said, from 0 to 1, row by row.
pub struct Seen {
    /// The picture's place among those that were judged.
    pub picture: usize,
    pub map: Vec<f32>,
}

/// Looks at the `wanted` pictures, of which those that cannot be read any more are left out.
pub fn look(
    told: &Told,
    wanted: &[usize],
    base: &mut BaseArgs,
    device: Option<String>,
) -> Result<Vec<Seen>> {
    // The verdicts are those of the best adapter where there is one.
    let best = told.folder.join(BEST);
    let folder = match best.join(adapter::MODEL).exists() {
        true => best,
        false => told.folder.clone(),
    };
    adopt(base, &told.folder)?;
    let gpu = open_device(device, base.precision)?;
    let base_args = &*base;
    let base = base_args.resolve()?;
    base.check(&folder)?;
    let stored = adapter::load(&gpu, &folder, base.arch, base.transform.size)?;
    let files = wanted.iter().map(|&picture| {
        let judged = &told.judged[picture];
        (told.path(judged), (picture, judged.after.verdict.said))
    });
    let files: BTreeMap<_, _> = files.collect();
    let origins = files.keys().cloned().map(Origin::File).collect();
    let memory = base_args.memory();
    let (images, skipped) = ImageStore::read(
        origins,
        base.transform,
        base_args.exif,
        memory,
        true,
        |_| Ok(()),
    )?;
    tell_skipped(&skipped);
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let adapter = stored.adapter;
    let how = Loading {
        ranks: adapter.ranks(),
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    let network = base.load(&gpu, how)?;
    let of = |image: usize| files[images.path(image)];
    let classes: Vec<usize> = (0..images.len()).map(|image| of(image).1).collect();
    let mut progress = Progress::new("look", "images", images.len() as u64);
    let mut seen = Vec::new();
    activation(&network, &images, &adapter, &classes, |image, map| {
        progress.one();
        seen.push(Seen {
            picture: of(image).0,
            map: map.to_vec(),
        });
        Ok(())
    })?;
    progress.finish("");
    Ok(seen)
}
