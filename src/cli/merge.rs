//! `goldfish merge`: an adapter becomes part of the weights.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args as ClapArgs;
use goldfish::formats::{adapter, write_merged};
use goldfish::{Error, Result};

use super::adopt::adopt;
use super::base::{BaseArgs, Weights};
use super::progress::Progress;

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with the adapter, or the file in it; its run.toml says which base it belongs to, unless --weights does
    #[arg(value_name = "RUN")]
    adapter: PathBuf,
    /// The safetensors file to write, in f32 under torchvision's names
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Take the adapter out of merged weights again. Not bit-exact: each direction rounds once
    #[arg(long, requires = "weights")]
    unmerge: bool,
    /// Replace the output file where there is one
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    base: BaseArgs,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    if args.output.exists() && !args.overwrite {
        return Err(Error::data(
            &args.output,
            "is there already. Choose another file with -o, or pass --overwrite",
        ));
    }
    adopt(&mut args.base, &args.adapter)?;
    let base = args.base.resolve()?;
    if let Weights::File(path) = &base.weights {
        let same = |a: &std::path::Path, b: &std::path::Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same(path, &args.output) {
            return Err(Error::data(
                &args.output,
                "is the base itself, which is never changed. Choose another file with -o",
            ));
        }
    }
    let gpu = super::open_device(device, goldfish::Precision::F32)?;
    if !args.unmerge {
        // What it is taken out of is no base that it was trained on.
        base.check(&args.adapter)?;
    }
    let stored = adapter::load(&gpu, &args.adapter, base.arch, base.transform.size)?;
    let adapter = stored.adapter;
    let parameters = base.arch.parameters();
    let total: usize = parameters.iter().map(|(_, shape)| shape.len() * 4).sum();
    let mut progress = Progress::new("merge", "MiB", (total >> 20).max(1) as u64);
    let mut done = 0;
    let sign = if args.unmerge { -1.0 } else { 1.0 };
    let stop = super::stop_on_ctrl_c();
    let mut parameters = 0;
    let bytes = base.with_source(|source| {
        write_merged(&gpu, &args.output, base.arch, source, &adapter, sign, |b| {
            done += b;
            parameters += 1;
            progress.set(done >> 20, "");
            // What was written so far goes with the error: nothing is left behind.
            match stop.load(Ordering::Relaxed) {
                true => Err(Error::Interrupted { step: parameters }),
                false => Ok(()),
            }
        })
    })?;
    progress.finish("");
    if args.unmerge {
        eprintln!("notice   unmerging is not bit-exact: W + s B A - s B A is rounded twice");
    }
    super::print(&format!(
        "{}  {} ({:.1} MB), {} modules\n",
        if args.unmerge { "unmerged" } else { "merged" },
        args.output.display(),
        bytes as f64 / 1e6,
        adapter.loras.len()
    ))
}
