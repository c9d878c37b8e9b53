//! WebP, lossy and lossless, of an animation the first frame: the decoder gives Pillow's bits.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder};

use super::picture::{Lost, Picture, bounded, damaged, transparent};

pub(super) fn read(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |e: image::ImageError| damaged("WebP", e);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    bounded(width, height)?;
    let exif = decoder.orientation().ok();
    let more = decoder.has_animation();
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
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
