//! `goldfish export`: the network with an adapter, for other programs to run.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::Result;
use goldfish::formats::{Export, Input, Merged, adapter, write_onnx};
use goldfish::nn::Adapter;

use super::adopt::adopt;
use super::base::BaseArgs;
use super::output::{Output, with_progress};
use super::terminal::plain_path;

#[derive(ClapArgs)]
#[command(
    after_help = "The ONNX file (opset 17) takes `image` and gives `logits` and `probabilities`, for any number of images \
                  of the size that the run has. How images are made for it, and the names of the classes, stand in its \
                  metadata as JSON and in its description. Below 2 GiB, with every weight inside, in f32."
)]
pub struct Args {
    /// Folder with the adapter, or the file in it; its run.toml says which base it belongs to, unless --weights does.
    /// none is the base alone
    #[arg(value_name = "RUN|none")]
    adapter: PathBuf,
    /// The kind of file
    #[arg(long, value_enum, default_value = "onnx")]
    to: To,
    /// What the network takes: floats [N, 3, side, side], normalised as torchvision's are, or bytes [N, side, side, 3], RGB
    /// from 0 to 255 as decoders give them, which it normalises itself
    #[arg(long, value_enum, default_value = "floats")]
    input: InputArg,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    base: BaseArgs,
}

/// `--to`.
#[derive(Clone, Copy, ValueEnum)]
enum To {
    Onnx,
}

/// `--input`.
#[derive(Clone, Copy, ValueEnum)]
enum InputArg {
    Floats,
    Bytes,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let path = args.output.path()?;
    let none = args.adapter == Path::new("none");
    if !none {
        adopt(&mut args.base, &args.adapter)?;
    }
    let base = args.base.resolve()?;
    args.output.beside(&base.weights, [&*args.adapter], [])?;
    let gpu = super::open_device(device, goldfish::Precision::F32)?;
    let (adapter, classes) = match none {
        true => (Adapter::default(), base.classes.clone()),
        false => {
            base.check(&args.adapter)?;
            let stored = adapter::load(&gpu, &args.adapter, base.arch, base.transform.size)?;
            let classes = stored.classes_on(&args.adapter, &base.classes)?;
            (stored.adapter, classes)
        }
    };
    let identity = base.identity()?;
    let To::Onnx = args.to;
    let bytes = base.with_source(|source| {
        let export = Export {
            merged: Merged {
                arch: base.arch,
                source,
                adapter: &adapter,
                sign: 1.0,
                classes: &classes,
            },
            transform: base.transform,
            base: &identity,
            input: match args.input {
                InputArg::Floats => Input::Floats,
                InputArg::Bytes => Input::Bytes,
            },
        };
        with_progress("export", export.bytes(), |progress| {
            write_onnx(&gpu, path, &export, progress)
        })
    })?;
    super::print(&format!(
        "exported  {} ({:.1} MB), {} modules, {} classes\n",
        plain_path(path),
        bytes as f64 / 1e6,
        adapter.loras.len() + usize::from(adapter.head.is_some()),
        classes.len()
    ))
}
