//! Everything that a training run needs, found sound before its first image is read.

use std::path::{Path, PathBuf};

use goldfish::data::{Classes, Dataset, Labels};
use goldfish::formats::adapter;
use goldfish::nn::{Adapter, Arch, Head, Identity, Loading};
use goldfish::train::store::Shelf;
use goldfish::train::{Plan, Run, largest_batch};
use goldfish::{Error, Gpu, Precision, Result};

use super::args::{Cache, HeadArg, Request, TrainArgs};
use super::data::{Data, labelled};
use super::shared::{SWEEP, Shared};
use crate::cli::alike::same_network;
use crate::cli::base::Base;
use crate::cli::open_device;
use crate::cli::store::Needs;
use crate::cli::terminal::note;
use crate::cli::values::BatchSize;
use crate::cli::world::world;

/// A request whose parts are known to go together.
pub(in crate::cli) struct Checked {
    pub(in crate::cli) plan: Plan,
    pub(in crate::cli) gpu: Gpu,
    pub(in crate::cli) base: Base,
    pub(in crate::cli) identity: Identity,
    /// How its network is loaded, where all of it is needed.
    pub(in crate::cli) how: Loading,
    /// Where what frozen layers make of the images is kept between runs.
    pub(in crate::cli) shelf: Option<Shelf>,
    /// The adapter to start from.
    pub(in crate::cli) start: Adapter,
    pub(in crate::cli) data: Data,
}

impl Checked {
    /// Options, folder, weights, device, room on the disk, and then the images: the costliest last, and nothing is touched
    /// that is there. What the runs of a sweep have in common is taken from `before`. The folder that is the run's own comes
    /// beside; rank 0 alone has that.
    pub(super) fn new(
        request: &Request,
        before: Option<&mut Shared>,
    ) -> Result<(Option<Run>, Self)> {
        let args = request.settings;
        let mut plan = args.plan();
        plan.check()?;
        args.check(request.base)?;
        args.augment.variants(&plan)?;
        for data in [Some(request.data), args.val.as_deref()]
            .into_iter()
            .flatten()
        {
            apart(request.output, data)?;
        }
        if request.resume {
            there(request)?;
        }
        if !request.resume && request.sweep.is_none() && request.output.join(SWEEP).exists() {
            return Err(Error::data(
                request.output,
                "holds the runs of a sweep, and this one would lie among them: choose another folder with --output",
            ));
        }
        let world = world();
        let mut run = match (world.leads(), request.resume) {
            (false, _) => None,
            (true, true) => Some(Run::resume(request.output)?),
            (true, false) => Some(Run::create(request.output, request.overwrite)?),
        };
        if let (Some(run), Some(_)) = (&mut run, request.sweep) {
            run.replace_however_it_ends();
        }
        let (open, base, identity, images) = match before.and_then(|before| before.found.take()) {
            Some(found) => (
                Some(found.gpu),
                found.base,
                found.identity,
                Some(found.images),
            ),
            None => {
                let base = request.base.resolve()?;
                let identity = base.identity()?;
                (None, base, identity, None)
            }
        };
        let open = |device: Option<String>, precision| match open {
            Some(gpu) => Ok(gpu),
            None => open_device(device, precision),
        };
        let (gpu, dataset, start) = ground(request, &base, open)?;
        // Of those that depend on how long it takes, the first.
        let [_, most] = disk(&start, args, args.states(0.0));
        if let Some(run) = &run {
            run.check_room(most)?;
        }
        let how = Loading {
            ranks: start.ranks(),
            trained: true,
            headless: start.head.is_some(),
            ..Loading::default()
        };
        let needs = Needs {
            gpu: &gpu,
            base: &base,
            identity: &identity,
            start: &start,
            exif: request.base.exif,
        };
        let shelf = match args.cache {
            // What these images give is there already.
            _ if images.is_some() => None,
            Cache::Auto => args.store.shelf(&needs, how.clone())?,
            Cache::Off => None,
        };
        let data = Data::read(request, dataset, &base, shelf.as_ref(), images)?;
        if args.batch_size == BatchSize::Auto {
            let (side, images) = (base.transform.size, data.split.train.len());
            let fits = largest_batch(base.arch, &start, side, images, gpu.memory());
            // A step is the same on all ranks: what fits rank 0's device.
            plan.batch_size = world.leaders(fits)?;
            note!("batch    {} images, as many as fit", plan.batch_size);
        }
        args.check_length(&plan, data.split.train.len())?;
        let mut checked = Checked {
            plan,
            gpu,
            base,
            identity,
            how,
            shelf,
            start,
            data,
        };
        if !checked.same()? {
            // What other devices make is not kept as this one's.
            checked.shelf = None;
        }
        Ok((run, checked))
    }

    /// Refuses ranks that do not have the same of everything; whether they have the same devices, which is told of.
    fn same(&self) -> Result<bool> {
        let world = world();
        if world.is_alone() {
            return Ok(true);
        }
        let settings = format!("{:?} {:?}", self.plan, self.data.images.variants());
        world.same("settings", settings.as_bytes())?;
        world.same("images", &self.data.listing()?.digest())?;
        same_network(&self.gpu, &self.base, &self.start, &self.how)
    }
}

/// The device that `open` gives, the data by name, and the adapter to start from: what needs no image.
pub(in crate::cli) fn ground(
    request: &Request,
    base: &Base,
    open: impl FnOnce(Option<String>, Precision) -> Result<Gpu>,
) -> Result<(Gpu, Dataset, Adapter)> {
    let args = request.settings;
    // The folders' names are known before anything costly is done, but for those of an adapter's classes.
    let (gpu, dataset, start);
    let own = own_start(request)?;
    match own.as_deref().or(args.init_adapter.as_deref()) {
        Some(folder) => {
            base.check(folder)?;
            gpu = open(request.device.clone(), request.base.precision)?;
            let stored = adapter::load(&gpu, folder, base.arch, base.transform.size)?;
            let classes = stored.classes_on(folder, &base.classes)?;
            dataset = Dataset::open(request.data, &Labels::Of(classes))?;
            start = stored.adapter;
        }
        None => {
            dataset = labelled(request.data, args, base)?;
            gpu = open(request.device.clone(), request.base.precision)?;
            start = fresh(&gpu, base, args, &dataset.classes)?;
        }
    }
    start.check_trainable()?;
    // What a run that goes on was begun with stays as it is.
    if !request.resume {
        args.check_adapted(&start, dataset.classes.len())?;
    }
    Ok((gpu, dataset, start))
}

/// Where a run is taken up that began from an adapter, the folder of its own, which has the same modules and classes: the
/// numbers are in its states, and the first one may have gone or been trained on since. `None` where that is named anew, or
/// where nothing was put down yet.
///
/// # Errors
/// What is wrong with the run's settings.
pub(super) fn own_start(request: &Request) -> Result<Option<PathBuf>> {
    let (run, Some(first)) = (request.output, &request.settings.init_adapter) else {
        return Ok(None);
    };
    if !request.resume || !Run::has_state(run) || !run.join(adapter::MODEL).exists() {
        return Ok(None);
    }
    let (_, before) = Run::settings(run)?;
    let noted = before.get("init_adapter").and_then(toml::Value::as_str);
    let same = noted.is_some_and(|noted| resolved(&run.join(noted)) == resolved(first));
    Ok(same.then(|| run.to_path_buf()))
}

/// Bytes that a run's numbers take of the disk at its end, and at most: adapters, and beside the `states` that are kept the
/// next one.
pub(in crate::cli) fn disk(start: &Adapter, args: &TrainArgs, states: usize) -> [u64; 2] {
    let adapter = 4 * start.parameters() as u64;
    let best = u64::from(args.validates());
    // Numbers and two moments, and the best ones.
    let state = (3 + best) * adapter;
    let with = |adapters: u64, states: u64| {
        (adapters * adapter).saturating_add(state.saturating_mul(states))
    };
    let states = states as u64;
    [
        with(1 + best, states),
        with(2 + best, states.saturating_add(1)),
    ]
}

/// Refuses to go on with a run whose images are not where its run.toml says.
fn there(request: &Request) -> Result<()> {
    let run = request.output.display();
    let on = request.sweep.map_or(request.output, |sweep| sweep.folder);
    let on = on.display();
    let (data, val) = (request.data, request.settings.val.as_deref());
    let gone = |path: &Path, what: &str, typed: String| {
        let problem = format!(
            "is not there, and the run in {run} {what}. Where they lie elsewhere now, or their folder has a name that \
             cannot be written in run.toml, name it: goldfish train {typed}"
        );
        Error::data(path, problem)
    };
    if !data.exists() {
        let typed = format!("DATA --resume {on}");
        return Err(gone(data, "is trained on its images", typed));
    }
    match val {
        Some(val) if !val.exists() => {
            let typed = format!("--resume {on} --val DIR");
            Err(gone(val, "is validated with its images", typed))
        }
        _ => Ok(()),
    }
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
