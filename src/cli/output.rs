//! `-o FILE`: where a command writes a file, and what it may replace.

use std::path::{Path, PathBuf};

use clap::Args;
use goldfish::formats::adapter;
use goldfish::{Error, Result};

use super::base::Weights;
use super::progress::Progress;
use super::stop::go_on;

/// What lies in the folder of an adapter or a run.
const PARTS: [&str; 6] = [
    adapter::MODEL,
    adapter::CONFIG,
    "adapter_model.bin",
    "classes.txt",
    "run.toml",
    "metrics.jsonl",
];

#[derive(Args)]
pub struct Output {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the output file where there is one
    #[arg(long)]
    overwrite: bool,
    /// What names the file.
    #[arg(skip = "-o")]
    flag: &'static str,
}

impl Output {
    /// Of a command that says more of it.
    pub fn new(output: PathBuf, overwrite: bool) -> Self {
        Self::named("-o", output, overwrite)
    }

    /// Of a command that writes several, each by a `flag` of its own.
    pub fn named(flag: &'static str, output: PathBuf, overwrite: bool) -> Self {
        Output {
            output,
            overwrite,
            flag,
        }
    }

    /// The file, which is not there or may be replaced.
    pub fn path(&self) -> Result<&Path> {
        if self.output.exists() && !self.overwrite {
            let problem = format!(
                "is there already. Choose another name with {}, or pass --overwrite",
                self.flag
            );
            return Err(Error::data(&self.output, problem));
        }
        Ok(&self.output)
    }

    /// The file must be none that the result is made of: the one that `weights` come from, one of an adapter in the folders
    /// or files `adapters`, or one of `images`.
    pub fn beside<'a>(
        &self,
        weights: &'a Weights,
        adapters: impl IntoIterator<Item = &'a Path>,
        images: impl IntoIterator<Item = &'a Path>,
    ) -> Result<()> {
        let Ok(output) = self.output.canonicalize() else {
            return Ok(());
        };
        let is = |path: &Path| path.canonicalize().is_ok_and(|path| path == output);
        let refused = |what: &str| {
            let problem = format!(
                "is {what}, which is never changed. Choose another file with {}",
                self.flag
            );
            Err(Error::data(&self.output, problem))
        };
        if matches!(weights, Weights::File(path) if is(path)) {
            return refused("the base itself");
        }
        let of = |path: &Path| {
            let folder = adapter::folder(path);
            is(path) || PARTS.iter().any(|part| is(&folder.join(part)))
        };
        if adapters.into_iter().any(of) {
            return refused("a file of the adapter");
        }
        match images.into_iter().any(is) {
            true => refused("one of the images"),
            false => Ok(()),
        }
    }
}

/// Runs `work` with progress over `total` bytes of weights: it tells of each weight's, and Ctrl-C ends it there. What was
/// written so far goes with the error: nothing is left behind.
pub fn with_progress<T>(
    label: &'static str,
    total: u64,
    work: impl FnOnce(&mut dyn FnMut(u64) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut progress = Progress::new(label, "MiB", (total >> 20).max(1));
    super::stop_on_ctrl_c();
    let (mut done, mut step) = (0, 0);
    let result = work(&mut |bytes| {
        done += bytes;
        step += 1;
        progress.set(done >> 20, "");
        go_on(step)
    })?;
    progress.finish("");
    Ok(result)
}
