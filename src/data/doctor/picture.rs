//! One picture: read once, and what is to be said of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;

use super::checks::Checks;
use super::fault::Fault;
use crate::data::codecs::Format;
use crate::data::duplicates::Print;
use crate::data::image::{Decoded, content, parse};
use crate::error::{Error, Result};

/// The short side of a picture that shows something.
const TINY: usize = 16;
/// Pixels that take a second or so to read.
const HUGE: usize = 40_000_000;
/// A picture of sides in this proportion loses two thirds with its ends.
const LONG: usize = 3;

/// What is kept of a picture that was read.
pub(super) struct Seen {
    pub(super) print: Print,
    /// Every pixel is grey.
    pub(super) grey: bool,
}

/// A picture: what is kept of it, where it can be read, and its faults.
pub(super) type Looked = (Option<Seen>, Vec<(Fault, String)>);

/// Reads the picture at `path`.
pub(super) fn examine(path: &Path, checks: &Checks) -> Looked {
    let bytes = match content(path) {
        Ok(bytes) => bytes,
        Err(error) => return (None, vec![(Fault::Unreadable, error.problem())]),
    };
    // Decoders are other people's, and this is where a file that breaks one is to be named.
    // What looks changes nothing that is seen afterwards.
    let looked = catch_unwind(AssertUnwindSafe(|| look(path, &bytes, checks)));
    let broke = || Err(Error::data(path, "the decoder failed on it"));
    match looked.unwrap_or_else(|_| broke()) {
        Ok((seen, faults)) => (Some(seen), faults),
        Err(error) => {
            let why = error.problem();
            let fault = match is_cut(&bytes, &why) {
                true => Fault::Cut,
                false => Fault::Unreadable,
            };
            (None, vec![(fault, why)])
        }
    }
}

fn look(path: &Path, bytes: &[u8], checks: &Checks) -> Result<(Seen, Vec<(Fault, String)>)> {
    let mut faults = Vec::new();
    let mut add = |is: bool, fault: Fault, says: String| {
        if is {
            faults.push((fault, says));
        }
    };
    let picture = parse(path, bytes)?;
    if let (Some(is), Some(named)) = (Format::of(bytes), Format::named(path)) {
        let says = format!("is a {}, named like a {}", is.names().0, named.names().0);
        add(is != named, Fault::WrongEnding, says);
    }
    let lost = picture.lost;
    add(lost.wide, Fault::SixteenBit, String::new());
    add(lost.transparent, Fault::Transparent, String::new());
    add(lost.more, Fault::Animated, String::new());
    add(lost.inks, Fault::Inks, String::new());
    let turn = picture
        .exif
        .filter(|&turn| turn != Orientation::NoTransforms);
    let picture: Decoded = match turn {
        Some(turn) if checks.exif => picture.turned(turn).into(),
        Some(turn) => {
            add(true, Fault::Turned, how(turn).into());
            picture.into()
        }
        None => picture.into(),
    };
    let (width, height) = (picture.width, picture.height);
    let (short, long) = (width.min(height), width.max(height));
    let size = || format!("{width} x {height} pixels");
    let tiny = short < TINY;
    add(tiny, Fault::Tiny, size());
    add(!tiny && short < checks.size, Fault::Small, size());
    add(width * height > HUGE, Fault::Huge, size());
    add(!tiny && long >= LONG * short, Fault::Long, size());
    let print = Print::of(&picture.rgb, width, height);
    add(print.is_blank(), Fault::Blank, String::new());
    let grey = picture
        .rgb
        .chunks_exact(3)
        .all(|p| p[0] == p[1] && p[1] == p[2]);
    Ok((Seen { print, grey }, faults))
}

/// Whether a file that cannot be read goes on no further: by its own account, or by the reader's words.
fn is_cut(bytes: &[u8], why: &str) -> bool {
    const WORDS: [&str; 6] = [
        "ends early",
        "end of file",
        "unexpected end",
        "eof",
        "failed to fill",
        "truncated",
    ];
    match Format::of(bytes) {
        // A chunk of its own ends it.
        Some(Format::Png) => !bytes.windows(4).any(|word| word == b"IEND"),
        // It says how long it is.
        Some(Format::WebP) => bytes
            .get(4..8)
            .and_then(|size| size.first_chunk())
            .is_some_and(|size| u64::from(u32::from_le_bytes(*size)) + 8 > bytes.len() as u64),
        _ => {
            let why = why.to_lowercase();
            WORDS.iter().any(|words| why.contains(words))
        }
    }
}

fn how(turn: Orientation) -> &'static str {
    match turn {
        Orientation::Rotate90 => "to be turned right by 90 degrees",
        Orientation::Rotate180 => "to be turned by 180 degrees",
        Orientation::Rotate270 => "to be turned left by 90 degrees",
        _ => "to be mirrored",
    }
}
