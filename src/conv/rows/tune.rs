//! Which way a device computes each convolution fastest: measured once, kept in a file for the device and its driver.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::choice::{Algorithm, Choice, Site};
use super::matrix;
use super::prepared::Prepared;
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
/// The largest file that is read: some 100 choices have 8 KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// What the file holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    device: String,
    driver: String,
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
    measured: usize,
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
            measured: 0,
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
            measured: 0,
        }
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// How the device computes `site`.
    pub(super) fn choice(&mut self, site: &Site) -> Result<Choice> {
        if let Some(choice) = self.always {
            // As a measured choice would: see `Site::suits`.
            let unfit = site.gradient && self.gpu.matrix_tiles().contains(&choice.tile);
            let tile = if unfit { Tile::MIDDLE } else { choice.tile };
            return Ok(Choice { tile, ..choice }.at(site));
        }
        if self.file.is_none() {
            return Ok(Choice::fixed(site, &self.matrices));
        }
        let candidates = Choice::candidates(&self.gpu, site, &self.matrices);
        let name = site.to_string();
        let kept = self.kept.choices.get(&name);
        if let Some(found) = candidates.iter().find(|c| Some(&c.to_string()) == kept) {
            return Ok(*found);
        }
        let best = fastest(&self.gpu, site, &candidates)?;
        self.kept.choices.insert(name, best.to_string());
        self.measured += 1;
        Ok(best)
    }

    /// Keeps what was measured, and says how many choices that are.
    pub(crate) fn finish(self) -> usize {
        if let Some(file) = self.file.filter(|_| self.measured > 0)
            && let Err(error) = write(&file, &self.kept)
        {
            tracing::warn!("what was measured of this device could not be kept: {error}");
        }
        self.measured
    }
}

/// The candidate whose shortest run on random data is the shortest.
fn fastest(gpu: &Gpu, site: &Site, candidates: &[Choice]) -> Result<Choice> {
    let noise = |name, n, deviation| Stream::new(0, name).normals(n, deviation);
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
            let run = || -> Result<f64> {
                gpu.wait()?;
                let start = Instant::now();
                ready.run(choice, &x, &bias, Floor::RELU)?;
                gpu.wait()?;
                Ok(start.elapsed().as_secs_f64())
            };
            // The first run compiles.
            run()?;
            let mut shortest = f64::INFINITY;
            for _ in 0..RUNS {
                shortest = shortest.min(run()?);
                if best.is_some_and(|(seconds, _)| shortest > HOPELESS * seconds) {
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

/// What `file` holds for the device of `fresh`; `None` where there is no such file.
fn read(file: &Path, fresh: &Kept) -> Result<Option<Kept>, String> {
    let bytes = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > LARGEST_FILE => return Err("it is too large".into()),
        Ok(_) => std::fs::read(file).map_err(|e| e.to_string())?,
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let same = (&kept.device, &kept.driver) == (&fresh.device, &fresh.driver);
    Ok(same.then_some(kept))
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
    use super::{Kept, read, write};

    fn kept(driver: &str) -> Kept {
        Kept {
            device: "a card".into(),
            driver: driver.into(),
            choices: [("site".into(), "choice".into())].into(),
        }
    }

    #[test]
    fn what_was_kept_is_read_again_and_not_for_another_driver() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("below").join("card.json");
        assert_eq!(read(&file, &kept("1")), Ok(None));
        write(&file, &kept("1")).expect("written");
        assert_eq!(read(&file, &kept("1")), Ok(Some(kept("1"))));
        assert_eq!(read(&file, &kept("2")), Ok(None));
    }

    #[test]
    fn a_damaged_file_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.json");
        for text in ["", "{", "[]", r#"{"device":1}"#] {
            std::fs::write(&file, text).expect("written");
            assert!(read(&file, &kept("1")).is_err(), "{text}");
        }
    }
}
