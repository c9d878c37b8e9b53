//! `goldfish train`: from a folder of images to an adapter.

mod args;
mod checked;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args as ClapArgs;
use goldfish::data::ImageStore;
use goldfish::nn::{Adapter, Loading};
use goldfish::train::{Prefix, Room, Run, Task, Trained, predict, train};
use goldfish::{Error, Result};

pub use args::TrainArgs;
pub use checked::Request;

use super::base::BaseArgs;
use super::progress::Progress;
use args::Cache;
use checked::Checked;

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a category, each named by torchvision's name, WordNet id or index
    data: PathBuf,
    /// Folder for the adapter, its settings and the metrics
    #[arg(short, long, value_name = "RUN", default_value = "runs/train")]
    output: PathBuf,
    /// Replace the run that is in the output folder
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

/// A finished job, for those who show more than its end.
pub struct Job {
    pub images: Arc<ImageStore>,
    /// The base's logits and the adapted network's, an image after another; absent with the cache off.
    pub logits: Option<[Vec<Vec<f32>>; 2]>,
    pub losses: Vec<f32>,
    pub adapter: PathBuf,
    pub bytes: u64,
    pub parameters: usize,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let job = job(Request {
        data: &args.data,
        output: &args.output,
        overwrite: args.overwrite,
        base: &args.base,
        settings: &args.settings,
        device,
    })?;
    let mut text = format!("steps    {}\n", job.losses.len());
    if let [first, .., last] = &*job.losses {
        text += &format!("loss     {first:.4} -> {last:.4}\n");
    }
    text += &summary(&job);
    super::print(&text)
}

/// The lines on the adapter that every finished run ends with.
pub fn summary(job: &Job) -> String {
    format!(
        "adapter  {} ({:.2} MB, {} parameters)\n",
        job.adapter.display(),
        job.bytes as f64 / 1e6,
        job.parameters
    )
}

/// Trains an adapter and writes the run folder.
pub fn job(request: Request) -> Result<Job> {
    let mut checked = Checked::new(&request)?;
    let settings = checked.settings(&request);
    let run = Run::create(request.output, &settings, request.overwrite)?;
    let stop = super::stop_on_ctrl_c();
    let mut prefix = prefix(&checked, &request, stop)?;
    let (trained, adapter, bytes) = steps(&mut checked, &mut prefix, run, stop)?;
    tell_cost(&checked, &prefix, &trained);
    let Checked { images, .. } = checked;
    let logits = match request.settings.cache {
        Cache::Auto => Some(before_and_after(&mut prefix, &images, &trained.adapter)?),
        Cache::Off => None,
    };
    Ok(Job {
        images,
        logits,
        losses: trained.losses,
        adapter,
        bytes,
        parameters: trained.adapter.parameters(),
    })
}

/// Loads the base, and with the cache on runs its frozen layers over all images.
fn prefix(checked: &Checked, request: &Request, stop: &AtomicBool) -> Result<Prefix> {
    let Checked { start, images, .. } = checked;
    let how = Loading {
        ranks: start.ranks(),
        trained: true,
        ..Loading::default()
    };
    let network = checked.base.load(&checked.gpu, how)?;
    let args = request.settings;
    if args.cache == Cache::Off {
        return Ok(Prefix::new(network, start, images, None));
    }
    let room = Room {
        bytes: args.cache_memory.saturating_mul(1 << 20),
        folder: request.output.to_path_buf(),
    };
    let mut prefix = Prefix::new(network, start, images, Some(room));
    let mut progress = Progress::new("frozen", "images", images.len() as u64);
    prefix.fill(images, |done| {
        progress.set(done as u64, "");
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted { step: 0 }),
            false => Ok(()),
        }
    })?;
    progress.finish(&format!(", {} kept", prefix.kept()));
    Ok(prefix)
}

/// Trains, and saves the last good adapter whatever ended the run; its path and its bytes.
fn steps(
    checked: &mut Checked,
    prefix: &mut Prefix,
    mut run: Run,
    stop: &AtomicBool,
) -> Result<(Trained, PathBuf, u64)> {
    let (plan, images) = (checked.plan, &checked.images);
    let steps = plan.steps_per_epoch(images.len()) * plan.epochs;
    let mut progress = Progress::new("train", "it", steps as u64);
    let task = Task {
        images,
        labels: &checked.labels,
        plan,
        stop,
    };
    // The run alone holds its start: the device has it back after the first step.
    let start = std::mem::take(&mut checked.start);
    let mut trained = train(prefix, task, start, |record| {
        progress.set(
            record.step,
            &format!("epoch {} loss {:.4}", record.epoch, record.loss),
        );
        run.log(&record)
    })?;
    let (adapter, bytes) = run.finish(&trained.adapter, &checked.base.name())?;
    if let Err(error) = std::mem::replace(&mut trained.end, Ok(())) {
        eprintln!("saved    {}", adapter.display());
        return Err(error);
    }
    let last = trained.losses.last();
    progress.finish(&last.map_or(String::new(), |l| format!(", last loss {l:.4}")));
    Ok((trained, adapter, bytes))
}

/// Says what the run took to compile and in memory.
fn tell_cost(checked: &Checked, prefix: &Prefix, trained: &Trained) {
    let compiled = checked.gpu.compiled();
    eprintln!(
        "kernels  {} compiled or found in the driver's cache in {:.2} s",
        compiled.kernels, compiled.seconds
    );
    eprintln!(
        "memory   {}",
        super::memory::taken(&checked.gpu, prefix, trained.kept)
    );
}

/// What the base and what the adapted network say about every image.
fn before_and_after(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    trained: &Adapter,
) -> Result<[Vec<Vec<f32>>; 2]> {
    let mut say = |adapter: &Adapter| {
        let mut all = Vec::new();
        predict(prefix, images, adapter, |_, logits| {
            all.push(logits.to_vec());
            Ok(())
        })?;
        Ok(all)
    };
    Ok([say(&Adapter::default())?, say(trained)?])
}
