//! WebP, lossy and lossless, of an animation the first frame: the decoder gives Pillow's bits.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder};

use super::picture::{Lost, Picture, bounded, damaged, transparent};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let failed = |e: image::ImageError| damaged("WebP", e);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    bounded(width, height)?;
    if !frame_fits(bytes) {
        return Err(damaged(
            "WebP",
            "its first frame is of another size than it says",
        ));
    }
    let exif = decoder.orientation().ok();
    let more = decoder.has_animation();
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let channels = usize::from(image.color().channel_count());
    let lost = Lost {
        transparent: transparent(image.as_bytes(), channels),
        more,
        ..Lost::default()
    };
    Ok(Picture {
        rgb: image.into_rgb8().into_raw(),
        width,
        height,
        exif,
        lost,
    })
}

/// Whether an animation's first frame, where it is lossy and has transparency, is as large as the animation says: the decoder
/// takes that for granted.
fn frame_fits(bytes: &[u8]) -> bool {
    /// Bytes in front of the chunks of a file, and of a frame.
    const FILE: usize = 12;
    const FRAME: usize = 16;
    let mut chunks = chunks(bytes.get(FILE..).unwrap_or_default());
    let Some((_, frame)) = chunks.find(|(name, _)| *name == b"ANMF") else {
        return true;
    };
    let mut parts = self::chunks(frame.get(FRAME..).unwrap_or_default());
    if parts.next().is_none_or(|(name, _)| name != b"ALPH") {
        return true;
    }
    let word = |at: usize| usize::from(frame[at]) | usize::from(frame[at + 1]) << 8;
    let said = [6, 9].map(|at| (word(at) | usize::from(frame[at + 2]) << 16) + 1);
    // Three bytes of flags, a mark of three, and two sides of 14 bits.
    let found = parts.next().and_then(|(name, lossy)| match (name, lossy) {
        (b"VP8 ", &[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            Some([[w0, w1], [h0, h1]].map(|side| usize::from(u16::from_le_bytes(side) & 0x3fff)))
        }
        _ => None,
    });
    found == Some(said)
}

/// Chunks one after the other, by their names; what is cut ends them.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        let chunk = after.get(..size.min(after.len()))?;
        rest = after.get(size.next_multiple_of(2)..).unwrap_or_default();
        Some((name, chunk))
    })
}
