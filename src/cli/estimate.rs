//! `goldfish estimate` and `train --dry-run`: what will it take?

mod disk;
mod words;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args as ClapArgs;
use goldfish::data::duplicates::leaks_between;
use goldfish::data::{Dataset, Item, Labels, split};
use goldfish::nn::Loading;
use goldfish::train::estimate::{self, Seconds, measure, sample_size};
use goldfish::train::{Frozen, Prefix, Room, Split, Takes, largest_batch};
use goldfish::{Error, Result};
use serde::Serialize;

use super::adopt::adopt;
use super::base::BaseArgs;
use super::config;
use super::images::open_images;
use super::memory::peak_resident;
use super::open_device;
use super::terminal::{json, note};
use super::train::{self, Request, TrainArgs, disk, ground};
use super::values::BatchSize;
use disk::Page;

#[derive(ClapArgs)]
#[command(after_help = "\
The options are those of `train`. A few of the images are read, the base is loaded, and the frozen layers and some steps are \
timed on the device; nothing is written. The times hold for a machine that is as busy then as now, and for pictures of which no other \
run has kept what the frozen layers make: a second run has less to do.")]
pub struct Args {
    /// Folder with one folder a class
    #[arg(required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Take settings from this file, a run.toml too; what is typed goes before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let none = || {
        let file = args.config.as_deref().unwrap_or(Path::new(""));
        Error::data(file, config::NO_DATA)
    };
    let estimate = estimate(&Request {
        data: args.data.as_deref().ok_or_else(none)?,
        // It is not looked at.
        output: Path::new(""),
        overwrite: false,
        resume: false,
        sweep: None,
        base: &args.base,
        settings: &args.settings,
        device,
        looks_again: false,
    })?;
    match args.json {
        true => super::print(&json(&estimate)),
        false => super::print(&estimate.text()),
    }
}

/// `train --dry-run`.
pub fn dry_run(args: &train::Args, device: Option<String>) -> Result<()> {
    super::print(&estimate(&args.request(args.data()?, device))?.text())
}

/// What a run will take.
#[derive(Serialize)]
struct Estimate {
    images: usize,
    /// Of these, those to validate with.
    validation: usize,
    epochs: usize,
    steps: u64,
    /// Images that go through the network at once.
    batch_size: usize,
    /// Numbers that are trained.
    parameters: usize,
    seconds: Parted,
    /// The most that the device holds.
    device_bytes: u64,
    /// The most that the process holds in the machine's memory, where the system says what it holds now. A device without
    /// memory of its own has what it holds in there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_bytes: Option<u64>,
    cache: Kept,
    disk: Disk,
    measured: Sample,
}

/// What is kept of the frozen layers, in bytes.
#[derive(Serialize)]
struct Kept {
    device: u64,
    host: u64,
    file: u64,
}

/// What the run's folder holds, in bytes.
#[derive(Serialize)]
struct Disk {
    /// When the run is over.
    folder: u64,
    /// At most, with what is written before what it replaces goes, and the file of what is kept.
    most: u64,
}

#[derive(Serialize)]
struct Sample {
    images: usize,
    steps: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Parted {
    all: f64,
    /// Up to the first image: options, weights, device.
    start: f64,
    images: f64,
    base: f64,
    frozen: f64,
    steps: f64,
    validation: f64,
    /// The page at its end.
    report: f64,
}

/// Measures on a sample what `request` will take.
fn estimate(request: &Request) -> Result<Estimate> {
    let stop = super::stop_on_ctrl_c();
    let begun = Instant::now();
    let mut asked = request.base.clone();
    if let Some(folder) = &request.settings.init_adapter {
        adopt(&mut asked, folder)?;
    }
    let request = &Request {
        base: &asked,
        device: request.device.clone(),
        ..*request
    };
    let seconds = |since: Instant| since.elapsed().as_secs_f64();
    let args = request.settings;
    let mut plan = args.plan();
    plan.check()?;
    args.check(request.base)?;
    let variants = args.variants(&plan)?;
    let base = request.base.resolve()?;
    // It is read for it once, as by a run.
    base.identity()?;
    let (gpu, dataset, adapter) = ground(request, &base, open_device)?;
    let start = seconds(begun);
    let all = parted(request, &dataset)?;
    let counts = all.each_ref().map(Vec::len);
    let images: usize = counts.iter().sum();
    if args.batch_size == BatchSize::Auto {
        let side = base.transform.size;
        plan.batch_size = largest_batch(base.arch, &adapter, side, counts[0], gpu.memory());
    }
    args.check_length(&plan, counts[0])?;

    // The sample: read as a run would read all.
    let wanted = [sample_size(counts[0], &plan, AT_ONCE), 2 * AT_ONCE];
    let chosen = [0, 1].map(|part| spread(&all[part], wanted[part]));
    let paths: Vec<PathBuf> = chosen.iter().flatten().map(|i| i.path.clone()).collect();
    let reading = Instant::now();
    let (sample, skipped) = open_images(&paths, &base, request.base, None)?;
    let left_out = |item: &&Item| skipped.iter().any(|skipped| skipped.path == item.path);
    let chosen = chosen.map(|part| -> Vec<&Item> {
        let read = part.into_iter().filter(|item| !left_out(item));
        read.collect()
    });
    let taken = sample.len();
    let first = chosen[0].len();
    let lacks = |part: usize| counts[part] > 0 && chosen[part].is_empty();
    if lacks(0) || lacks(1) || taken != first + chosen[1].len() {
        let problem = "has too few images that can be read to measure a run with";
        return Err(Error::data(request.data, problem));
    }
    let labels: Vec<u32> = chosen.iter().flatten().map(|item| item.label).collect();
    let split = Split {
        train: (0..first).collect(),
        validation: (first..taken).collect(),
    };
    leaks_between(&sample, &split.train, &split.validation)?;
    let read = seconds(reading) / taken as f64 * images as f64;
    let page = Page::measure(&adapter, &chosen[1], counts[1], &base, request.base.exif);
    let sample = match variants {
        Some(variants) => sample.augmented(variants, &split.train)?,
        None => sample,
    };
    // Of an image that is augmented as many rows are kept as it has lasting variants; those that are validated are not.
    let sampled = sample.lasting().len();
    let rows = (sampled - chosen[1].len()) * counts[0] / first + counts[1];

    // The network, and what of it is kept.
    let loading = Instant::now();
    let how = Loading {
        ranks: adapter.ranks(),
        trained: true,
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    let network = base.load(&gpu, how)?;
    let loaded = seconds(loading);
    let room = args.room(request.output, 1);
    let whole = Prefix::new(network, &adapter, &sample, None);
    // What does not fit the device goes where that of all images would, in the same proportion.
    let small = room.as_ref().map(|room| {
        Room::of(match (whole.bytes_per_image() * rows) as u64 > room.bytes {
            true => (room.bytes as f64 * sampled as f64 / rows as f64) as u64,
            false => room.bytes,
        })
    });
    let network = whole.base().clone();
    drop(whole);
    let frozen = Frozen::new(&gpu, base.arch, &adapter, &sample, small.clone());
    let mut prefix = Prefix::over(network, frozen.for_steps());
    // Frozen layers and steps, by the clock.
    let some = estimate::Sample {
        images: &sample,
        labels: &labels,
        split: &split,
    };
    let timing = Instant::now();
    let measured = measure(&mut prefix, &some, &adapter, &plan, stop)?;
    note!(
        "measured {} images and {} steps in {:.1} s",
        sample.len(),
        measured.steps,
        seconds(timing)
    );

    // From the sample to all images and epochs.
    let Seconds {
        frozen,
        steps,
        validation,
    } = measured.whole(&plan, counts, rows, train::verdicts(&adapter));
    let whole = start + read + loaded + frozen + steps + validation + page.seconds;
    let takes = |room: &Option<Room>, rows| match room {
        Some(room) => prefix.takes(rows, room),
        None => Takes::default(),
    };
    let (kept, here) = (takes(&room, rows), takes(&small, sampled));
    let more = |whole: u64, part: u64| whole.saturating_sub(part);
    let more_on_device = more(kept.device, here.device);
    // Crops are kept as far as they may be.
    let crop = 3 * (base.transform.size as u64).pow(2);
    let crops = |images: usize| (images as u64 * crop).min(request.base.memory());
    let more_crops = more(crops(images), crops(taken));
    let shared = match gpu.is_software() {
        true => more_on_device,
        false => 0,
    };
    let more_in_host = more_crops + more(kept.host, here.host) + shared;
    let [folder, most] = disk(&adapter, args, args.states(whole)).map(|numbers| {
        let beside = disk::beside(&plan, counts, &dataset.classes, &adapter);
        numbers.saturating_add(beside + page.bytes)
    });
    Ok(Estimate {
        images,
        validation: counts[1],
        epochs: plan.epochs,
        steps: plan.steps(counts[0]),
        batch_size: plan.batch_size,
        parameters: adapter.parameters(),
        seconds: Parted {
            all: whole,
            start,
            images: read,
            base: loaded,
            frozen,
            steps,
            validation,
            report: page.seconds,
        },
        device_bytes: gpu.pool_stats().peak_bytes + more_on_device,
        host_bytes: peak_resident().map(|peak| peak + more_in_host),
        cache: Kept {
            device: kept.device,
            host: kept.host,
            file: kept.file,
        },
        disk: Disk {
            folder,
            most: most.saturating_add(kept.file),
        },
        measured: Sample {
            images: taken,
            steps: measured.steps,
            seconds: seconds(begun),
        },
    })
}

/// Images that go through the frozen layers together at most.
const AT_ONCE: usize = 8;

/// The images that are trained with, and those that are validated with.
fn parted(request: &Request, dataset: &Dataset) -> Result<[Vec<Item>; 2]> {
    let args = request.settings;
    if let Some(folder) = &args.val {
        let apart = Dataset::open(folder, &Labels::Of(dataset.classes.clone()))?;
        return Ok([dataset.items.clone(), apart.items]);
    }
    let labels: Vec<u32> = dataset.items.iter().map(|item| item.label).collect();
    let validation = match (args.val_split, args.fold) {
        (Some(share), _) => split(&labels, share, args.seed)?.1,
        (None, Some(fold)) => fold.images(&labels, args.seed)?,
        (None, None) => Vec::new(),
    };
    let mut parts = [Vec::new(), Vec::new()];
    for (at, item) in dataset.items.iter().enumerate() {
        let part = usize::from(validation.binary_search(&at).is_ok());
        parts[part].push(item.clone());
    }
    Ok(parts)
}

/// At most so many of `items`, from end to end.
fn spread(items: &[Item], most: usize) -> Vec<&Item> {
    let most = most.min(items.len());
    (0..most).map(|i| &items[i * items.len() / most]).collect()
}
