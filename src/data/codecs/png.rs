//! PNG: of the file only the chunks that make its first picture go to the decoder, so that neither a text
//! nor what follows the pixels can spoil it. Samples of 16 bits are cut to their upper 8, as Pillow does for
//! all but grey ones.

use image::metadata::Orientation;
use png::{ColorType, DecodeOptions, Decoder, Limits, Transformations};

use super::picture::{Lost, Picture, bounded, damaged, rgb, transparent};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let Found { chunks, exif, more } = first_picture(bytes)?;
    let damaged = |e: png::DecodingError| damaged("PNG", e);
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(std::io::Cursor::new(chunks), options);
    decoder.set_limits(Limits { bytes: usize::MAX });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(damaged)?;
    let (width, height) = header.size();
    bounded(width, height)?;
    let wide = header.bit_depth == png::BitDepth::Sixteen;
    if header.color_type == ColorType::Grayscale && wide {
        tracing::debug!("16 bits of grey, of which the upper 8 are taken");
    }
    let mut reader = decoder.read_info().map_err(damaged)?;
    let mut samples = vec![0; reader.output_buffer_size().ok_or("the PNG is too large")?];
    let info = reader.next_frame(&mut samples).map_err(damaged)?;
    samples.truncate(info.buffer_size());
    let channels = info.color_type.samples();
    let transparent = transparent(&samples, channels);
    Ok(Picture {
        rgb: rgb(samples, channels),
        width,
        height,
        exif,
        lost: Lost {
            wide,
            transparent,
            more,
            inks: false,
        },
    })
}

/// What a file holds of its first picture.
struct Found {
    /// The picture as a file of its own.
    chunks: Vec<u8>,
    exif: Option<Orientation>,
    /// The file is an animation of more pictures.
    more: bool,
}

/// The header, palette, transparency and pixels as a file of their own, with the EXIF orientation. Pillow
/// reads pixels whose checksum is wrong, and files that stop behind them; so does this. The checksum of
/// what stands before the pixels must be right.
fn first_picture(bytes: &[u8]) -> Result<Found, String> {
    let mut picture = SIGNATURE.to_vec();
    let (mut exif, mut more) = (None, false);
    let mut rest = &bytes[SIGNATURE.len()..];
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let data = &after[..length.min(after.len())];
        let checksum = after.get(length..).and_then(|after| after.first_chunk());
        match &kind {
            b"IEND" => break,
            b"IDAT" => append(&mut picture, &kind, data),
            b"acTL" => {
                more = data
                    .first_chunk()
                    .is_some_and(|n| u32::from_be_bytes(*n) > 1)
            }
            b"eXIf" => exif = Orientation::from_exif_chunk(data),
            b"IHDR" | b"PLTE" | b"tRNS" => {
                let name = String::from_utf8_lossy(&kind);
                match checksum {
                    None => return Err(format!("the PNG ends early, in its {name}")),
                    Some(sum) if *sum != crc(&kind, data).to_be_bytes() => {
                        return Err(format!("the PNG is damaged (wrong checksum of its {name})"));
                    }
                    Some(_) => {}
                }
                append(&mut picture, &kind, data);
            }
            _ => {}
        }
        rest = after.get(length + 4..).unwrap_or_default();
    }
    append(&mut picture, b"IEND", &[]);
    Ok(Found {
        chunks: picture,
        exif,
        more,
    })
}

fn append(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc(kind, data).to_be_bytes());
}

fn crc(kind: &[u8; 4], data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(kind);
    crc.update(data);
    crc.finalize()
}
