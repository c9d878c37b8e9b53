//! `goldfish predict`: what images show, by the base or with an adapter.

mod features;
mod relay;
mod show;
mod sort;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::Result;
use goldfish::data::{ImageStore, Origin, top};
use goldfish::nn::Loading;
use goldfish::train::{Prefix, predict};

use super::adapters::AdapterArgs;
use super::alike::same_network;
use super::base::{BaseArgs, BaseReport};
use super::images::gather;
use super::output::Output;
use super::stop::go_on;
use super::terminal::is_left;
use super::world::world;
use features::Wanted;
use show::{Format, Printer};
use sort::{Sorter, Way};
use stream::{Put, Shown, Stream};

#[derive(ClapArgs)]
pub struct Args {
    /// Images, or folders, whose images are taken with those of the folders below, folder by folder; - is one image from
    /// stdin
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// Categories to show, the most likely first
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,
    /// How to print: table, csv, and jsonl (one object a line) image by image as they come; json is one object at the end
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Put every image into DIR/<class>/ by what it is most likely; nothing there is overwritten
    #[arg(long, value_name = "DIR")]
    sort_into: Option<PathBuf>,
    /// How it is put there: as a hard link, which takes no room, or where the file system has none as a copy (link); or
    /// always as a copy
    #[arg(long, value_enum, default_value = "link", requires = "sort_into")]
    sort_by: SortBy,
    /// Write what this layer makes of each image to -o instead: avgpool, or torchvision's name of a layer, whose output is
    /// taken after its ReLU and pool (classifier.3 is what torchvision's classifier.4 gives; of the last convolution the
    /// mean over 7x7 that the classifier takes)
    #[arg(long, value_name = "LAYER", requires = "output", conflicts_with_all = ["top", "format", "json", "sort_into"])]
    features: Option<String>,
    /// The safetensors file of --features: `features` [N, length], and the images' names in its notes
    #[arg(short, long, value_name = "FILE", requires = "features")]
    output: Option<PathBuf>,
    /// Replace the output file where there is one
    #[arg(long, requires = "features")]
    overwrite: bool,
    #[command(flatten)]
    base: BaseArgs,
}

/// `--sort-by`.
#[derive(Clone, Copy, ValueEnum)]
enum SortBy {
    Link,
    Copy,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let output = args.output.take().map(|o| Output::new(o, args.overwrite));
    let path = output.as_ref().map(Output::path).transpose()?;
    let origins = gather(&args.images)?;
    args.adapters.adopt(&mut args.base)?;
    let gpu = super::open_device(device, args.base.precision)?;
    let base = args.base.resolve()?;
    if let Some(output) = &output {
        let images = origins.iter().map(Origin::name);
        output.beside(&base.weights, args.adapters.paths(), images)?;
    }
    let (adapter, classes) = match args.features {
        Some(_) => args.adapters.load(&gpu, &base)?,
        None => args.adapters.answering(&gpu, &base)?,
    };
    let how = Loading {
        ranks: adapter.ranks(),
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    same_network(&gpu, &base, &adapter, &how)?;
    let stream = Stream::new(&args.base, base.transform, origins);
    if let (Some(layer), Some(path)) = (&args.features, path) {
        // What is wrong with the layer is said before the weights are loaded, which takes a while.
        let layer = Wanted::new(base.arch, layer)?;
        let network = base.load(&gpu, how)?;
        return features::write(&network, &adapter, &layer, stream, path);
    }
    let mut sorter = match &args.sort_into {
        Some(folder) if world().leads() => {
            let way = match args.sort_by {
                SortBy::Link => Way::Link,
                SortBy::Copy => Way::Copy,
            };
            Some(Sorter::new(folder, way, &classes, &args.images)?)
        }
        _ => None,
    };
    let format = if args.json { Format::Json } else { args.format };
    let network = base.load(&gpu, how)?;
    let mut printer = Printer::new(format, BaseReport::new(base.identity()?));
    // What is printed and sorted by then stays, and no line is cut.
    super::stop_on_ctrl_c();
    let mut done = 0;
    let show = || {
        let length = adapter.classes(base.arch);
        let compute = |images: &Arc<ImageStore>, put: &mut Put| {
            let mut prefix = Prefix::new(network.clone(), &adapter, images, None);
            predict(&mut prefix, images, &adapter, put)
        };
        stream.each("predict", length, compute, |progress, shown| {
            let (path, logits) = match shown {
                Shown::LeftOut(bad) => return progress.aside(|| printer.skipped(bad)),
                Shown::Answer(path, logits) => (path, logits),
            };
            go_on(done)?;
            done += 1;
            let predictions = top(logits, args.top as usize, &classes);
            let sorted = match (&mut sorter, predictions.first()) {
                (Some(sorter), Some(first)) => Some(sorter.put(path, first.index)?),
                _ => None,
            };
            progress.one();
            let shown = progress.aside(|| printer.image(path, predictions, sorted.as_deref()));
            match shown {
                // With nobody left to read, the files are sorted all the same.
                Err(e) if is_left(&e) && sorter.is_some() => Ok(()),
                shown => shown,
            }
        })?;
        printer.end()
    };
    let shown = show();
    if let Some(sorter) = sorter {
        sorter.tell();
    }
    match shown {
        Err(e) if is_left(&e) => Ok(()),
        shown => shown,
    }
}
