//! Everything that a training run needs, found sound before its first image is read.

use std::path::{Path, PathBuf};

use goldfish::data::{Classes, Dataset, Labels};
use goldfish::formats::adapter;
use goldfish::nn::{Adapter, Arch, Head, Identity};
use goldfish::train::{Plan, Run};
use goldfish::{Error, Gpu, Result};

use super::args::{HeadArg, Request, TrainArgs};
use super::data::{Data, labelled};
use crate::cli::base::Base;
use crate::cli::open_device;

/// The parts of a run that need neither its folder nor an image, found sound.
pub(in crate::cli) struct Parts {
    pub(in crate::cli) plan: Plan,
    pub(in crate::cli) gpu: Gpu,
    pub(in crate::cli) base: Base,
    pub(in crate::cli) identity: Identity,
    /// The adapter to start from.
    pub(in crate::cli) start: Adapter,
    pub(in crate::cli) dataset: Dataset,
}

/// A request whose parts are known to go together, and the folder that is its own.
pub(in crate::cli) struct Checked {
    pub(in crate::cli) run: Run,
    pub(in crate::cli) plan: Plan,
    pub(in crate::cli) gpu: Gpu,
    pub(in crate::cli) base: Base,
    pub(in crate::cli) identity: Identity,
    /// The adapter to start from.
    pub(in crate::cli) start: Adapter,
    pub(in crate::cli) data: Data,
}

impl Parts {
    /// Options, weights, device.
    pub(in crate::cli) fn new(request: &Request) -> Result<Self> {
        let args = request.settings;
        let plan = args.plan();
        plan.check()?;
        args.check()?;
        let base = request.base.resolve()?;
        let identity = base.identity()?;
        // The folders' names are known before anything costly is done, but for those of an adapter's classes.
        let (gpu, dataset, start);
        match &args.init_adapter {
            Some(folder) => {
                base.check(folder)?;
                gpu = open_device(request.device.clone(), request.base.precision)?;
                let stored = adapter::load(&gpu, folder, base.arch, base.transform.size)?;
                let classes = stored.classes_on(folder, &base.classes)?;
                dataset = Dataset::open(request.data, &Labels::Of(classes))?;
                start = stored.adapter;
            }
            None => {
                dataset = labelled(request.data, args, &base)?;
                gpu = open_device(request.device.clone(), request.base.precision)?;
                start = fresh(&gpu, &base, args, &dataset.classes)?;
            }
        }
        start.check_trainable()?;
        Ok(Parts {
            plan,
            gpu,
            base,
            identity,
            start,
            dataset,
        })
    }
}

impl Checked {
    /// Options, folder, weights, device, room on the disk, and then the images: the costliest last, and nothing is touched
    /// that is there.
    pub(super) fn new(request: &Request) -> Result<Self> {
        let args = request.settings;
        args.plan().check()?;
        args.check()?;
        for data in [Some(request.data), args.val.as_deref()]
            .into_iter()
            .flatten()
        {
            apart(request.output, data)?;
        }
        let run = match request.resume {
            true => Run::resume(request.output)?,
            false => Run::create(request.output, request.overwrite)?,
        };
        let Parts {
            plan,
            gpu,
            base,
            identity,
            start,
            dataset,
        } = Parts::new(request)?;
        let [_, most] = disk(&start, args);
        run.check_room(most)?;
        let data = Data::read(request, dataset, &base)?;
        Ok(Checked {
            run,
            plan,
            gpu,
            base,
            identity,
            start,
            data,
        })
    }
}

/// Bytes that a run takes of the disk at its end, and at most: adapters, and beside each state that is kept the next one.
pub(in crate::cli) fn disk(start: &Adapter, args: &TrainArgs) -> [u64; 2] {
    let adapter = 4 * start.parameters() as u64;
    let validated = args.val.is_some() || args.val_split.is_some();
    let best = u64::from(validated);
    // Numbers and two moments, and the best ones.
    let state = (3 + best) * adapter;
    let states = |kept: usize| state.saturating_mul(kept as u64);
    [
        (1 + best) * adapter + states(args.keep),
        (2 + best) * adapter + states(args.keep.saturating_add(1)),
    ]
}

/// Refuses a run's folder within the images, where the next run would take it for a class.
fn apart(run: &Path, data: &Path) -> Result<()> {
    let (run, Ok(data)) = (resolved(run), data.canonicalize()) else {
        return Ok(());
    };
    match run.starts_with(&data) {
        true => Err(Error::data(
            &run,
            format!(
                "lies in the folder of the images, {}, where every folder is a class: choose another folder for the run",
                data.display()
            ),
        )),
        false => Ok(()),
    }
}

/// A path of which the end may not exist yet, without links in what does.
fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let found = whole.ancestors().find_map(|start| {
        let real = start.canonicalize().ok()?;
        Some(real.join(whole.strip_prefix(start).ok()?))
    });
    found.unwrap_or(whole)
}

/// The adapter that a run starts with: LoRAs, and for other classes than the base's a head.
fn fresh(gpu: &Gpu, base: &Base, args: &TrainArgs, classes: &Classes) -> Result<Adapter> {
    let own = *classes != base.classes;
    let arch = arch_of(base, classes);
    if let (false, Some(_)) = (own, args.head) {
        return Err(Error::setting(
            "head",
            "says how a new last layer starts, and these classes are the base's: there is none",
        ));
    }
    let choice = args.choice(own, arch);
    let targets = choice.resolve(arch, base.transform.size)?;
    let init = |module: &str| args.init(module);
    let mut adapter = Adapter::new(gpu, &targets, args.rslora, init, args.seed)?;
    if own {
        let kept = classes.from_imagenet();
        let new = classes.len() - kept;
        let head = Head::new(
            gpu,
            base.arch,
            new,
            args.head.unwrap_or(HeadArg::Linear).into(),
            args.seed,
        )?;
        adapter.head = Some(match kept {
            0 => head,
            _ => base.with_source(|source| head.behind(base.arch, source))?,
        });
    }
    Ok(adapter)
}

/// The base's network with these classes.
pub(super) fn arch_of(base: &Base, classes: &Classes) -> Arch {
    Arch {
        classes: classes.len(),
        ..base.arch
    }
}
