//! `--features LAYER`: embeddings instead of predictions.

use std::path::Path;
use std::sync::Arc;

use goldfish::data::ImageStore;
use goldfish::formats::write_features;
use goldfish::nn::{Adapter, Arch, Vgg};
use goldfish::train::embed;
use goldfish::{Error, Result};

use super::stream::{Put, Shown, Stream};
use crate::cli::stop::go_on;
use crate::cli::terminal::plain_path;
use crate::cli::world::world;

/// The name of what the convolutions make of an image: the mean over 7x7 that the classifier takes.
const POOLED: &str = "avgpool";

/// A layer whose output is written.
pub struct Wanted {
    name: String,
    /// The number of the layer that takes it.
    next: usize,
}

impl Wanted {
    pub fn new(arch: Arch, name: &str) -> Result<Self> {
        let layers = arch.layers();
        let within = &layers[..arch.trunk()];
        let index = match name {
            POOLED => within.iter().rposition(|layer| layer.is_conv()),
            _ => within.iter().position(|layer| layer.name == name),
        };
        let index = index.ok_or_else(|| {
            let names: Vec<&str> = within.iter().map(|layer| &*layer.name).collect();
            Error::Usage(format!(
                "--features takes {POOLED} or a layer before the last, found {name:?}: {}",
                names.join(", ")
            ))
        })?;
        Ok(Wanted {
            name: name.into(),
            next: index + 1,
        })
    }
}

/// Writes what the layer makes of every image to `path`.
pub fn write(
    network: &Vgg,
    adapter: &Adapter,
    layer: &Wanted,
    stream: Stream,
    path: &Path,
) -> Result<()> {
    let length = network.row_len(layer.next, stream.side());
    let compute =
        |images: &Arc<ImageStore>, put: &mut Put| embed(network, images, adapter, layer.next, put);
    if !world().leads() {
        return stream.each("features", length, compute, |_, _| Ok(()));
    }
    let names = stream.names();
    // What was written so far goes with the error: nothing is left behind.
    crate::cli::stop_on_ctrl_c();
    let mut step = 0;
    let images = write_features(path, &layer.name, length, &names, |put| {
        stream.each("features", length, compute, |progress, shown| match shown {
            Shown::LeftOut(_) => Ok(()),
            Shown::Answer(path, row) => {
                go_on(step)?;
                step += 1;
                progress.one();
                put(&path.to_string_lossy(), row)
            }
        })
    })?;
    let numbers = if length == 1 { "number" } else { "numbers" };
    crate::cli::print(&format!(
        "features  {} ({images} images, {length} {numbers} each of {})\n",
        plain_path(path),
        layer.name
    ))
}
