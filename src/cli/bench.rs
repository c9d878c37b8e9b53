//! `goldfish bench`: how fast is this device?

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::bench::profile::{self, Profile};
use goldfish::bench::{self, ForwardTime, JobTime, OpTime, Peak, StepTime};
use goldfish::nn::Loading;
use goldfish::{Gpu, GpuOptions, Precision, Result};
use serde::Serialize;

use super::base::{Base, BaseArgs};
use super::progress::Tuning;
use super::stop::go_on;
use super::terminal::json;

#[derive(ClapArgs)]
pub struct Args {
    /// What to measure [default: everything but the profile]
    parts: Vec<Part>,
    /// Batch sizes of the forward pass
    #[arg(long, value_delimiter = ',', default_value = "1,5,32", value_parser = batch)]
    batch: Vec<usize>,
    /// What the profile's steps train, as `train` takes it; once more for another step
    #[arg(long, value_name = "TARGETS", default_values = ["pixels", "features.28", "classifier.0", "head,classifier.0,classifier.3"])]
    targets: Vec<String>,
    /// Images of the step and the job, DATA/<category>/<image>
    #[arg(long, default_value = "examples/illustrations")]
    data: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    base: BaseArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Multiply-adds and copying at most
    Peak,
    /// Each family's kernels at VGG19's shapes
    Ops,
    /// The base from pixels to logits
    Forward,
    /// A training step, with the base's answers kept and not
    Step,
    /// The tutorial: weights, five images, twenty steps
    Job,
    /// How long each kernel takes in forward passes and in steps of the targets: where the time goes
    Profile,
}

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=256) => Ok(n),
        _ => Err("a batch has 1 to 256 images".into()),
    }
}

#[derive(Default, Serialize)]
struct Report {
    device: String,
    /// Of a software device.
    #[serde(skip_serializing_if = "str::is_empty")]
    processor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<Peak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<Vec<OpTime>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<Vec<ForwardTime>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Vec<StepTime>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<Profile>>,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let named = |part: Part| args.parts.contains(&part);
    let wanted = |part: Part| args.parts.is_empty() || named(part);
    let base = args.base.resolve()?;
    let side = base.transform.size;
    let gpu = super::open_device_with(GpuOptions {
        device,
        half: args.base.precision == Precision::F16,
        stamps: named(Part::Profile),
        ..GpuOptions::default()
    })?;
    let mut report = Report {
        device: gpu.info().name.clone(),
        processor: gpu.processor(),
        ..Report::default()
    };
    if wanted(Part::Peak) || wanted(Part::Ops) {
        let peak = bench::peak(&gpu)?;
        report.peak = Some(peak);
        if wanted(Part::Ops) {
            let how = base.loading(&gpu, Loading::default());
            let mut tuning = Tuning::default();
            let progress = |done, of| {
                tuning.set(done, of);
                go_on(0)
            };
            report.ops = Some(bench::ops(&gpu, &how, peak, progress)?);
        }
    }
    if wanted(Part::Job) {
        let paths = bench::illustrations(&args.data)?;
        let how = base.loading(&gpu, Loading::default());
        report.job = Some(
            base.with_source(|source| bench::job(&gpu, base.arch, source, &how, &paths, side))?,
        );
    }
    if wanted(Part::Forward) || wanted(Part::Step) {
        let network = base.load(&gpu, Loading::default())?;
        report.family = Some(network.family());
        if wanted(Part::Forward) {
            report.forward = Some(bench::forward(&network, side, &args.batch)?);
        }
        if wanted(Part::Step) {
            report.step = Some(bench::step(
                &network,
                &bench::illustrations(&args.data)?,
                side,
            )?);
        }
    }
    if named(Part::Profile) {
        report.profile = Some(profiles(&args, &base, &gpu)?);
    }
    if args.json {
        return super::print(&json(&report));
    }
    super::print(&table(&report))
}

/// The forward passes of each batch size, then the steps of each of the targets.
fn profiles(args: &Args, base: &Base, gpu: &Gpu) -> Result<Vec<Profile>> {
    let side = base.transform.size;
    let mut profiles = Vec::new();
    let network = base.load(gpu, Loading::default())?;
    for &batch in &args.batch {
        profiles.push(profile::forward(&network, side, batch)?);
    }
    drop(network);
    let paths = bench::illustrations(&args.data)?;
    for targets in &args.targets {
        let targets: Vec<String> = targets.split(',').map(String::from).collect();
        let network = base.load(gpu, bench::loading(base.arch, side, &targets)?)?;
        for &batch in &args.batch {
            profiles.push(profile::step(&network, &paths, side, batch, &targets)?);
        }
    }
    Ok(profiles)
}

/// What a profile shows of its kernels: those that take this share of their time, or more.
const SHOWN: f64 = 0.01;

fn profile_table(profile: &Profile) -> String {
    let all = profile.on_device();
    let upload = profile.upload.map_or(String::new(), |seconds| {
        format!(", bringing the images {:.3}", seconds * 1e3)
    });
    let mut text = format!(
        "\n{}: {:.3} ms, kernels {:.3}{upload}\n",
        profile.work,
        profile.seconds * 1e3,
        all * 1e3
    );
    let shown = profile.kernels.iter();
    for time in shown.take_while(|time| time.seconds >= SHOWN * all) {
        text += &format!(
            "{:>9.3} ms {:>4.0} % {:>6.1} x {:>7} groups  {}\n",
            time.seconds * 1e3,
            100.0 * time.seconds / all,
            time.runs,
            time.groups,
            time.kernel
        );
    }
    let kinds = profile.kinds.iter().take_while(|kind| kind.share >= SHOWN);
    let kinds: Vec<String> = kinds
        .map(|kind| format!("{} {:.0} %", kind.kind, kind.share * 100.0))
        .collect();
    text + &format!("          {}\n", kinds.join(", "))
}

fn table(report: &Report) -> String {
    let mut text = format!("{}\n", report.device);
    if !report.processor.is_empty() {
        text += &format!("{}\n", report.processor);
    }
    if let Some(peak) = report.peak {
        text += &format!(
            "\npeak     {:.0} GFLOP/s, copying {:.1} GB/s, reading {:.1} GB/s\n",
            peak.gflops, peak.gbytes, peak.read_gbytes
        );
    }
    for op in report.ops.iter().flatten() {
        let OpTime {
            family,
            op,
            seconds,
            rate,
            unit,
            share,
            how,
        } = op;
        text += &format!(
            "{family:<9} {op:<34} {:>9.2} ms {rate:>8.1} {unit:<8} {:>4.0} %  {}\n",
            seconds * 1e3,
            share * 100.0,
            how.as_deref().unwrap_or_default()
        );
    }
    if let (Some(forward), Some(family)) = (&report.forward, report.family) {
        text += &format!("\nforward, {family} kernels\n");
        for ForwardTime { batch, seconds } in forward {
            let each = seconds / *batch as f64;
            text += &format!("batch {batch:<4} {seconds:>8.3} s  {each:>7.3} s an image\n");
        }
    }
    for (
        index,
        StepTime {
            batch,
            cached,
            seconds,
        },
    ) in report.step.iter().flatten().enumerate()
    {
        text += if index == 0 { "\ntraining step\n" } else { "" };
        let how = if *cached { "cached" } else { "uncached" };
        text += &format!("batch {batch:<4} {how:<8} {:>9.2} ms\n", seconds * 1e3);
    }
    if let Some(JobTime {
        load,
        frozen,
        train,
        compiled,
    }) = report.job
    {
        let all = load + frozen + train;
        text += &format!(
            "\ntutorial {all:.2} s: weights {load:.2}, base {frozen:.2}, training {train:.2}; {} kernels \
             compiled or found in the driver's cache in {:.2}\n",
            compiled.kernels, compiled.seconds
        );
    }
    for profile in report.profile.iter().flatten() {
        text += &profile_table(profile);
    }
    text
}
