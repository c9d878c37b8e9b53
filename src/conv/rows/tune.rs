//! Which way a device computes each convolution fastest: measured once, kept in a file for the device and its driver.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::choice::{Algorithm, Choice, Site};
use super::ending::{Ending, Pool};
use super::prepared::Prepared;
use super::{direct, matrix, winograd};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::gpu::{Gpu, Tile};
use crate::ops::relu::Floor;
use crate::random::Stream;
use crate::tensor::{Precision, Tensor};

/// Images of a measurement, where they fit a binding.
const BATCH: usize = 8;
/// Timed runs of a candidate; the shortest counts.
const RUNS: usize = 3;
/// A run this much slower than the best is not repeated.
const HOPELESS: f64 = 1.5;
/// Seconds that a run on a GPU lasts at least: its work is repeated until then, as handing work over and waiting for it
/// takes some 0.05 ms whatever the work.
const RUN: f64 = 2e-3;
/// Most repetitions in a run, for work that takes no time.
const REPEATS: f64 = 64.0;
/// Seconds of a single piece of work that may be waiting and not the work.
const WAIT: f64 = 2e-4;
/// Random numbers of a measurement, over and over: what they are is nothing to its time, and making them is.
const NOISE: usize = 1 << 16;
/// The largest file that is read: some 100 choices have 8 KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// What the file holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    device: String,
    driver: String,
    /// Of the kernels: see [`engine`].
    #[serde(default)]
    engine: String,
    /// Spellings of [`Choice`] by those of [`Site`].
    choices: BTreeMap<String, String>,
}

/// Makes the choices of one network.
pub(crate) struct Tuner {
    gpu: Gpu,
    /// On cooperative matrices that were found right.
    matrices: Vec<Tile>,
    /// The choice wherever it is, for tests.
    always: Option<Choice>,
    /// `None`: nothing is measured.
    file: Option<PathBuf>,
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

impl Tuner {
    /// With what an earlier run kept in `file`, measuring what is missing; without a file the choices are fixed.
    ///
    /// # Errors
    /// What the device reported. A file that cannot be used is a warning, and measured anew.
    pub(crate) fn new(gpu: &Gpu, precision: Precision, file: Option<&Path>) -> Result<Self> {
        let info = gpu.info();
        let fresh = Kept {
            device: info.name.clone(),
            driver: info.driver.clone(),
            engine: match file {
                Some(_) => engine()?,
                None => String::new(),
            },
            choices: BTreeMap::new(),
        };
        let kept = file.and_then(|file| {
            let read = read(file, &fresh);
            read.unwrap_or_else(|problem| {
                tracing::warn!("{}: {problem}; measuring anew", file.display());
                None
            })
        });
        let matrices = match precision {
            Precision::F32 => Vec::new(),
            Precision::F16 => matrix::usable(gpu),
        };
        Ok(Tuner {
            gpu: gpu.clone(),
            matrices,
            always: None,
            file: file.map(Path::to_path_buf),
            kept: kept.unwrap_or(fresh),
        })
    }

    /// One choice for every site.
    pub(super) fn always(gpu: &Gpu, choice: Choice) -> Self {
        Tuner {
            gpu: gpu.clone(),
            matrices: Vec::new(),
            always: Some(choice),
            file: None,
            kept: Kept::default(),
        }
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Measures what no earlier run did for `sites`, and keeps it. `progress` hears how many candidates are measured, and of
    /// how many; its error ends it.
    pub(crate) fn measure(
        &mut self,
        sites: &[Site],
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Measured> {
        let mut missing: Vec<Site> = Vec::new();
        for site in sites {
            let measures = self.always.is_none() && self.file.is_some();
            if measures && self.kept(site).is_none() && !missing.contains(site) {
                missing.push(*site);
            }
        }
        let candidates = |site: &Site| Choice::candidates(&self.gpu, site, &self.matrices);
        let candidates: Vec<Vec<Choice>> = missing.iter().map(candidates).collect();
        let of = candidates.iter().map(Vec::len).sum();
        let both = missing.iter().zip(&candidates);
        let kernels = both.flat_map(|(site, all)| {
            all.iter()
                .flat_map(|choice| choice.kernels(site, Pool::No, false))
        });
        self.gpu.prepare(&kernels.collect::<Vec<_>>());
        let mut done = 0;
        for (site, candidates) in missing.iter().zip(&candidates) {
            let mut one = || {
                done += 1;
                progress(done, of)
            };
            let best = fastest(&self.gpu, site, candidates, &mut one)?;
            self.kept.choices.insert(site.to_string(), best.to_string());
        }
        let file = self.file.as_deref().filter(|_| !missing.is_empty());
        let written = file.map_or(Ok(()), |file| write(file, &self.kept));
        Ok(Measured {
            choices: missing.len(),
            lost: written.err().map(|error| error.to_string()),
        })
    }

    /// What an earlier run kept for `site`, where it can still be chosen.
    fn kept(&self, site: &Site) -> Option<Choice> {
        let kept = self.kept.choices.get(&site.to_string())?;
        let mut candidates = Choice::candidates(&self.gpu, site, &self.matrices).into_iter();
        candidates.find(|choice| choice.to_string() == *kept)
    }

    /// The spelling of [`Tuner::choice`].
    pub(crate) fn spelling(&self, site: &Site) -> String {
        self.choice(site).to_string()
    }

    /// How the device computes `site`: as was measured, where it was.
    pub(super) fn choice(&self, site: &Site) -> Choice {
        match self.always {
            Some(choice) => {
                // As a measured choice would: see `Site::suits`.
                let unfit = site.gradient && self.gpu.matrix_tiles().contains(&choice.tile);
                let tile = if unfit { Tile::MIDDLE } else { choice.tile };
                Choice { tile, ..choice }.at(site)
            }
            None => self
                .kept(site)
                .unwrap_or_else(|| Choice::fixed(site, &self.matrices)),
        }
    }
}

/// The version of this family's kernels: the package's, and a hash of their sources (FNV-1a).
pub(crate) fn engine() -> Result<String> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for kernel in [direct::kernels(), winograd::kernels()].concat() {
        for byte in kernel.wgsl()?.text().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(format!("{} {hash:016x}", env!("CARGO_PKG_VERSION")))
}

/// The candidate whose shortest run on random data is the shortest.
fn fastest(
    gpu: &Gpu,
    site: &Site,
    candidates: &[Choice],
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<Choice> {
    let noise = |name, n: usize, deviation| -> Vec<f32> {
        let some = Stream::new(0, name).normals(n.min(NOISE), deviation);
        some.into_iter().cycle().take(n).collect()
    };
    let deviation = 1.0 / (9.0 * site.cin as f64).sqrt();
    let weight = noise("weight", site.cout * site.cin * 9, deviation);
    let image = (site.cin.max(site.cout) * site.side * site.side * 4) as u64;
    let batch = (gpu.max_binding() / image).clamp(1, BATCH as u64) as usize;
    let shape = [batch, site.cin, site.side, site.side];
    let x = Tensor::from_slice(gpu, shape, &noise("x", shape.iter().product(), 1.0))?;
    let bias = Tensor::from_slice(gpu, [site.cout], &noise("bias", site.cout, 1.0))?;
    let mut best: Option<(f64, Choice)> = None;
    let mut failed = None;
    let mut prepared: Option<(Algorithm, Prepared)> = None;
    for &choice in candidates {
        let mut shortest = || -> Result<f64> {
            // Candidates of one algorithm follow each other.
            let ready = match &prepared {
                Some((algorithm, ready)) if *algorithm == choice.algorithm => ready,
                _ => {
                    let ready = Prepared::new(gpu, *site, choice.algorithm, &weight)?;
                    &prepared.insert((choice.algorithm, ready)).1
                }
            };
            let run = |repeats: usize| -> Result<f64> {
                gpu.wait()?;
                let start = Instant::now();
                for _ in 0..repeats {
                    let ending = Ending {
                        bias: &bias,
                        share: None,
                        floor: Floor::RELU,
                        pool: Pool::No,
                    };
                    ready.run(choice, &x, &ending)?;
                }
                gpu.wait()?;
                Ok(start.elapsed().as_secs_f64() / repeats as f64)
            };
            let hopeless = |seconds: f64| best.is_some_and(|(least, _)| seconds > HOPELESS * least);
            // The first run compiles.
            run(1)?;
            let mut repeats = 1;
            if !gpu.is_software() {
                let once = run(1)?;
                if hopeless(once - WAIT) {
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
    let bytes = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > LARGEST_FILE => return Err("it is too large".into()),
        Ok(_) => std::fs::read(file).map_err(|e| e.to_string())?,
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let pairs = [
        ("device", &kept.device, &fresh.device),
        ("driver", &kept.driver, &fresh.driver),
        ("version of goldfish's kernels", &kept.engine, &fresh.engine),
    ];
    if let Some((what, kept, fresh)) = pairs.into_iter().find(|(_, kept, fresh)| kept != fresh) {
        return Err(format!("it is of another {what} ({kept:?}, now {fresh:?})"));
    }
    Ok(Some(kept))
}

fn write(file: &Path, kept: &Kept) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "make"))?;
    }
    let text = serde_json::to_string_pretty(kept).expect("strings have JSON");
    write_atomic(file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Kept, engine, read, write};

    fn kept(driver: &str, engine: &str) -> Kept {
        Kept {
            device: "a card".into(),
            driver: driver.into(),
            engine: engine.into(),
            choices: [("site".into(), "choice".into())].into(),
        }
    }

    #[test]
    fn what_was_kept_is_read_again_and_not_for_another_driver_or_other_kernels() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("below").join("card.json");
        assert_eq!(read(&file, &kept("1", "a")), Ok(None));
        write(&file, &kept("1", "a")).expect("written");
        assert_eq!(read(&file, &kept("1", "a")), Ok(Some(kept("1", "a"))));
        for (other, what) in [(kept("2", "a"), "driver"), (kept("1", "b"), "kernels")] {
            let problem = read(&file, &other).expect_err(what);
            assert!(problem.contains(what), "{problem}");
        }
        // As it was before the kernels had a version.
        let text = r#"{"device":"a card","driver":"1","choices":{}}"#;
        std::fs::write(&file, text).expect("written");
        let problem = read(&file, &kept("1", "a")).expect_err("no version");
        assert!(problem.contains("kernels"), "{problem}");
    }

    #[test]
    fn the_version_is_of_the_package_and_its_kernels() {
        let version = engine().expect("the kernels unroll");
        let (package, hash) = version.split_once(' ').expect("two words");
        assert_eq!(package, env!("CARGO_PKG_VERSION"));
        assert!(
            hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()),
            "{hash}"
        );
        assert_eq!(engine().expect("the same again"), version);
    }

    #[test]
    fn a_damaged_file_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.json");
        for text in ["", "{", "[]", r#"{"device":1}"#] {
            std::fs::write(&file, text).expect("written");
            assert!(read(&file, &kept("1", "a")).is_err(), "{text}");
        }
    }
}
