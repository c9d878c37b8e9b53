//! One image file to normalised input: torchvision's `Resize(256)`, `CenterCrop(224)`, `ToTensor`,
//! `Normalize`, for any size of the crop.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use super::codecs::{self, Format, Picture};
use super::resize::resize_window;
use crate::error::{Error, Remedy, Result};
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// ImageNet's channel means and deviations, which torchvision's models expect.
pub(crate) const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
pub(crate) const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Whether `path` is named like an image.
pub fn is_image(path: &Path) -> bool {
    Format::named(path).is_some()
}

/// An RGB image, 8 bits a sample, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Interleaved samples.
    pub rgb: Vec<u8>,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The most bytes of a file: 89 million pixels of four samples of 16 bits, and as much again.
pub(super) const LARGEST: u64 = 1400 << 20;

/// Words that a file has a say in, as many as a person reads.
fn shortened(mut problem: String) -> String {
    const MOST: usize = 300;
    if let Some((end, _)) = problem.char_indices().nth(MOST) {
        problem.truncate(end);
        problem.push('…');
    }
    problem
}

/// Reads an image as Pillow's `convert("RGB")` does: grey repeated, palettes looked up, alpha dropped; of
/// an animation the first frame; a TIFF turned as its orientation says. What a file is, its content decides
/// and not its name. `exif` turns other formats the way their EXIF orientation says.
///
/// # Errors
/// [`Error::Io`] and [`Error::Data`], naming the file: empty, no image, damaged or cut off, of a kind that
/// is not read, or larger than 89 million pixels (refused before it is decoded).
pub fn decode(path: &Path, exif: bool) -> Result<Decoded> {
    decode_bytes(path, &content(path)?, exif)
}

/// The content of a file that may be an image.
pub(super) fn content(path: &Path) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "open"))?;
    if !metadata.is_file() {
        return Err(bad(path, "it is no regular file".into()));
    }
    check_size(path, metadata.len())?;
    fs::read(path).map_err(Error::io(path, "open"))
}

/// The same of a file's content; `name` is what errors call it.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(name: &Path, bytes: &[u8], exif: bool) -> Result<Decoded> {
    let picture = parse(name, bytes)?;
    Ok(match picture.exif.filter(|_| exif) {
        Some(turn) => picture.turned(turn).into(),
        None => picture.into(),
    })
}

/// The picture with what its file says of it.
pub(super) fn parse(name: &Path, bytes: &[u8]) -> Result<Picture> {
    check_size(name, bytes.len() as u64)?;
    // A decoder that panics over a file that nobody thought of costs that file and not the run.
    let read = catch_unwind(|| codecs::read(bytes));
    let read =
        read.unwrap_or_else(|_| Err("it is damaged in a way that its decoder fails over".into()));
    read.map_err(|problem| bad(name, shortened(problem)))
}

impl From<Picture> for Decoded {
    fn from(picture: Picture) -> Self {
        Decoded {
            rgb: picture.rgb,
            width: picture.width as usize,
            height: picture.height as usize,
        }
    }
}

fn bad(name: &Path, problem: String) -> Error {
    Error::data(name, problem).with(Remedy::LeaveOut)
}

/// No picture has more bytes.
fn check_size(name: &Path, bytes: u64) -> Result<()> {
    match bytes > LARGEST {
        true => Err(bad(
            name,
            format!(
                "{} MiB are more than the {} of a picture",
                bytes >> 20,
                LARGEST >> 20
            ),
        )),
        false => Ok(()),
    }
}

/// Raised with every change of a reader's, of [`Transform::crop`]'s or of [`Transform::normalise`]'s numbers: what was made
/// of images by another is not what this one makes of them.
pub(crate) const TRANSFORM_VERSION: u32 = 1;

/// Resize, crop and normalise to a square of `size` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Side of the crop; 224 is torchvision's.
    pub size: usize,
}

impl Transform {
    /// The side that the shorter side is resized to: 256 for a crop of 224.
    pub fn resized(self) -> usize {
        (self.size * 256 + 112) / 224
    }

    /// The crop, interleaved RGB: short side to [`Transform::resized`] (the long side truncated), then the
    /// middle square, where `(length - size) / 2` is rounded with ties to even.
    pub fn crop(self, image: &Decoded) -> Vec<u8> {
        let short = self.resized();
        let (width, height) = match (image.width, image.height) {
            (w, h) if w <= h => (short, (short * h) / w),
            (w, h) => ((short * w) / h, short),
        };
        let margin =
            |length: usize| ((length as f64 - self.size as f64) / 2.0).round_ties_even() as usize;
        // The short side is no shorter than the crop, so that no pixel is missing.
        let (left, top) = (margin(width), margin(height));
        let window = [left..left + self.size, top..top + self.size];
        resize_window(
            &image.rgb,
            [image.width, image.height],
            [width, height],
            window,
        )
    }

    /// The image file at `path` as the network takes it: [1, 3, size, size].
    ///
    /// # Errors
    /// As [`decode`], and what the device reported.
    pub fn open(self, gpu: &Gpu, path: &Path) -> Result<Tensor> {
        let mut pixels = vec![0.0; 3 * self.size * self.size];
        self.normalise(&self.crop(&decode(path, false)?), &mut pixels);
        Tensor::from_slice(gpu, [1, 3, self.size, self.size], &pixels)
    }

    /// What each 8-bit sample of a channel becomes.
    pub(crate) fn table() -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|sample| {
                (sample as f32 / 255.0 - MEAN[channel]) / DEVIATION[channel]
            })
        })
    }

    /// `crop` as planes [3, size, size]: `(sample / 255 - mean) / deviation`, in f32 as PyTorch does it.
    pub fn normalise(self, crop: &[u8], out: &mut [f32]) {
        let plane = self.size * self.size;
        for (channel, table) in Self::table().iter().enumerate() {
            for (out, pixel) in out[channel * plane..(channel + 1) * plane]
                .iter_mut()
                .zip(crop.chunks_exact(3))
            {
                *out = table[usize::from(pixel[channel])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_of_224_is_cut_from_256() {
        assert_eq!(Transform { size: 224 }.resized(), 256);
        assert_eq!(Transform { size: 32 }.resized(), 37);
    }

    #[test]
    fn endings_are_known_in_any_case() {
        for name in ["a.PNG", "b.jpeg", "c.d.webp", "e.TIF"] {
            assert!(is_image(Path::new(name)), "{name}");
        }
        for name in ["a", "b.txt", ".png", "c.png.bak"] {
            assert!(!is_image(Path::new(name)), "{name}");
        }
    }
}
