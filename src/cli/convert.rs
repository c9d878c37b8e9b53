//! `goldfish convert`: the same numbers in another layout.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::formats::{Kind, convert};
use goldfish::{Error, Result};

use super::output::{Output, with_progress};
use super::terminal::{note, plain_path};

#[derive(ClapArgs)]
#[command(
    after_help = "Adapters go between PEFT's folder, LyCORIS's file and the tutorial's lora.pth (the branch from the pixels, \
                  scale 1); weights between .safetensors and .pth. Nothing is rounded: what a layout cannot say (DoRA, LoHa, \
                  LoKr, Tucker; a new last layer outside of PEFT's folder) is refused by name."
)]
pub struct Args {
    /// PEFT's folder or a run, a file of LyCORIS's or the tutorial's, or weights; it is recognised by what it holds
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write, or the folder for --to peft
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The layout to write [default: by the name of OUT; PEFT's folder for an adapter of others]
    #[arg(long, value_enum)]
    to: Option<To>,
    /// Replace the output where there is one
    #[arg(long)]
    overwrite: bool,
}

/// `--to`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    Peft,
    Lycoris,
    Tutorial,
    Safetensors,
    Pth,
}

impl From<To> for Kind {
    fn from(to: To) -> Self {
        match to {
            To::Peft => Kind::Peft,
            To::Lycoris => Kind::Lycoris,
            To::Tutorial => Kind::Tutorial,
            To::Safetensors => Kind::Safetensors,
            To::Pth => Kind::Pth,
        }
    }
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.output, args.overwrite);
    let path = output.path()?;
    if path.join("run.toml").exists() {
        return Err(Error::data(
            path,
            "is the folder of a run, whose settings would be those of another adapter. Choose another name with -o",
        ));
    }
    let total = args.input.metadata().map_or(0, |about| about.len());
    let done = with_progress("convert", total, |done| {
        convert(&args.input, path, args.to.map(Kind::from), done)
    })?;
    if !done.left_out.is_empty() {
        note!(
            "notice   {} has no place for notes: {} stayed behind",
            done.to.name(),
            done.left_out.join(", ").escape_debug()
        );
    }
    super::print(&format!(
        "converted  {} as {} ({:.1} MB), {} {}\n",
        plain_path(path),
        done.to.name(),
        done.bytes as f64 / 1e6,
        done.parts,
        match done.to {
            Kind::Safetensors | Kind::Pth => "tensors",
            _ => "modules",
        }
    ))
}
