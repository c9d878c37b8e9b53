//! A run's folder: settings, one line a step, the adapter.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::Classes;
use crate::error::{Error, Remedy, Result};
use crate::files::write_atomic;
use crate::formats::adapter;
use crate::nn::{Adapter, Arch, Identity};

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the step's images before its update.
    pub loss: f32,
    /// Learning rate.
    pub lr: f64,
    /// Wall time since the first step began.
    pub seconds: f64,
}

/// An open run folder: `run.toml`, `metrics.jsonl`, `adapter_model.safetensors`, `adapter_config.json`.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    metrics: File,
    /// The settings that are yet to be written: as long as another run's adapter is there, those beside it are its own.
    settings: Option<String>,
}

const METRICS: &str = "metrics.jsonl";
/// The file with a run's resolved settings.
pub(crate) const SETTINGS: &str = "run.toml";

impl Run {
    /// Makes `folder` and writes the settings, so that a folder which cannot be written is found out
    /// before any work is done. A folder that holds an adapter is refused unless `overwrite`; until the new one is there,
    /// the old one keeps its settings.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written, [`Error::Data`] where it is taken.
    pub fn create(folder: &Path, settings: &impl Serialize, overwrite: bool) -> Result<Self> {
        let there = folder.join(adapter::MODEL).exists();
        if there && !overwrite {
            let taken = Error::data(folder, "holds an adapter already");
            return Err(taken.with(Remedy::OtherFolder));
        }
        fs::create_dir_all(folder).map_err(Error::io(folder, "make the folder"))?;
        let settings = toml::to_string(settings)
            .map_err(|e| Error::data(folder, format!("cannot write the settings: {e}")))?;
        let settings = match there {
            true => Some(settings),
            false => {
                write_atomic(&folder.join(SETTINGS), settings.as_bytes())?;
                None
            }
        };
        let path = folder.join(METRICS);
        let metrics = File::create(&path).map_err(Error::io(&path, "write"))?;
        Ok(Run {
            folder: folder.to_path_buf(),
            metrics,
            settings,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends a line to the metrics.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full.
    pub fn log(&mut self, record: &StepRecord) -> Result<()> {
        let line = serde_json::to_string(record).expect("a struct of numbers becomes JSON");
        writeln!(self.metrics, "{line}").map_err(Error::io(&self.folder.join(METRICS), "write"))
    }

    /// Writes the adapter, as [`adapter::save`]; returns the adapter's path and size.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk is full or the folder gone.
    pub fn finish(
        self,
        trained: &Adapter,
        arch: Arch,
        base: &Identity,
        classes: &Classes,
    ) -> Result<(PathBuf, u64)> {
        let saved = adapter::save(&self.folder, trained, arch, base, classes)?;
        if let Some(settings) = self.settings {
            write_atomic(&self.folder.join(SETTINGS), settings.as_bytes())?;
        }
        Ok(saved)
    }
}
