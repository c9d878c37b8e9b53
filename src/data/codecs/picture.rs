//! What every reader makes, and what they share: bounds, the words for damage, samples as RGB.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// Pixels that a file may declare: Pillow's bound against decompression bombs (1 GiB / 4 / 3).
const MAX_PIXELS: u64 = 89_478_485;

/// What a reader makes of a file.
pub(in crate::data) struct Picture {
    /// Interleaved samples, rows from the top.
    pub(in crate::data) rgb: Vec<u8>,
    /// Pixels in a row.
    pub(in crate::data) width: u32,
    /// Rows.
    pub(in crate::data) height: u32,
    /// How EXIF says that the picture is to be turned.
    pub(in crate::data) exif: Option<Orientation>,
    /// What of the file is not seen in the samples.
    pub(in crate::data) lost: Lost,
}

/// What a file has that its picture, RGB of 8 bits, does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::data) struct Lost {
    /// Samples are wider than 8 bits.
    pub(in crate::data) wide: bool,
    /// Some pixels are transparent: what lies under them is seen.
    pub(in crate::data) transparent: bool,
    /// More pictures follow the first.
    pub(in crate::data) more: bool,
    /// Its colours are inks (CMYK).
    pub(in crate::data) inks: bool,
}

impl Picture {
    /// The picture turned.
    pub(in crate::data) fn turned(self, turn: Orientation) -> Self {
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
            lost: self.lost,
        }
    }
}

/// Refuses a picture of no pixels, or of so many that decoding it could take all memory.
pub(super) fn bounded(width: u32, height: u32) -> Result<(), String> {
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
pub(super) fn damaged(format: &str, error: impl std::fmt::Display) -> String {
    format!("the {format} is damaged ({error})")
}

/// Whether some of these pixels, grey and alpha or RGB and alpha, are transparent.
pub(super) fn transparent(samples: &[u8], channels: usize) -> bool {
    matches!(channels, 2 | 4)
        && samples
            .chunks_exact(channels)
            .any(|p| p[channels - 1] < 255)
}

/// Interleaved 8-bit samples of grey, grey and alpha, RGB, or RGB and alpha as RGB; alpha is dropped.
pub(super) fn rgb(samples: Vec<u8>, channels: usize) -> Vec<u8> {
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
    use super::bounded;

    #[test]
    fn no_pixels_and_too_many_are_refused() {
        assert!(bounded(1, 1).is_ok() && bounded(9459, 9459).is_ok());
        assert!(bounded(0, 9).is_err() && bounded(9460, 9460).is_err());
        assert!(bounded(u32::MAX, u32::MAX).is_err());
    }
}
