//! TIFF: samples of any kind to 8 bits by Pillow's rules, turned as the file's orientation says. Palettes,
//! which the decoder does not know, are decoded as greys and looked up here.

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, Tag};
use tiff::{ColorType, TiffError, TiffUnsupportedError};

use super::picture::{Lost, Picture, bounded, damaged, rgb, transparent};

/// What the tag `PhotometricInterpretation` says of a palette.
const PALETTE: u64 = 3;

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let mut bytes = bytes.to_vec();
    let palette = palette_as_grey(&mut bytes).unwrap_or(false);
    let mut limits = Limits::default();
    // A strip is no larger than the file, and a picture than four samples of 64 bits a pixel; a palette has its room.
    limits.intermediate_buffer_size = bytes.len();
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(problem)?;
    let (width, height) = decoder.dimensions().map_err(problem)?;
    bounded(width, height)?;
    limits.decoding_buffer_size = width as usize * height as usize * 32 + (1 << 20);
    decoder = decoder.with_limits(limits);
    // A strip may claim more rows than there are; a tile is decoded whole.
    if decoder.get_chunk_type() == ChunkType::Tile {
        let (across, down) = decoder.chunk_dimensions();
        bounded(across, down)?;
    }
    let tag = |decoder: &mut Decoder<_>, tag| {
        let values = decoder.find_tag_unsigned_vec::<u16>(tag);
        values.ok().flatten().unwrap_or_default()
    };
    let orientation = tag(&mut decoder, Tag::Orientation).first().copied();
    let premultiplied = tag(&mut decoder, Tag::ExtraSamples).first() == Some(&1);
    let map = tag(&mut decoder, Tag::Unknown(320));
    if tag(&mut decoder, Tag::FillOrder).first() == Some(&2) {
        return Err("a TIFF with its bits in reversed order is not read: save it as PNG".into());
    }

    let color = decoder.colortype().map_err(problem)?;
    let (channels, bits) = match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16 | 32 | 64)) => (1, bits),
        ColorType::Multiband {
            bit_depth: bits @ (1 | 2 | 4 | 8 | 16 | 32),
            num_samples: 2,
        } => (2, bits),
        ColorType::RGB(bits @ (8 | 16)) | ColorType::YCbCr(bits @ 8) => (3, bits),
        ColorType::RGBA(bits @ (8 | 16)) | ColorType::CMYK(bits @ (8 | 16)) => (4, bits),
        other => return Err(refused(&format!("{other:?}"))),
    };
    let samples = samples(&mut decoder, [width, height], channels, bits)?;
    let lost = Lost {
        wide: bits > 8,
        transparent: matches!(color, ColorType::RGBA(_)) && transparent(&samples, channels),
        more: decoder.more_images(),
        inks: matches!(color, ColorType::CMYK(_)),
    };
    let rgb = match color {
        ColorType::CMYK(_) => each(&samples, from_cmyk),
        ColorType::YCbCr(_) => each(&samples, from_ycbcr),
        ColorType::RGBA(_) if premultiplied => each(&samples, divided),
        _ if palette => {
            let table = table(&map, bits)?;
            let indices = samples.iter().step_by(channels);
            indices.flat_map(|&i| table[usize::from(i)]).collect()
        }
        _ if bits < 8 => {
            let step = 255 / ((1 << bits) - 1);
            rgb(samples.iter().map(|s| s * step).collect(), channels)
        }
        _ => rgb(samples, channels),
    };
    let picture = Picture {
        rgb,
        width,
        height,
        exif: None,
        lost,
    };
    let turn = orientation.and_then(|o| Orientation::from_exif(o.min(255) as u8));
    Ok(match turn {
        Some(turn) => picture.turned(turn),
        None => picture,
    })
}

/// Interleaved samples of 8 bits; what is less than 8 bits wide stays as it is.
fn samples(
    decoder: &mut Decoder<Cursor<Vec<u8>>>,
    [width, height]: [u32; 2],
    channels: usize,
    bits: u8,
) -> Result<Vec<u8>, String> {
    let mut buffer = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut buffer).map_err(problem)?;
    if buffer.as_buffer(0).byte_len() < layout.complete_len {
        return Err(damaged("TIFF", "samples are missing"));
    }
    let samples = match buffer {
        DecodingResult::U8(packed) if bits < 8 => {
            let row = layout
                .row_stride
                .map_or(packed.len(), |stride| stride.get());
            let rows = packed.chunks_exact(row);
            rows.flat_map(|row| unpacked(row, bits, width as usize * channels))
                .collect()
        }
        DecodingResult::U8(samples) if bits == 8 => samples,
        DecodingResult::U16(samples) if bits == 16 => {
            samples.into_iter().map(|s| (s >> 8) as u8).collect()
        }
        // Pillow clips what is more than 8 bits wide, and takes all of 32 for signed.
        DecodingResult::U32(samples) => samples.into_iter().map(|s| clip(s as i32)).collect(),
        DecodingResult::I32(samples) => samples.into_iter().map(clip).collect(),
        DecodingResult::F32(samples) => {
            if samples.iter().all(|&s| (0.0..=1.0).contains(&s)) {
                return Err(
                    "a TIFF whose samples all lie between 0 and 1 would be black: save it with 8 bits a sample"
                        .into(),
                );
            }
            samples.into_iter().map(|s| s as u8).collect()
        }
        DecodingResult::I8(_) | DecodingResult::I16(_) => return Err(refused("signed samples")),
        DecodingResult::F16(_) | DecodingResult::F64(_) => {
            return Err(refused("samples of half or double precision"));
        }
        _ => return Err(refused(&format!("samples of {bits} bits"))),
    };
    let plane = width as usize * height as usize;
    if layout.planes < 2 {
        return Ok(samples);
    }
    let planes: Vec<&[u8]> = samples.chunks_exact(plane).take(channels).collect();
    Ok((0..plane)
        .flat_map(|i| planes.iter().map(move |plane| plane[i]))
        .collect())
}

fn clip(sample: i32) -> u8 {
    sample.clamp(0, 255) as u8
}

/// The first `count` samples of a row of `bits` each, from the highest bit of a byte down.
fn unpacked(row: &[u8], bits: u8, count: usize) -> impl Iterator<Item = u8> {
    // 1, 2 or 4 bits, of which a byte has a whole number.
    let (bits, a_byte) = (usize::from(bits), 8 / usize::from(bits));
    (0..count).map(move |i| {
        let shift = 8 - bits * (i % a_byte + 1);
        row[i / a_byte] >> shift & ((1u16 << bits) - 1) as u8
    })
}

/// Interleaved pixels of `N` samples as RGB.
fn each<const N: usize>(samples: &[u8], colour: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks();
    pixels.iter().flat_map(|&pixel| colour(pixel)).collect()
}

/// `a * b / 255`, rounded as Pillow's `MULDIV255` does.
fn share(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

fn from_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - k;
    [c, m, y].map(|ink| white - share(ink, white))
}

/// JFIF's conversion in 16-bit fixed point, as libjpeg does it.
fn from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let round = |sum: i32| (sum + (1 << 15)) >> 16;
    [
        clip(y + round(91_881 * cr)),
        clip(y + round(-22_554 * cb - 46_802 * cr)),
        clip(y + round(116_130 * cb)),
    ]
}

/// Colours that were multiplied by their alpha.
fn divided([r, g, b, a]: [u8; 4]) -> [u8; 3] {
    match a {
        0 | 255 => [r, g, b],
        _ => [r, g, b].map(|c| (255 * u32::from(c) / u32::from(a)).min(255) as u8),
    }
}

/// The colour of each index, by the tag `ColorMap`: all reds, greens and blues of 16 bits.
fn table(map: &[u16], bits: u8) -> Result<Vec<[u8; 3]>, String> {
    if bits > 8 {
        return Err(refused(&format!("a palette of {bits} bits")));
    }
    let count = 1 << bits;
    if map.len() != 3 * count {
        return Err(damaged("TIFF", "its palette has the wrong length"));
    }
    let colour = |i| [map[i], map[count + i], map[2 * count + i]].map(|c| (c >> 8) as u8);
    Ok((0..count).map(colour).collect())
}

/// Whether the first directory says that its samples are indices of a palette; it then says grey instead.
fn palette_as_grey(bytes: &mut [u8]) -> Option<bool> {
    let little = bytes.starts_with(b"II");
    let number = |bytes: &[u8], at: u64, length: usize| {
        let at = usize::try_from(at).ok()?;
        let raw = bytes.get(at..at.checked_add(length)?)?;
        let join = |n: u64, &byte: &u8| n << 8 | u64::from(byte);
        Some(match little {
            true => raw.iter().rev().fold(0, join),
            false => raw.iter().fold(0, join),
        })
    };
    // Sizes of an offset, of the count of entries and of an entry, classic or BigTIFF.
    let (first, offset, count, entry) = match number(bytes, 2, 2)? {
        42 => (4, 4, 2, 12),
        _ => (8, 8, 8, 20),
    };
    let directory = number(bytes, first, offset)?;
    for i in 0..number(bytes, directory, count)? {
        let at = directory
            .checked_add(count as u64)?
            .checked_add(i.checked_mul(entry)?)?;
        if number(bytes, at, 2)? == u64::from(Tag::PhotometricInterpretation.to_u16()) {
            let value = at + entry - offset as u64;
            let palette = number(bytes, value, 2)? == PALETTE;
            if palette {
                let grey = if little { [1, 0] } else { [0, 1] };
                bytes[value as usize..][..2].copy_from_slice(&grey);
            }
            return Some(palette);
        }
    }
    None
}

fn refused(what: &str) -> String {
    format!("a TIFF with {what} is not read: save it as PNG")
}

fn problem(error: TiffError) -> String {
    use TiffUnsupportedError::UnsupportedCompressionMethod;
    match error {
        TiffError::UnsupportedError(UnsupportedCompressionMethod(CompressionMethod::Unknown(
            34925,
        ))) => refused("the compression LZMA"),
        TiffError::UnsupportedError(UnsupportedCompressionMethod(method)) => {
            refused(&format!("the compression {method:?}"))
        }
        TiffError::UnsupportedError(other) => {
            format!("this kind of TIFF is not read ({other}): save it as PNG")
        }
        other => damaged("TIFF", other),
    }
}
