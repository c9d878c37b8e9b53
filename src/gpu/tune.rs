//! Which way a device computes each piece of work fastest: measured once, kept in a file for the device and its driver.
//! What the work is, and what there is to choose among, is a [`Family`]'s. It is timed by the device's own stamps where that
//! has them, which know nothing of the host, else by the clock.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::device::Gpu;
use super::kernel::Kernel;
use super::shaders;
use super::turn::turn;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::random::Stream;

/// Timed runs of a candidate; the shortest counts.
const RUNS: usize = 3;
/// A run this much slower than the best is not repeated.
const HOPELESS: f64 = 1.5;
/// Seconds that a run on a GPU lasts at least: its work is repeated until then, as handing work over and waiting for it
/// takes some 0.05 ms whatever the work.
const RUN: f64 = 2e-3;
/// Most repetitions in a run, for work that takes no time.
const REPEATS: f64 = 64.0;
/// Seconds of a single piece of work that may be waiting and not the work, by the clock.
const WAIT: f64 = 2e-4;
/// Random numbers of a measurement, over and over: what they are is nothing to its time, and making them is.
const NOISE: usize = 1 << 16;
/// The largest file that is read: some 100 choices have 8 KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// Kernels for one kind of work, which differ in how fast a device runs them.
pub(crate) trait Family {
    /// The work as a choice is made for it, as the file names it.
    type Site: Copy + PartialEq + Display;
    /// A way to do it, as the file spells it: a spelling that no candidate has is none.
    type Choice: Copy + Display;

    /// What the device can run for `site`.
    fn candidates(&self, site: &Self::Site) -> Vec<Self::Choice>;

    /// What a choice dispatches.
    fn kernels(&self, site: &Self::Site, choice: Self::Choice) -> Vec<&'static Kernel>;

    /// Runs a choice on random numbers, once a call.
    fn trial<'a>(&'a self, site: &'a Self::Site) -> Result<Trial<'a, Self::Choice>>;
}

pub(crate) type Trial<'a, Choice> = Box<dyn FnMut(Choice) -> Result<()> + 'a>;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    device: String,
    driver: String,
    /// The processor of a software device; empty of another.
    #[serde(default)]
    processor: String,
    /// Of the kernels: see [`engine`].
    #[serde(default)]
    engine: String,
    /// Spellings of choices by those of sites.
    choices: BTreeMap<String, String>,
}

impl Kept {
    /// What `fresh` is of that this is not.
    fn differs(&self, fresh: &Kept) -> Option<String> {
        let pairs = [
            ("device", &self.device, &fresh.device),
            ("driver", &self.driver, &fresh.driver),
            ("processor", &self.processor, &fresh.processor),
            ("version of goldfish's kernels", &self.engine, &fresh.engine),
        ];
        let (what, kept, fresh) = pairs.into_iter().find(|(_, kept, fresh)| kept != fresh)?;
        Some(format!("it is of another {what} ({kept:?}, now {fresh:?})"))
    }
}

/// Where choices are kept, and what happens to those that are not there. The file is read once for all clones of one of these: what
/// is made by its choices, and what tells by which, agree whatever comes to lie there meanwhile.
#[derive(Clone, Debug)]
pub struct Tuning {
    file: PathBuf,
    measure: bool,
    known: Arc<Mutex<Option<Kept>>>,
}

impl Tuning {
    /// `file` has what was measured, for one device; what it lacks is fixed, or where `measure` says so measured and added.
    pub fn new(file: impl Into<PathBuf>, measure: bool) -> Self {
        Tuning {
            file: file.into(),
            measure,
            known: Arc::default(),
        }
    }

    /// Whether what the file lacks is measured.
    pub fn measures(&self) -> bool {
        self.measure
    }

    /// The same, where what the file lacks is fixed.
    pub fn unmeasured(self) -> Self {
        Tuning {
            measure: false,
            ..self
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Kept>> {
        self.known.lock().expect("no panic holds the choices")
    }

    /// What the file has, where it has it for the device of `fresh`; a file that cannot be used is a warning.
    fn kept(&self, fresh: Kept) -> Kept {
        let mut known = self.known();
        let known = known.get_or_insert_with(|| {
            let read = read(&self.file, &fresh);
            let read = read.unwrap_or_else(|problem| {
                let then = match self.measure {
                    true => "measuring anew",
                    false => {
                        "fixed kernels are used, until it is measured anew or the file is removed"
                    }
                };
                tracing::warn!("{}: {problem}; {then}", self.file.display());
                None
            });
            read.unwrap_or_else(|| fresh.clone())
        });
        match known.differs(&fresh) {
            // One file for two devices: each has its own choices, and no other's.
            Some(_) => fresh,
            None => known.clone(),
        }
    }

    /// Knows what is `kept` now, and adds it to the file, whatever others have added to that meanwhile.
    fn add(&self, kept: &Kept) -> Result<()> {
        *self.known() = Some(kept.clone());
        let mut all = kept.clone();
        if let Ok(Some(others)) = read(&self.file, kept) {
            for (site, choice) in others.choices {
                all.choices.entry(site).or_insert(choice);
            }
        }
        write(&self.file, &all)
    }
}

/// The choices of a device. What a clone measures is its own.
#[derive(Clone)]
pub(crate) struct Choices {
    gpu: Gpu,
    /// `None`: all are fixed.
    tuning: Option<Tuning>,
    kept: Kept,
}

/// What measuring came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Choices that no file had.
    pub(crate) choices: usize,
    /// Why they are not kept.
    pub(crate) lost: Option<String>,
}

impl Choices {
    /// With what an earlier run kept. A file that cannot be used is a warning.
    pub(crate) fn new(gpu: &Gpu, tuning: Option<&Tuning>) -> Self {
        let info = gpu.info();
        let fresh = Kept {
            device: info.name.clone(),
            driver: info.driver.clone(),
            processor: gpu.processor().into(),
            engine: engine(),
            choices: BTreeMap::new(),
        };
        Choices {
            gpu: gpu.clone(),
            tuning: tuning.cloned(),
            kept: match tuning {
                Some(tuning) => tuning.kept(fresh),
                None => fresh,
            },
        }
    }

    /// What an earlier run kept for `site`, where it can still be chosen.
    pub(crate) fn kept<F: Family>(&self, family: &F, site: &F::Site) -> Option<F::Choice> {
        let kept = self.kept.choices.get(&site.to_string())?;
        let mut candidates = family.candidates(site).into_iter();
        candidates.find(|choice| choice.to_string() == *kept)
    }

    /// The device.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What of `sites` no earlier run measured, where that is asked for.
    fn missing<F: Family>(&self, family: &F, sites: &[F::Site]) -> Vec<F::Site> {
        let mut missing: Vec<F::Site> = Vec::new();
        if self.tuning.as_ref().is_some_and(|tuning| tuning.measure) {
            for site in sites {
                if self.kept(family, site).is_none() && !missing.contains(site) {
                    missing.push(*site);
                }
            }
        }
        missing
    }

    /// How many candidates [`Choices::measure`] will measure.
    pub(crate) fn left<F: Family>(&self, family: &F, sites: &[F::Site]) -> usize {
        let missing = self.missing(family, sites);
        missing
            .iter()
            .map(|site| family.candidates(site).len())
            .sum()
    }

    /// What another process has put into the file for `site` since it was read.
    fn measured_by_others<F: Family>(
        &self,
        tuning: &Tuning,
        family: &F,
        site: &F::Site,
    ) -> Option<String> {
        let there = read(&tuning.file, &self.kept).ok()??;
        let choice = there.choices.get(&site.to_string())?;
        let mut candidates = family.candidates(site).into_iter();
        let known = candidates.any(|candidate| candidate.to_string() == *choice);
        known.then(|| choice.clone())
    }

    /// Measures what no earlier run did for `sites`, and keeps it. `progress` hears how many candidates are measured, and of
    /// how many; its error ends it.
    pub(crate) fn measure<F: Family>(
        &mut self,
        family: &F,
        sites: &[F::Site],
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Measured> {
        let Some(tuning) = self.tuning.clone().filter(Tuning::measures) else {
            return Ok(Measured::default());
        };
        let mut missing = self.missing(family, sites);
        // Processes that measure at once would take each other's time, and might choose differently.
        let _turn = match missing.is_empty() {
            true => None,
            false => turn(&tuning.file, || progress(0, self.left(family, sites)))?,
        };
        for site in std::mem::take(&mut missing) {
            match self.measured_by_others(&tuning, family, &site) {
                Some(choice) => {
                    self.kept.choices.insert(site.to_string(), choice);
                }
                None => missing.push(site),
            }
        }
        let candidates = missing.iter().map(|site| family.candidates(site));
        let candidates: Vec<Vec<F::Choice>> = candidates.collect();
        let of = candidates.iter().map(Vec::len).sum();
        let both = missing.iter().zip(&candidates);
        let kernels =
            both.flat_map(|(site, all)| all.iter().flat_map(|one| family.kernels(site, *one)));
        self.gpu.prepare(&kernels.collect::<Vec<_>>());
        let mut done = 0;
        for (site, candidates) in missing.iter().zip(&candidates) {
            let mut one = || {
                done += 1;
                progress(done, of)
            };
            let best = fastest(&self.gpu, family, site, candidates, &mut one)?;
            self.kept.choices.insert(site.to_string(), best.to_string());
        }
        let written = match missing.is_empty() {
            true => Ok(()),
            false => tuning.add(&self.kept),
        };
        Ok(Measured {
            choices: missing.len(),
            lost: written.err().map(|error| error.to_string()),
        })
    }
}

/// The version of the kernels that are measured: the package's, and a hash of the shaders.
pub(crate) fn engine() -> String {
    let version = &shaders::version()[..8];
    let hash: String = version.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {hash}", env!("CARGO_PKG_VERSION"))
}

/// `n` random numbers of this deviation.
pub(crate) fn noise(name: &str, n: usize, deviation: f64) -> Vec<f32> {
    let some = Stream::new(0, name).normals(n.min(NOISE), deviation);
    some.into_iter().cycle().take(n).collect()
}

/// Seconds of `work` on the device, where it has stamps, else until it is done.
fn timed(gpu: &Gpu, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    if gpu.has_stamps() {
        gpu.start_stamps()?;
        let worked = work();
        let times = gpu.end_stamps();
        worked?;
        return Ok(times?.iter().map(|time| time.seconds).sum());
    }
    gpu.wait()?;
    let start = Instant::now();
    work()?;
    gpu.wait()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The candidate whose shortest run on random data is the shortest.
fn fastest<F: Family>(
    gpu: &Gpu,
    family: &F,
    site: &F::Site,
    candidates: &[F::Choice],
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<F::Choice> {
    let mut trial = family.trial(site)?;
    let mut best: Option<(f64, F::Choice)> = None;
    let mut failed = None;
    for &choice in candidates {
        let mut shortest = || -> Result<f64> {
            let mut run = |repeats: usize| -> Result<f64> {
                let seconds = timed(gpu, || (0..repeats).try_for_each(|_| trial(choice)))?;
                Ok(seconds / repeats as f64)
            };
            let hopeless = |seconds: f64| best.is_some_and(|(least, _)| seconds > HOPELESS * least);
            // The first run compiles.
            run(1)?;
            let mut repeats = 1;
            if !gpu.is_software() {
                let once = run(1)?;
                let waiting = if gpu.has_stamps() { 0.0 } else { WAIT };
                if hopeless(once - waiting) {
                    return Ok(once);
                }
                repeats = (RUN / once).ceil().clamp(1.0, REPEATS) as usize;
            }
            let mut shortest = f64::INFINITY;
            for _ in 0..RUNS {
                shortest = shortest.min(run(repeats)?);
                if hopeless(shortest) {
                    break;
                }
            }
            Ok(shortest)
        };
        match shortest() {
            Ok(seconds) => {
                tracing::debug!("{site}: {choice} {:.3} ms", seconds * 1e3);
                if best.is_none_or(|(least, _)| seconds < least) {
                    best = Some((seconds, choice));
                }
            }
            // What the device cannot compile, or has no room for, is no choice.
            Err(error) => {
                tracing::warn!("{site}: {choice} is left out: {error}");
                failed = Some(error);
            }
        }
        progress()?;
    }
    drop(trial);
    gpu.trim();
    match (best, failed) {
        (Some((_, choice)), _) => Ok(choice),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::device(format!(
            "{}: the device runs none of the kernels of a {site}",
            gpu.info().name
        ))),
    }
}

/// What `file` holds for the device, the driver and the kernels of `fresh`; `None` where there is no such file.
fn read(file: &Path, fresh: &Kept) -> Result<Option<Kept>, String> {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        // A pipe would be waited for.
        Ok(metadata) if !metadata.is_file() => return Err("it is no regular file".into()),
        Ok(metadata) if metadata.len() > LARGEST_FILE => return Err("it is too large".into()),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| e.to_string())?;
    let mut some = opened.take(LARGEST_FILE);
    some.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    match kept.differs(fresh) {
        Some(problem) => Err(problem),
        None => Ok(Some(kept)),
    }
}

fn write(file: &Path, kept: &Kept) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "make"))?;
    }
    let text = serde_json::to_string_pretty(kept).expect("strings have JSON");
    write_atomic(file, text.as_bytes())
}

#[cfg(test)]
mod tests;
