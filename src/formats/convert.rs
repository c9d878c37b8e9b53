//! One file into another of the same numbers: adapters between PEFT's folder, LyCORIS's file and the tutorial's, weights
//! between safetensors and PyTorch's. Nothing is rounded, and what the other layout cannot say is refused by name.

mod lycoris;
mod plain;
mod tutorial;

use std::io::{BufWriter, Write};
use std::path::Path;

use super::entry::{View, shown};
use super::layout::{CONFIG, MODEL, files};
use super::weights::Tensors;
use super::{torch, write};
use crate::error::{Error, Result};
use crate::files::write_atomic_with;

use self::plain::{Plain, is_peft};

/// A layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An adapter as PEFT's folder.
    Peft,
    /// An adapter as LyCORIS's file.
    Lycoris,
    /// The branch from the pixels as the tutorial's `lora.pth`.
    Tutorial,
    /// Weights as a safetensors file.
    Safetensors,
    /// Weights as a file of `torch.save`.
    Pth,
}

impl Kind {
    /// What it is called in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Peft => "PEFT's folder",
            Kind::Lycoris => "LyCORIS's file",
            Kind::Tutorial => "the tutorial's file",
            Kind::Safetensors => "a safetensors file",
            Kind::Pth => "a PyTorch file",
        }
    }

    fn is_adapter(self) -> bool {
        matches!(self, Kind::Peft | Kind::Lycoris | Kind::Tutorial)
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Converted {
    /// What the input was.
    pub from: Kind,
    /// What was written.
    pub to: Kind,
    /// How many modules, or tensors of weights.
    pub parts: usize,
    /// Bytes of the file, of a folder of the one with the numbers.
    pub bytes: u64,
    /// What the output has no place for: the names of the input's notes.
    pub left_out: Vec<String>,
}

/// Writes what `input` holds to `output` as `to`; without it, as what the output's name ends with, and an adapter of
/// others as PEFT's folder. `done` is told the bytes of each tensor of weights once they are written.
///
/// # Errors
/// [`Error::Data`] where the input is none of the layouts or holds what the other cannot say, [`Error::Io`] where a file
/// cannot be read or written, and what `done` returned: nothing is left behind then.
pub fn convert(
    input: &Path,
    output: &Path,
    to: Option<Kind>,
    done: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Converted> {
    // PEFT's settings lie beside the file of the factors.
    let [config, model] = match is_peft(input) {
        true => files(input),
        false => [input.to_path_buf(), input.to_path_buf()],
    };
    let read = [input, &config, &model];
    let written = [output, &output.join(CONFIG), &output.join(MODEL)];
    if read
        .iter()
        .any(|read| written.iter().any(|written| same(read, written)))
    {
        return Err(Error::data(
            output,
            "is the input itself, or in its place. Choose another name",
        ));
    }
    if is_peft(input) {
        let adapter = Plain::read(input)?;
        return write_adapter(&adapter, Kind::Peft, input, output, to);
    }
    let file = Tensors::open(input)?;
    let named = |part: &str| file.names().find(|name| name.contains(part));
    if tutorial::is_one(&file) {
        let adapter = tutorial::read(&file)?;
        return write_adapter(&adapter, Kind::Tutorial, input, output, to);
    }
    if file.names().any(|name| name.starts_with(lycoris::PREFIX)) {
        let adapter = lycoris::read(&file)?;
        return write_adapter(&adapter, Kind::Lycoris, input, output, to);
    }
    if let Some(name) = named("lora_") {
        let problem = format!(
            "holds an adapter's {} and is neither PEFT's (adapter_config.json is not beside it) nor LyCORIS's (whose names \
             begin with {})",
            shown(name),
            lycoris::PREFIX
        );
        return Err(Error::data(input, problem));
    }
    write_weights(&file, output, to, done)
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What the name of a file says of its layout.
fn ending(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()? {
        "safetensors" => Some(Kind::Safetensors),
        "pth" | "pt" | "bin" => Some(Kind::Pth),
        _ => None,
    }
}

/// That the output's name does not say it is of another layout: PyTorch's tools go by it.
fn fits(output: &Path, to: Kind) -> Result<()> {
    let [wanted, example] = match to {
        Kind::Peft if ending(output).is_none() => return Ok(()),
        Kind::Peft => {
            let problem = "is the name of a file, and PEFT's adapters are folders";
            return Err(Error::data(output, problem));
        }
        Kind::Lycoris | Kind::Safetensors => ["safetensors", ".safetensors"],
        Kind::Tutorial | Kind::Pth => ["PyTorch's", ".pth"],
    };
    let file = match to {
        Kind::Lycoris => Kind::Safetensors,
        Kind::Tutorial => Kind::Pth,
        other => other,
    };
    match ending(output) {
        Some(kind) if kind == file => Ok(()),
        _ => Err(Error::data(
            output,
            format!("does not say that it is {wanted}: choose a name that ends with {example}"),
        )),
    }
}

fn write_adapter(
    adapter: &Plain,
    from: Kind,
    input: &Path,
    output: &Path,
    to: Option<Kind>,
) -> Result<Converted> {
    let to = to.unwrap_or(match (from, ending(output)) {
        (Kind::Peft, Some(Kind::Pth)) => Kind::Tutorial,
        (Kind::Peft, Some(_)) => Kind::Lycoris,
        _ => Kind::Peft,
    });
    if !to.is_adapter() {
        let problem = format!(
            "is {}, an adapter, which does not become {}: merge it into its base for weights",
            from.name(),
            to.name()
        );
        return Err(Error::data(input, problem));
    }
    fits(output, to)?;
    let bytes = match to {
        Kind::Lycoris => lycoris::write(adapter, input, output)?,
        Kind::Tutorial => tutorial::write(adapter, input, output)?,
        _ => adapter.write(output)?,
    };
    Ok(Converted {
        from,
        to,
        parts: adapter.modules.len(),
        bytes,
        left_out: match to {
            Kind::Tutorial => left_out(adapter.notes.keys()),
            _ => Vec::new(),
        },
    })
}

/// The notes that say something.
fn left_out<'a>(notes: impl Iterator<Item = &'a String>) -> Vec<String> {
    notes.filter(|name| *name != "format").cloned().collect()
}

fn write_weights(
    file: &Tensors,
    output: &Path,
    to: Option<Kind>,
    done: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Converted> {
    let from = match file.is_torch() {
        true => Kind::Pth,
        false => Kind::Safetensors,
    };
    let to = to.or(ending(output)).unwrap_or(Kind::Safetensors);
    if to.is_adapter() {
        let problem = format!("holds weights and no adapter, which {} is", to.name());
        return Err(Error::data(file.path(), problem));
    }
    fits(output, to)?;
    let names = file.names();
    let tensors: Vec<(&str, View)> = names
        .filter_map(|name| Some((name, file.get(name)?)))
        .collect();
    let written = |bytes: &[u8]| {
        file.release(bytes);
        done(bytes.len() as u64)
    };
    let bytes = match to {
        Kind::Pth => torch::write(output, &tensors, written)?,
        _ => write_safetensors(file, output, &tensors, written)?,
    };
    Ok(Converted {
        from,
        to,
        parts: tensors.len(),
        bytes,
        left_out: match to {
            Kind::Pth => left_out(file.metadata().keys()),
            _ => Vec::new(),
        },
    })
}

fn write_safetensors(
    file: &Tensors,
    output: &Path,
    tensors: &[(&str, View)],
    mut done: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut notes = file.metadata().clone();
    notes.extend(write::notes());
    let entries = tensors.iter();
    let entries = entries.map(|(name, view)| (*name, view.dtype, view.shape));
    let header = write::header(&notes, entries);
    let mut written = header.len() as u64;
    write_atomic_with(output, |out| {
        let mut out = BufWriter::with_capacity(1 << 20, out);
        out.write_all(&header).map_err(Error::io(output, "write"))?;
        for (_, view) in tensors {
            out.write_all(view.data)
                .map_err(Error::io(output, "write"))?;
            written += view.data.len() as u64;
            done(view.data)?;
        }
        out.flush().map_err(Error::io(output, "write"))
    })?;
    Ok(written)
}
