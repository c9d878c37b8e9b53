//! `goldfish train`: from a folder of images to an adapter.

mod args;
mod checked;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::data::{Classes, ImageStore, top};
use goldfish::nn::Adapter;
use goldfish::train::{Frozen, Prefix, Room, Run, Task, Trained, predict, train};

pub use args::TrainArgs;
pub use checked::Request;

use super::adopt::{DEFAULT_RUN, adopt};
use super::base::{BaseArgs, BaseReport};
use super::progress::Progress;
use super::stop::go_on;
use super::store;
use super::terminal::note;
use args::Cache;
use checked::Checked;

/// The figures are those of README.md, of benches/compare/own.py.
const CHOOSING: &str = "What to adapt for classes of your own:\n  \
head                            the new last layer alone, a linear probe: seconds. Enough where the base all but knows \
the classes\n  \
head,classifier.0,classifier.3  the default. The convolutions still run once an image\n  \
head,features.34,classifier.0,classifier.3\n                                  the last convolution (of vgg19) too: for pictures of \
another kind than the base knows\n\
On digits that a small VGG11 had not seen, 40 pictures each, 20 epochs on two CPU cores: 68.0 % right in 5 s, 81.2 % in 17 s, \
84.2 % in 72 s. For ImageNet's names the default is pixels, the tutorial's branch beside the network.";

#[derive(ClapArgs)]
#[command(after_help = CHOOSING)]
pub struct Args {
    /// Folder with one folder a class: DATA/<class>/<image>. Folders that are named by ImageNet's categories (torchvision's
    /// name, WordNet id or index) train for those; other names are classes of your own: see --classes
    data: PathBuf,
    /// Folder for the adapter, its settings and the metrics
    #[arg(short, long, value_name = "RUN", default_value = DEFAULT_RUN)]
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
    /// The class of each.
    pub labels: Vec<u32>,
    /// Absent with the cache off.
    pub logits: Option<Logits>,
    /// What they mean.
    pub classes: Classes,
    pub losses: Vec<f32>,
    /// What it was trained on.
    pub base: BaseReport,
    pub adapter: PathBuf,
    pub bytes: u64,
    pub parameters: usize,
}

/// Logits of every image.
pub struct Logits {
    /// The base's, where it has the same classes.
    pub before: Option<Vec<Vec<f32>>>,
    /// The adapted network's.
    pub after: Vec<Vec<f32>>,
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
    if let Some(logits) = job.logits.as_ref().filter(|_| !job.classes.is_imagenet()) {
        text += &learned(logits, &job);
    }
    text += &summary(&job);
    super::print(&text)
}

/// How many of the images that were trained on are taken for what they are.
fn learned(logits: &Logits, job: &Job) -> String {
    let right = |(logits, label): &(&Vec<f32>, &u32)| {
        top(logits, 1, &job.classes)
            .first()
            .is_some_and(|p| p.index == **label as usize)
    };
    let images = job.labels.len();
    let right = logits.after.iter().zip(&job.labels).filter(right).count();
    format!(
        "right    {right} of the {images} images it was trained on ({:.1} %): what it is worth, others show (goldfish eval)\n",
        right as f64 / images as f64 * 100.0
    )
}

/// The lines on the adapter that every finished run ends with, and what its base makes of it.
pub fn summary(job: &Job) -> String {
    format!(
        "{}adapter  {} ({:.2} MB, {} parameters)\n",
        job.base.line(),
        job.adapter.display(),
        job.bytes as f64 / 1e6,
        job.parameters
    )
}

/// Trains an adapter and writes the run folder.
pub fn job(request: Request) -> Result<Job> {
    let mut base = request.base.clone();
    if let Some(folder) = &request.settings.init_adapter {
        adopt(&mut base, folder)?;
    }
    let request = Request {
        base: &base,
        ..request
    };
    let mut checked = Checked::new(&request)?;
    let settings = checked.settings(&request);
    let stop = super::stop_on_ctrl_c();
    let run = Run::create(request.output, &settings, request.overwrite)?;
    let mut prefix = prefix(&mut checked, &request)?;
    let (trained, adapter, bytes) = steps(&mut checked, &mut prefix, run, stop)?;
    tell_cost(&checked, &prefix, &trained);
    let Checked {
        images,
        labels,
        classes,
        identity,
        ..
    } = checked;
    let logits = match request.settings.cache {
        Cache::Auto => Some(before_and_after(&mut prefix, &images, &trained.adapter)?),
        Cache::Off => None,
    };
    Ok(Job {
        images,
        labels,
        logits,
        classes,
        losses: trained.losses,
        base: BaseReport::new(identity),
        adapter,
        bytes,
        parameters: trained.adapter.parameters(),
    })
}

/// Loads the base, and with the cache on runs its frozen layers over all images of which no other run has kept it.
fn prefix(checked: &mut Checked, request: &Request) -> Result<Prefix> {
    let Checked {
        base,
        gpu,
        start,
        images,
        ..
    } = checked;
    let args = request.settings;
    if args.cache == Cache::Off {
        let network = base.load(gpu, checked.how.clone())?;
        return Ok(Prefix::new(network, start, images, None));
    }
    let room = Room {
        bytes: args.cache_memory.saturating_mul(1 << 20),
        folder: request.output.to_path_buf(),
    };
    let mut frozen = Frozen::new(gpu, base.arch, start, images, Some(room));
    let before = match checked.shelf.take() {
        Some(shelf) => frozen.stock(shelf, images)?,
        None => 0,
    };
    let network = base.load(gpu, frozen.spare(checked.how.clone()))?;
    let mut prefix = Prefix::over(network, frozen);
    let mut progress = Progress::from(before as u64, "frozen", "images", images.len() as u64);
    prefix.fill(images, |done| {
        progress.set(done as u64, "");
        go_on(0)
    })?;
    progress.finish(&format!(", {} kept", prefix.kept()));
    if let Some(shelf) = prefix.shelf() {
        store::tell(shelf, before);
    }
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
    let (arch, base) = (checked.base.arch, &checked.identity);
    let (adapter, bytes) = run.finish(&trained.adapter, arch, base, &checked.classes)?;
    if let Err(error) = std::mem::replace(&mut trained.end, Ok(())) {
        note!("saved    {}", adapter.display());
        return Err(error);
    }
    let last = trained.losses.last();
    progress.finish(&last.map_or(String::new(), |l| format!(", last loss {l:.4}")));
    Ok((trained, adapter, bytes))
}

/// Says what the run took to compile and in memory.
fn tell_cost(checked: &Checked, prefix: &Prefix, trained: &Trained) {
    let compiled = checked.gpu.compiled();
    note!(
        "kernels  {} compiled or found in the driver's cache in {:.2} s",
        compiled.kernels,
        compiled.seconds
    );
    note!(
        "memory   {}",
        super::memory::taken(&checked.gpu, prefix, trained.kept)
    );
}

/// What the base, where it has the same classes, and what the adapted network say about every image.
fn before_and_after(
    prefix: &mut Prefix,
    images: &Arc<ImageStore>,
    trained: &Adapter,
) -> Result<Logits> {
    let mut say = |adapter: &Adapter| {
        let mut all = Vec::new();
        predict(prefix, images, adapter, |_, logits| {
            all.push(logits.to_vec());
            Ok(())
        })?;
        Ok(all)
    };
    let before = match trained.head {
        Some(_) => None,
        None => Some(say(&Adapter::default())?),
    };
    Ok(Logits {
        before,
        after: say(trained)?,
    })
}
