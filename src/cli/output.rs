//! `-o FILE`: where a command writes a file, and what it may replace.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use goldfish::{Error, Result};

use super::base::Weights;
use super::progress::Progress;

#[derive(Args)]
pub struct Output {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the output file where there is one
    #[arg(long)]
    overwrite: bool,
}

impl Output {
    /// Of a command that says more of it.
    pub fn new(output: PathBuf, overwrite: bool) -> Self {
        Output { output, overwrite }
    }

    /// The file, which is not there or may be replaced.
    pub fn path(&self) -> Result<&Path> {
        if self.output.exists() && !self.overwrite {
            return Err(Error::data(
                &self.output,
                "is there already. Choose another name with -o, or pass --overwrite",
            ));
        }
        Ok(&self.output)
    }

    /// The file must not be the one that `weights` come from.
    pub fn beside(&self, weights: &Weights) -> Result<()> {
        let Weights::File(path) = weights else {
            return Ok(());
        };
        match (path.canonicalize(), self.output.canonicalize()) {
            (Ok(base), Ok(output)) if base == output => Err(Error::data(
                &self.output,
                "is the base itself, which is never changed. Choose another file with -o",
            )),
            _ => Ok(()),
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
    let stop = super::stop_on_ctrl_c();
    let (mut done, mut step) = (0, 0);
    let result = work(&mut |bytes| {
        done += bytes;
        step += 1;
        progress.set(done >> 20, "");
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted { step }),
            false => Ok(()),
        }
    })?;
    progress.finish("");
    Ok(result)
}
