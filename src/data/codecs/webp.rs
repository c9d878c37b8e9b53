//! WebP, lossy and lossless, of an animation the first frame: the decoder gives Pillow's bits.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder};

use super::{Picture, bounded, damaged};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |e: image::ImageError| damaged("WebP", e);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    bounded(width, height)?;
    let exif = decoder.orientation().ok();
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(Picture {
        rgb: image.into_rgb8().into_raw(),
        width,
        height,
        exif,
    })
}
