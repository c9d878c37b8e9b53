//! The images of a run: checked once, kept in memory as far as allowed, handed out in batches that are
//! made ready ahead of the device.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::augment::{Augment, Draw};
use super::image::{Decoded, Transform};
use super::origin::Origin;
use crate::error::{Error, Result};

/// Batches made ready before they are asked for.
const AHEAD: usize = 2;

/// A file that was left out, and why.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Skipped {
    /// The error where nothing but files like this one was found.
    pub fn alone(&self) -> Error {
        let problem = "this and every other image is unreadable: nothing is left to work on";
        Error::data(&self.path, problem)
    }
}

/// Normalised images of one step.
#[derive(Clone)]
pub struct Batch {
    /// Positions in the store.
    pub indices: Vec<usize>,
    /// [N, 3, size, size], normalised.
    pub pixels: Vec<f32>,
    /// The same as 8-bit samples, interleaved RGB.
    pub crops: Vec<u8>,
}

/// Image files under one transform; augmented, so many variants of each, which lie side by side.
pub struct ImageStore {
    files: Arc<Files>,
    variants: Option<Variants>,
}

/// The images, and what is kept of them.
struct Files {
    origins: Vec<Origin>,
    crops: Vec<OnceLock<Vec<u8>>>,
    /// Whole, for random parts.
    pictures: Vec<OnceLock<Decoded>>,
    transform: Transform,
    exif: bool,
    /// Bytes that may be kept yet.
    room: AtomicU64,
}

/// How the images are augmented.
struct Variants {
    augment: Augment,
    seed: u64,
    /// Of each image.
    count: usize,
}

impl fmt::Debug for Batch {
    /// Which images, not their pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("indices", &self.indices)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ImageStore {
    /// The files, not what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore")
            .field("images", &self.files.origins)
            .field("variants", &self.variants())
            .field("transform", &self.files.transform)
            .finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Reads every file once, on all cores, and keeps the crops as u8 while they fit `memory` bytes.
    /// `progress` hears of each file. With `skip_bad`, files that cannot be read are left out and
    /// returned with the reason; without, the first one in order is the error.
    ///
    /// # Errors
    /// As [`decode`](super::decode), and [`Error::Data`] where no readable file remains.
    pub fn open(
        paths: &[PathBuf],
        transform: Transform,
        exif: bool,
        memory: u64,
        skip_bad: bool,
        progress: impl Fn(usize) + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let origins = paths.iter().cloned().map(Origin::File).collect();
        let (store, skipped) = Self::read(origins, transform, exif, memory, skip_bad, progress)?;
        match (store.is_empty(), skipped.first()) {
            (true, Some(first)) => Err(first.alone()),
            _ => Ok((store, skipped)),
        }
    }

    /// The same of files and what stands for some; none may remain.
    ///
    /// # Errors
    /// As [`decode`](super::decode).
    pub fn read(
        origins: Vec<Origin>,
        transform: Transform,
        exif: bool,
        memory: u64,
        skip_bad: bool,
        progress: impl Fn(usize) + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let mut files = Files {
            crops: origins.iter().map(|_| OnceLock::new()).collect(),
            pictures: Vec::new(),
            origins,
            transform,
            exif,
            room: AtomicU64::new(memory),
        };
        let done = AtomicUsize::new(0);
        let read: Vec<Result<()>> = (0..files.origins.len())
            .into_par_iter()
            .map(|index| {
                let result = files.crop(index).map(drop);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                result
            })
            .collect();
        let mut skipped = Vec::new();
        let mut kept = Vec::new();
        for (index, result) in read.into_iter().enumerate() {
            match result {
                Ok(()) => kept.push(index),
                Err(error) if skip_bad => skipped.push(Skipped {
                    path: files.origins[index].name().into(),
                    // It is left out already.
                    reason: error.with(None).to_string(),
                }),
                Err(error) => return Err(error),
            }
        }
        files.crops = kept
            .iter()
            .map(|&i| std::mem::take(&mut files.crops[i]))
            .collect();
        files.origins = kept.iter().map(|&i| files.origins[i].clone()).collect();
        files.pictures = kept.iter().map(|_| OnceLock::new()).collect();
        let store = ImageStore {
            files: Arc::new(files),
            variants: None,
        };
        Ok((Arc::new(store), skipped))
    }

    /// The same images, `count` variants of each, drawn under `seed`: variant `k` of image `i` is [`ImageStore::position`]
    /// `(i, k)`. What is kept in memory is shared.
    ///
    /// # Errors
    /// As [`Augment::check`], and [`Error::Setting`] for none or more variants than can be counted.
    pub fn augmented(&self, augment: Augment, seed: u64, count: usize) -> Result<Arc<Self>> {
        augment.check()?;
        let images = self.files.origins.len();
        if count == 0 || images.checked_mul(count).is_none() {
            let problem = format!("must be between 1 and {}", usize::MAX / images.max(1));
            return Err(Error::setting("cache_variants", problem));
        }
        Ok(Arc::new(ImageStore {
            files: self.files.clone(),
            variants: Some(Variants {
                augment,
                seed,
                count,
            }),
        }))
    }

    /// The number of images, each variant counted.
    pub fn len(&self) -> usize {
        self.files.origins.len() * self.variants()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Variants of each image; 1 where they are not augmented.
    pub fn variants(&self) -> usize {
        self.variants.as_ref().map_or(1, |variants| variants.count)
    }

    /// Where variant `variant` of the image number `image` stands; beyond the last one the first follows.
    pub fn position(&self, image: usize, variant: usize) -> usize {
        image * self.variants() + variant % self.variants()
    }

    /// The number of the image at `index`, its variants counted as one.
    pub fn image(&self, index: usize) -> usize {
        index / self.variants()
    }

    /// The file behind image `index`.
    pub fn path(&self, index: usize) -> &Path {
        self.files.origins[self.image(index)].name()
    }

    /// The transform that all images go through.
    pub fn transform(&self) -> Transform {
        self.files.transform
    }

    /// One batch, decoded and normalised on all cores.
    ///
    /// # Errors
    /// As [`decode`](super::decode), where a file has changed since it was first read.
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let transform = self.transform();
        let length = 3 * transform.size * transform.size;
        let images: Vec<&[usize]> = indices
            .chunk_by(|&a, &b| self.image(a) == self.image(b))
            .collect();
        let crops: Vec<Vec<u8>> = images
            .into_par_iter()
            .map(|same| self.crops(same))
            .collect::<Result<_>>()?;
        let crops = crops.concat();
        let mut pixels = vec![0.0; crops.len()];
        pixels
            .par_chunks_mut(length)
            .zip(crops.par_chunks(length))
            .for_each(|(out, crop)| transform.normalise(crop, out));
        Ok(Batch {
            indices: indices.to_vec(),
            pixels,
            crops,
        })
    }

    /// The crops at `indices`, which are of one image: it is decoded once.
    fn crops(&self, indices: &[usize]) -> Result<Vec<u8>> {
        let (files, image) = (&self.files, self.image(indices[0]));
        let Some(variants) = &self.variants else {
            return Ok(files.crop(image)?.repeat(indices.len()));
        };
        let name = known_as(files.origins[image].name());
        let draw = |index: usize, size: [usize; 2]| {
            let which = Draw {
                seed: variants.seed,
                name: &name,
                variant: index % variants.count,
            };
            variants.augment.draw(which, size)
        };
        let side = files.transform.size;
        let mut crops = Vec::with_capacity(indices.len() * 3 * side * side);
        if variants.augment.crop.is_some() {
            let picture = files.picture(image)?;
            for &index in indices {
                let drawn = draw(index, [picture.width, picture.height]);
                crops.extend(drawn.of(&picture, files.transform));
            }
            return Ok(crops);
        }
        // Always the middle, which is kept.
        let middle = files.crop(image)?;
        for &index in indices {
            let first = crops.len();
            crops.extend_from_slice(&middle);
            draw(index, [side; 2]).change(&mut crops[first..], side);
        }
        Ok(crops)
    }

    /// The given batches in order, made ready on another thread a few ahead of the reader.
    pub fn batches(self: &Arc<Self>, order: Vec<Vec<usize>>) -> Receiver<Result<Batch>> {
        let (sender, receiver) = sync_channel(AHEAD);
        let store = self.clone();
        std::thread::spawn(move || {
            for indices in order {
                // A reader that is gone wants no more.
                if sender.send(store.batch(&indices)).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

impl Files {
    /// The middle of image `index`.
    fn crop(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        if let Some(crop) = self.crops[index].get() {
            return Ok(crop.into());
        }
        let crop = self.transform.crop(&self.origins[index].decode(self.exif)?);
        if !self.reserve(crop.len()) {
            return Ok(crop.into());
        }
        Ok(self.crops[index].get_or_init(|| crop).into())
    }

    /// The whole of it.
    fn picture(&self, index: usize) -> Result<Cow<'_, Decoded>> {
        if let Some(picture) = self.pictures[index].get() {
            return Ok(Cow::Borrowed(picture));
        }
        let picture = self.origins[index].decode(self.exif)?;
        if !self.reserve(picture.rgb.len()) {
            return Ok(Cow::Owned(picture));
        }
        Ok(Cow::Borrowed(self.pictures[index].get_or_init(|| picture)))
    }

    /// Takes `bytes` of the room, where there are so many.
    fn reserve(&self, bytes: usize) -> bool {
        let rest = |room: u64| room.checked_sub(bytes as u64);
        self.room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest)
            .is_ok()
    }
}

/// What a picture's variants are drawn by: its folder and its name, which other pictures beside it, their order and where
/// the data lie do not change.
fn known_as(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).collect();
    let parts: Vec<_> = parts
        .iter()
        .rev()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}
