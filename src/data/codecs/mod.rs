//! Picture files to RGB as Pillow's `convert("RGB")` gives it: what a file is, by its content alone, and one
//! reader a format. A reader returns the problem in the user's words; `decode` adds the file and the remedy.

mod bmp;
mod gif;
mod jpeg;
mod picture;
mod png;
mod tiff;
mod webp;

use std::path::Path;

pub(in crate::data) use picture::Picture;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Format {
    Png,
    Jpeg,
    Gif,
    WebP,
    Bmp,
    Tiff,
}

impl Format {
    /// Of a file that starts so.
    pub(in crate::data) fn of(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[&[u8]]| magic.iter().any(|magic| bytes.starts_with(magic));
        if starts(&[png::SIGNATURE]) {
            Some(Format::Png)
        } else if starts(&[b"\xff\xd8\xff"]) {
            Some(Format::Jpeg)
        } else if starts(&[b"GIF87a", b"GIF89a"]) {
            Some(Format::Gif)
        } else if starts(&[b"RIFF"]) && bytes.get(8..12) == Some(b"WEBP") {
            Some(Format::WebP)
        } else if starts(&[b"BM"]) {
            Some(Format::Bmp)
        } else if starts(&[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]) {
            Some(Format::Tiff)
        } else {
            None
        }
    }

    /// Of files that are named so.
    pub(in crate::data) fn named(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        let all = [
            Format::Png,
            Format::Jpeg,
            Format::Gif,
            Format::WebP,
            Format::Bmp,
            Format::Tiff,
        ];
        all.into_iter()
            .find(|format| format.names().1.contains(&&*ending))
    }

    /// Its name, and the endings of its files in lower case, the usual one first.
    pub(in crate::data) fn names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Format::Png => ("PNG", &["png"]),
            Format::Jpeg => ("JPEG", &["jpg", "jpeg", "jpe", "jfif"]),
            Format::Gif => ("GIF", &["gif"]),
            Format::WebP => ("WebP", &["webp"]),
            Format::Bmp => ("BMP", &["bmp"]),
            Format::Tiff => ("TIFF", &["tif", "tiff"]),
        }
    }
}

/// Reads a picture of any format that is known.
pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    match Format::of(bytes) {
        Some(Format::Png) => png::read(bytes),
        Some(Format::Jpeg) => jpeg::read(bytes),
        Some(Format::Gif) => gif::read(bytes),
        Some(Format::WebP) => webp::read(bytes),
        Some(Format::Bmp) => bmp::read(bytes),
        Some(Format::Tiff) => tiff::read(bytes),
        None if bytes.is_empty() => Err("the file is empty".into()),
        None => Err(unknown(bytes)),
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

#[cfg(test)]
mod tests {
    use super::read;

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
}
