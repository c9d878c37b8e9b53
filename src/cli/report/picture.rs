//! Pictures inside the page: thumbnails, maps and factors as data addresses.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use goldfish::data::{Transform, decode, resize};
use goldfish::train::SIDE;
use image::ExtendedColorType::Rgb8;
use image::codecs::jpeg::JpegEncoder;

/// Side of a thumbnail.
pub const THUMB: usize = 192;
/// Of the JPEGs.
const QUALITY: u8 = 80;

/// What the network sees of the file, small; `None` where it cannot be read any more.
pub fn thumbnail(path: &Path, side: usize, exif: bool) -> Option<String> {
    let picture = decode(path, exif).ok()?;
    let crop = Transform { size: side }.crop(&picture);
    match side > THUMB {
        true => jpeg(&resize(&crop, [side, side], [THUMB, THUMB]), THUMB),
        false => jpeg(&crop, side),
    }
}

/// Square RGB of `side`.
pub fn jpeg(rgb: &[u8], side: usize) -> Option<String> {
    let mut bytes = Vec::new();
    let side = u32::try_from(side).ok()?;
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.encode(rgb, side, side, Rgb8).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}

/// A map over a picture: the more there is, the warmer and the less transparent.
pub fn map(values: &[f32]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().ok()?;
    let pixels: Vec<u8> = values.iter().flat_map(|&value| colour(value)).collect();
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// From nothing through blue, green and yellow to red.
fn colour(value: f32) -> [u8; 4] {
    let level = |from: f32, to: f32| ((value - from) / (to - from)).clamp(0.0, 1.0);
    let red = level(0.4, 0.7);
    let green = level(0.1, 0.4) * (1.0 - 0.9 * level(0.7, 1.0));
    let blue = 1.0 - level(0.3, 0.6);
    let [red, green, blue, opaque] = [red, green, blue, level(0.0, 0.6)].map(|v| (v * 255.0) as u8);
    [red, green, blue, opaque]
}

#[cfg(test)]
mod tests {
    use super::colour;

    #[test]
    fn nothing_is_transparent_and_most_is_red() {
        assert_eq!(colour(0.0)[3], 0);
        let [red, green, blue, opaque] = colour(1.0);
        assert!(red == 255 && green < 60 && blue == 0 && opaque == 255);
    }
}
