//! BMP. Samples of 5 and 6 bits become 8 as in Pillow, `sample * 255 / 31` without rounding.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageDecoder};

use super::picture::{Lost, Picture, bounded, damaged};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |e: image::ImageError| damaged("BMP", e);
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    bounded(width, height)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let mut rgb = image.into_rgb8().into_raw();
    if let Some(bits) = bits_of_channels(bytes) {
        let tables = bits.map(cut);
        for pixel in rgb.chunks_exact_mut(3) {
            for (sample, table) in pixel.iter_mut().zip(&tables) {
                *sample = table[usize::from(*sample)];
            }
        }
    }
    Ok(Picture {
        rgb,
        width,
        height,
        exif: None,
        lost: Lost::default(),
    })
}

/// The bits of red, green and blue in a file of 16 bits a pixel.
fn bits_of_channels(bytes: &[u8]) -> Option<[u32; 3]> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    };
    let bits_a_pixel = word(26)? >> 16;
    match (bits_a_pixel, word(14)?, word(30)?) {
        // The header of OS/2 has no such files.
        (16, 40.., 0) => Some([5; 3]),
        (16, 40.., 3 | 6) => {
            let [r, g, b] = [word(54)?, word(58)?, word(62)?];
            Some([r, g, b].map(u32::count_ones))
        }
        _ => None,
    }
}

/// What each rounded sample of `bits` becomes.
fn cut(bits: u32) -> [u8; 256] {
    let top = (1u32 << bits.clamp(1, 8)) - 1;
    std::array::from_fn(|rounded| {
        let sample = (rounded as u32 * top + 127) / 255;
        (sample * 255 / top) as u8
    })
}
