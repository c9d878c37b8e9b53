//! The images that a command is given: gathered, read and counted, with what was left out of them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldfish::data::{
    ImageStore, Known, LeftOut, Opening, Origin, Skipped, files_digest, images_below,
};
use goldfish::{Error, Result};
use serde::Serialize;

use super::base::{Base, BaseArgs};
use super::progress::Progress;
use super::stop::go_on;
use super::terminal::{note, plain};
use super::world::world;

/// What names stdin.
pub const STDIN: &str = "-";

/// Files as given, folders as the images below them, and what stdin holds: on all ranks the same.
pub fn gather(given: &[PathBuf]) -> Result<Vec<Origin>> {
    let mut origins = Vec::new();
    let mut left_out = LeftOut::default();
    for path in given {
        if path == Path::new(STDIN) {
            origins.push(stdin(&origins)?);
        } else if path.is_dir() {
            let images = images_below(path, &mut left_out)?;
            if images.is_empty() {
                return Err(Error::data(
                    path,
                    "this folder has no images (PNG, JPEG, WebP, BMP, GIF, TIFF)",
                ));
            }
            origins.extend(images.into_iter().map(Origin::File));
        } else {
            origins.push(Origin::File(path.clone()));
        }
    }
    tell(&left_out);
    let names = origins.iter().map(Origin::name);
    world().same("image files", &files_digest(names))?;
    Ok(origins)
}

/// The image that stdin holds, which is one: there is no end between two. Rank 0 has it, and hands it to the others.
fn stdin(before: &[Origin]) -> Result<Origin> {
    let name = Path::new(STDIN);
    if before
        .iter()
        .any(|origin| matches!(origin, Origin::Bytes(..)))
    {
        return Err(Error::Usage(
            "- is given twice, and stdin holds one image".into(),
        ));
    }
    let world = world();
    if !world.leads() {
        return Ok(Origin::Bytes(name.into(), world.broadcast(None)?.into()));
    }
    if std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "- is an image from stdin, and stdin is a terminal: pipe one into it, or name a file (./- where it is called so)"
                .into(),
        ));
    }
    let origin = Origin::read(name, std::io::stdin().lock())?;
    if let (Origin::Bytes(_, bytes), false) = (&origin, world.is_alone()) {
        world.broadcast(Some(bytes.to_vec()))?;
    }
    Ok(origin)
}

/// Says on stderr what was passed over.
pub fn tell(left_out: &LeftOut) {
    if !left_out.is_empty() {
        note!("left out {}", plain(&left_out.to_string()));
    }
}

/// A file that was left out, as results show it.
#[derive(Serialize)]
pub struct Bad {
    /// What of the name is not UTF-8 stands as U+FFFD.
    path: String,
    reason: String,
}

impl From<&Skipped> for Bad {
    fn from(skipped: &Skipped) -> Self {
        Bad {
            path: skipped.path.to_string_lossy().into_owned(),
            reason: skipped.reason.clone(),
        }
    }
}

/// Reads every image once, with progress, and lists those that were left out. What is `known` is not decoded before its
/// pixels are asked for.
pub fn open_images(
    paths: &[PathBuf],
    base: &Base,
    args: &BaseArgs,
    known: Option<&Known>,
) -> Result<(Arc<ImageStore>, Vec<Skipped>)> {
    let progress = std::sync::Mutex::new(Progress::new("images", "images", paths.len() as u64));
    let world = world();
    // Each rank reads its share of them.
    let names = paths.iter().map(PathBuf::as_path);
    world.same("image files", &files_digest(names))?;
    let how = Opening {
        transform: base.transform,
        exif: args.exif,
        memory: args.memory(),
        skip_bad: args.skip_bad,
        known,
        world: Some(&world),
    };
    let (images, skipped) = ImageStore::open_known(paths, &how, |done| {
        if let Ok(mut progress) = progress.lock() {
            progress.set(done as u64, "");
        }
        go_on(0)
    })?;
    if let Ok(progress) = progress.into_inner() {
        progress.finish(" read");
    }
    tell_skipped(&skipped);
    Ok((images, skipped))
}

/// Says on stderr what cannot be read.
pub fn tell_skipped(skipped: &[Skipped]) {
    for skipped in skipped {
        note!("skipped  {}", plain(&skipped.reason));
    }
}
