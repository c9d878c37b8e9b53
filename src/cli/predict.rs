//! `goldfish predict`: what images show, by the base or with an adapter.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::data::{ImageStore, LeftOut, Prediction, Skipped, images_below, top};
use goldfish::nn::{Adapter, Loading};
use goldfish::train::{Prefix, predict};
use goldfish::{Error, Gpu, Result};
use serde::Serialize;

use super::adapters::AdapterArgs;
use super::base::{Base, BaseArgs, BaseReport};
use super::progress::Progress;
use super::terminal::{Lines, json};

#[derive(ClapArgs)]
pub struct Args {
    /// Images, or folders, whose images are taken with those of the folders below, folder by folder
    #[arg(required = true, value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// Categories to show, the most likely first
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    base: BaseArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Serialize)]
struct Report {
    base: BaseReport,
    images: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    /// What of the name is not UTF-8 stands as U+FFFD.
    path: String,
    predictions: Vec<Prediction>,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let paths = gather(&args.images)?;
    args.adapters.adopt(&mut args.base)?;
    let gpu = super::open_device(device, args.base.precision)?;
    let base = args.base.resolve()?;
    let (adapter, classes) = args.adapters.load(&gpu, &base)?;
    let (images, _) = open_images(&paths, &base, &args.base)?;
    let mut report = Report {
        base: BaseReport::new(base.identity()?),
        images: Vec::new(),
    };
    with_logits(
        "predict",
        &gpu,
        &base,
        &adapter,
        &images,
        |image, logits| {
            report.images.push(Shown {
                path: images.path(image).to_string_lossy().into_owned(),
                predictions: top(logits, args.top as usize, &classes),
            });
            Ok(())
        },
    )?;
    super::print(&match args.format {
        Format::Table => table(&report),
        Format::Json => json(&report, Lines::One),
        Format::Csv => csv(&report)?,
    })
}

/// Loads the base and hands the adapted logits of every image to `each`, in order, with progress.
pub fn with_logits(
    label: &'static str,
    gpu: &Gpu,
    base: &Base,
    adapter: &Adapter,
    images: &Arc<ImageStore>,
    mut each: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let how = Loading {
        ranks: adapter.ranks(),
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    let mut prefix = Prefix::new(base.load(gpu, how)?, adapter, images, None);
    let mut progress = Progress::new(label, "images", images.len() as u64);
    predict(&mut prefix, images, adapter, |image, logits| {
        each(image, logits)?;
        progress.set(image as u64 + 1, "");
        Ok(())
    })?;
    progress.finish("");
    Ok(())
}

/// Files as given, folders as the images below them.
fn gather(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut left_out = LeftOut::default();
    for path in given {
        if path.is_dir() {
            let images = images_below(path, &mut left_out)?;
            if images.is_empty() {
                return Err(Error::data(
                    path,
                    "this folder has no images (PNG, JPEG, WebP, BMP, GIF, TIFF)",
                ));
            }
            paths.extend(images);
        } else {
            paths.push(path.clone());
        }
    }
    tell(&left_out);
    Ok(paths)
}

/// Says on stderr what was passed over.
pub fn tell(left_out: &LeftOut) {
    if !left_out.is_empty() {
        eprintln!("left out {left_out}");
    }
}

/// Reads every image once, with progress, and lists those that were left out.
pub fn open_images(
    paths: &[PathBuf],
    base: &Base,
    args: &BaseArgs,
) -> Result<(Arc<ImageStore>, Vec<Skipped>)> {
    let progress = std::sync::Mutex::new(Progress::new("images", "images", paths.len() as u64));
    let memory = args.image_memory.saturating_mul(1 << 20);
    let (images, skipped) = ImageStore::open(
        paths,
        base.transform,
        args.exif,
        memory,
        args.skip_bad,
        |done| {
            if let Ok(mut progress) = progress.lock() {
                progress.set(done as u64, "");
            }
        },
    )?;
    if let Ok(progress) = progress.into_inner() {
        progress.finish(" read");
    }
    for skipped in &skipped {
        eprintln!("skipped  {}", skipped.reason);
    }
    Ok((images, skipped))
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for image in &report.images {
        text += &format!("{}\n", image.path);
        for (rank, p) in image.predictions.iter().enumerate() {
            text += &format!(
                "  {:>4}  {:>6.2} %  {:<32} {:>4}  {:>9.4}\n",
                rank + 1,
                f64::from(p.probability) * 100.0,
                p.category,
                p.index,
                p.logit
            );
        }
    }
    text + &report.base.line()
}

fn csv(report: &Report) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::Usage(format!("the table cannot be written as CSV: {e}"));
    writer
        .write_record(["path", "rank", "index", "category", "logit", "probability"])
        .map_err(failed)?;
    for image in &report.images {
        for (rank, p) in image.predictions.iter().enumerate() {
            let path = &image.path;
            writer
                .serialize((path, rank + 1, p.index, &p.category, p.logit, p.probability))
                .map_err(failed)?;
        }
    }
    let bytes = writer
        .into_inner()
        .map_err(|e| Error::Usage(format!("the table cannot be written as CSV: {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
