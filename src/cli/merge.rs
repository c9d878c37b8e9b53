//! `goldfish merge`: an adapter becomes part of the weights.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::formats::{Merged, adapter, write_merged};

use super::adopt::adopt;
use super::base::BaseArgs;
use super::output::{Output, with_progress};
use super::terminal::{note, plain_path};

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with the adapter, or the file in it; its run.toml says which base it belongs to, unless --weights does
    #[arg(value_name = "RUN")]
    adapter: PathBuf,
    /// Take the adapter out of merged weights again. Not bit-exact: each direction rounds once
    #[arg(long, requires = "weights")]
    unmerge: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    base: BaseArgs,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let path = args.output.path()?;
    adopt(&mut args.base, &args.adapter)?;
    let base = args.base.resolve()?;
    args.output.beside(&base.weights, [&*args.adapter], [])?;
    let gpu = super::open_device(device, goldfish::Precision::F32)?;
    if !args.unmerge {
        // What it is taken out of is no base that it was trained on.
        base.check(&args.adapter)?;
    }
    let stored = adapter::load(&gpu, &args.adapter, base.arch, base.transform.size)?;
    let classes = stored.classes_on(&args.adapter, &base.classes)?;
    let adapter = &stored.adapter;
    let bytes = base.with_source(|source| {
        let merged = Merged {
            arch: base.arch,
            source,
            adapter,
            sign: if args.unmerge { -1.0 } else { 1.0 },
            classes: &classes,
        };
        with_progress("merge", merged.bytes(), |progress| {
            write_merged(&gpu, path, &merged, progress)
        })
    })?;
    if args.unmerge {
        note!("notice   unmerging is not bit-exact: W + s B A - s B A is rounded twice");
    }
    super::print(&format!(
        "{}  {} ({:.1} MB), {} modules, {} classes\n",
        if args.unmerge { "unmerged" } else { "merged" },
        plain_path(path),
        bytes as f64 / 1e6,
        adapter.loras.len() + usize::from(adapter.head.is_some()),
        classes.len()
    ))
}
