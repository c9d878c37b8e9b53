//! `goldfish weights fetch`: a file from a server into the folder where it is found, whole and checked, or not at all.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use goldfish::formats::Tensors;
use goldfish::{Error, Result};

use super::address::{parse, shown};
use super::check::{self, Expected};
use super::part::Part;
use super::place;
use super::source::{Source, Wanted};
use super::transfer::{Patience, download};
use crate::cli::stop::last_words;
use crate::cli::terminal::{note, plain_path};

#[derive(ClapArgs)]
pub struct Args {
    /// Network: vgg11, vgg13, vgg16 or vgg19, or one of them with batch norm, as vgg19_bn [default: vgg19]
    arch: Option<String>,
    /// Where from: torchvision, timm (on the Hugging Face hub), or an address
    #[arg(
        long,
        value_name = "torchvision|timm|URL",
        default_value = "torchvision"
    )]
    from: Source,
    /// Folder to put it in [default: where goldfish looks for weights, from any folder]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// SHA-256 that the file must have, where none is known
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// Fetch it though it is there
    #[arg(long)]
    overwrite: bool,
    /// Ask no server: only say whether it is there and sound
    #[arg(long, conflicts_with = "overwrite")]
    offline: bool,
    /// Seconds in which nothing comes before it is tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Failures in a row after which it is given up
    #[arg(long, value_name = "N", default_value_t = 6)]
    retries: u32,
    /// Seconds before the first further try; each next wait is twice as long, and a minute at most
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true, value_parser = seconds)]
    retry_wait: f64,
}

fn sha256(text: &str) -> Result<String, String> {
    match text.len() == check::DIGITS && check::is_hex(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "a SHA-256 has {} hexadecimal digits",
            check::DIGITS
        )),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|s| (0.0..=3600.0).contains(s));
    number.ok_or_else(|| "a number of seconds from 0 to 3600".into())
}

pub fn run(args: Args) -> Result<()> {
    let wanted = wanted(&args)?;
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => place::data_folder()?,
    };
    let target = folder.join(&wanted.file);
    if target.exists() && !args.overwrite {
        return have(&target, &wanted);
    }
    let from = shown(&parse(&wanted.url)?);
    if args.offline {
        let problem = format!(
            "is not there, and --offline asks no server. Fetch it on another machine from {from} and put it there"
        );
        return Err(Error::data(&target, problem));
    }
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
    let mut part = Part::open(&target, &from)?;
    // Who waited for another process may find its file.
    if target.exists() && !args.overwrite {
        part.discard();
        return have(&target, &wanted);
    }
    // What came is always fit to go on from: every byte that was written is one of the file.
    last_words(format!(
        "kept     {}: the same command goes on from there",
        part.path().display()
    ));
    let patience = Patience {
        timeout: Duration::from_secs(args.timeout),
        retries: args.retries,
        first_wait: args.retry_wait,
    };
    match download(&wanted, &patience, &mut part) {
        Ok(expected) => finish(part, &target, &wanted, expected),
        Err(error) => {
            if part.len == 0 {
                part.discard();
            }
            Err(error)
        }
    }
}

/// What is to be fetched, with what is known of it.
fn wanted(args: &Args) -> Result<Wanted> {
    let mut wanted = args.from.wanted(args.arch.as_deref())?;
    let Some(sha256) = &args.sha256 else {
        return Ok(wanted);
    };
    let known = wanted.expected.sha256.as_deref().unwrap_or_default();
    if !sha256.starts_with(known) {
        let problem = format!(
            "--sha256 contradicts what is known of {}: {known}",
            wanted.file
        );
        return Err(Error::Usage(problem));
    }
    wanted.expected.sha256 = Some(sha256.clone());
    Ok(wanted)
}

/// Checks what came and puts it in its place, or aside.
fn finish(part: Part, target: &Path, wanted: &Wanted, expected: Expected) -> Result<()> {
    let (size, sha256) = check::hash(part.path())?;
    let fault = expected.fault(size, &sha256);
    let fault = fault.or_else(|| page(part.path()));
    let fault = fault.or_else(|| match expected.sha256 {
        Some(_) => None,
        None => no_weights(part.path()),
    });
    if let Some(fault) = fault {
        let from = &part.origin.url;
        let problem = format!(
            "{fault}. It came from {from} and is kept aside, not used. Fetch it again, or from elsewhere with --from"
        );
        return Err(Error::data(&part.aside()?, problem));
    }
    check::forget(target)?;
    part.place()?;
    // What the program does not know by itself is noted for the next check.
    if !super::known::expected(&wanted.file).full() {
        check::keep(target, &sha256)?;
    }
    tell(target, size, &sha256, &expected, wanted)
}

/// Says what is there already, or what is wrong with it.
fn have(target: &Path, wanted: &Wanted) -> Result<()> {
    let kept = Expected {
        size: None,
        sha256: check::kept(target),
    };
    let expected = wanted.expected.clone().or(kept);
    let (size, sha256) = check::hash(target)?;
    if let Some(fault) = expected.fault(size, &sha256) {
        let problem = format!("is there, but {fault}. Fetch it again with --overwrite");
        return Err(Error::data(target, problem));
    }
    note!("notice   it was fetched before");
    tell(target, size, &sha256, &expected, wanted)
}

fn tell(
    target: &Path,
    size: u64,
    sha256: &str,
    expected: &Expected,
    wanted: &Wanted,
) -> Result<()> {
    let checked = match &expected.sha256 {
        Some(_) if expected.full() => "checked".to_string(),
        Some(digits) => format!("its first {} digits checked", digits.len()),
        None => {
            note!(
                "notice   no checksum of this file is known: it could not be checked. Where the source names its \
                 SHA-256, compare it with the one below, or give it with --sha256"
            );
            "not checked".to_string()
        }
    };
    if let Some(hint) = &wanted.hint {
        note!("notice   {hint} (--weights {})", target.display());
    }
    let size = size as f64 / 1e6;
    super::print(&format!(
        "weights  {} ({size:.1} MB)\nsha256   {sha256} ({checked})\n",
        plain_path(target)
    ))
}

/// A page that did not say that it is one: a portal's, or a proxy's.
fn page(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(512).read_to_end(&mut start).ok()?;
    let text = start.trim_ascii_start();
    text.starts_with(b"<")
        .then(|| "is a web page, not a file of weights".into())
}

/// What is wrong with a file that nothing vouches for: it must at least be one of tensors, and whole.
fn no_weights(path: &Path) -> Option<String> {
    match Tensors::open(path) {
        Err(Error::Data { problem, .. }) => Some(problem.trim_end_matches('.').into()),
        _ => None,
    }
}
