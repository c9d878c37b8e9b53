//! Picture files to RGB as Pillow's `convert("RGB")` gives it: what a file is, by its content alone, and one
//! reader a format. A reader returns the problem in the user's words; `decode` adds the file and the remedy.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// Pixels that a file may declare: Pillow's bound against decompression bombs (1 GiB / 4 / 3).
const MAX_PIXELS: u64 = 89_478_485;

/// What a reader makes of a file.
pub(super) struct Picture {
    /// Interleaved samples, rows from the top.
    pub(super) rgb: Vec<u8>,
    /// Pixels in a row.
    pub(super) width: u32,
    /// Rows.
    pub(super) height: u32,
    /// How EXIF says that the picture is to be turned.
    pub(super) exif: Option<Orientation>,
}

impl Picture {
    /// The picture turned.
    pub(super) fn turned(self, turn: Orientation) -> Self {
        let Some(rgb) = RgbImage::from_raw(self.width, self.height, self.rgb) else {
            unreachable!("every reader fills width x height pixels");
        };
        let mut image = DynamicImage::from(rgb);
        image.apply_orientation(turn);
        Picture {
            width: image.width(),
            height: image.height(),
            rgb: image.into_rgb8().into_raw(),
            exif: None,
        }
    }
}

/// Reads a picture of any format that is known.
pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let starts = |magic: &[&[u8]]| magic.iter().any(|magic| bytes.starts_with(magic));
    if bytes.is_empty() {
        Err("the file is empty".into())
    } else if starts(&[png::SIGNATURE]) {
        png::read(bytes)
    } else if starts(&[b"\xff\xd8\xff"]) {
        jpeg::read(bytes)
    } else if starts(&[b"GIF87a", b"GIF89a"]) {
        gif::read(bytes)
    } else if starts(&[b"RIFF"]) && bytes.get(8..12) == Some(b"WEBP") {
        webp::read(bytes)
    } else if starts(&[b"BM"]) {
        bmp::read(bytes)
    } else if starts(&[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]) {
        tiff::read(bytes)
    } else {
        Err(unknown(bytes))
    }
}

/// What a file is that is none of the formats read here, and the remedy where there is one.
fn unknown(bytes: &[u8]) -> String {
    /// Names by first bytes.
    const OTHERS: [(&[u8], &str); 17] = [
        (b"\0\0\x01\0", "an ICO icon"),
        (b"\0\0\x02\0", "a CUR cursor"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL"),
        (b"\xff\x0a", "a JPEG XL"),
        (b"8BPS", "a Photoshop document"),
        (b"qoif", "a QOI picture"),
        (b"DDS ", "a DDS texture"),
        (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
        (b"#?RADIANCE", "a Radiance HDR picture"),
        (b"%PDF", "a PDF document"),
        (b"<svg", "an SVG drawing"),
        (b"P3", "a PPM picture"),
        (b"P4", "a PBM picture"),
        (b"P5", "a PGM picture"),
        (b"P6", "a PPM picture"),
    ];
    const KNOWN: &str = "not a PNG, JPEG, WebP, BMP, GIF or TIFF image";
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).to_lowercase();
    let other = OTHERS.iter().find(|(magic, _)| bytes.starts_with(magic));
    match (other, bytes.get(4..8), bytes.get(8..12)) {
        (Some((_, name)), ..) => format!("{KNOWN} but {name}: save it as PNG"),
        (_, Some(b"ftyp"), Some(b"avif" | b"avis")) => {
            format!("{KNOWN} but an AVIF picture: save it as PNG")
        }
        (_, Some(b"ftyp"), Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1")) => {
            format!("{KNOWN} but a HEIC picture: save it as PNG")
        }
        (_, Some(b"ftyp"), _) => format!("{KNOWN} but a video"),
        _ if start.starts_with("version https://git-lfs") => {
            format!("{KNOWN} but a pointer of Git LFS: fetch the file with `git lfs pull`")
        }
        _ if start.starts_with("<!doctype html") || start.starts_with("<html") => {
            format!("{KNOWN} but a web page: the download did not fetch the picture")
        }
        _ => KNOWN.into(),
    }
}

/// Refuses a picture of no pixels, or of so many that decoding it could take all memory.
fn bounded(width: u32, height: u32) -> Result<(), String> {
    match u64::from(width) * u64::from(height) {
        0 => Err(format!("the image has no pixels ({width} x {height})")),
        pixels if pixels > MAX_PIXELS => Err(format!(
            "{width} x {height} pixels are more than the {} million that are read",
            MAX_PIXELS / 1_000_000
        )),
        _ => Ok(()),
    }
}

/// A library's error about bytes that are no whole file of `format`.
fn damaged(format: &str, error: impl std::fmt::Display) -> String {
    format!("the {format} is damaged ({error})")
}

/// Interleaved 8-bit samples of grey, grey and alpha, RGB, or RGB and alpha as RGB; alpha is dropped.
fn rgb(samples: Vec<u8>, channels: usize) -> Vec<u8> {
    match channels {
        3 => samples,
        1 | 2 => samples
            .chunks_exact(channels)
            .flat_map(|pixel| [pixel[0]; 3])
            .collect(),
        _ => samples
            .chunks_exact(channels)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_refused_by_name() {
        for (bytes, words) in [
            (&b"\0\0\x01\0\x01\0"[..], "ICO icon: save it as PNG"),
            (b"\0\0\0\x20ftypavif\0\0", "AVIF"),
            (b"\0\0\0\x20ftypheic\0\0", "HEIC"),
            (b"\0\0\0\x20ftypisom\0\0", "a video"),
            (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
            (b"P6 1 1 255\n...", "PPM"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"words", "not a PNG"),
            (b"", "empty"),
        ] {
            let error = read(bytes).map(|_| ()).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn no_pixels_and_too_many_are_refused() {
        assert!(bounded(1, 1).is_ok() && bounded(9459, 9459).is_ok());
        assert!(bounded(0, 9).is_err() && bounded(9460, 9460).is_err());
        assert!(bounded(u32::MAX, u32::MAX).is_err());
    }
}
