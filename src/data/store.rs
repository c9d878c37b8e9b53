//! The images of a run: checked once, kept in memory as far as allowed, handed out in batches that are
//! made ready ahead of the device.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::image::{Decoded, Transform};
use super::origin::Origin;
use super::variants::{Augmented, Variants, known_as};
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

/// Image files under one transform, and where they are augmented so many variants of each: images have the first positions,
/// the first variants of all those behind them, and so on.
#[derive(Clone)]
pub struct ImageStore {
    origins: Vec<Origin>,
    crops: Vec<OnceLock<Vec<u8>>>,
    /// Whole ones, where variants take other parts than the middle.
    pictures: Vec<OnceLock<Decoded>>,
    augmented: Option<Augmented>,
    transform: Transform,
    exif: bool,
    /// Bytes that may be kept yet.
    room: Arc<AtomicU64>,
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
            .field("images", &self.origins)
            .field("augmented", &self.augmented)
            .field("transform", &self.transform)
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
        let mut store = ImageStore {
            crops: origins.iter().map(|_| OnceLock::new()).collect(),
            origins,
            pictures: Vec::new(),
            augmented: None,
            transform,
            exif,
            room: Arc::new(AtomicU64::new(memory)),
        };
        let done = AtomicUsize::new(0);
        let read: Vec<Result<()>> = (0..store.len())
            .into_par_iter()
            .map(|index| {
                let result = store.crop(index).map(drop);
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
                    path: store.path(index).into(),
                    // It is left out already.
                    reason: error.with(None).to_string(),
                }),
                Err(error) => return Err(error),
            }
        }
        store.crops = kept
            .iter()
            .map(|&i| std::mem::take(&mut store.crops[i]))
            .collect();
        store.origins = kept.iter().map(|&i| store.origins[i].clone()).collect();
        Ok((Arc::new(store), skipped))
    }

    /// The same images with variants of those `of` them.
    ///
    /// # Errors
    /// As [`Augment::check`](super::Augment::check), and [`Error::Setting`] for none or too many variants.
    pub fn augmented(self: Arc<Self>, variants: Variants, of: &[usize]) -> Result<Arc<Self>> {
        Ok(Arc::new(ImageStore {
            pictures: vec![OnceLock::new(); self.len()],
            augmented: Some(Augmented::new(variants, self.len(), of)?),
            ..Arc::unwrap_or_clone(self)
        }))
    }

    /// The number of images, their variants not counted.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Where variant `variant` of `image` stands, or the image itself where it has none.
    pub fn position(&self, image: usize, variant: usize) -> usize {
        let augmented = self.augmented.as_ref();
        augmented.map_or(image, |augmented| augmented.position(image, variant))
    }

    /// The positions that are asked for again and again, image by image: of images that are not augmented, and of variants
    /// that have an end.
    pub fn lasting(&self) -> Vec<usize> {
        match &self.augmented {
            Some(augmented) => augmented.lasting(),
            None => (0..self.len()).collect(),
        }
    }

    /// The image at `position`, whichever variant of it.
    pub fn image(&self, position: usize) -> usize {
        position % self.len().max(1)
    }

    /// The file behind position `index`.
    pub fn path(&self, index: usize) -> &Path {
        self.origins[self.image(index)].name()
    }

    /// The transform that all images go through.
    pub fn transform(&self) -> Transform {
        self.transform
    }

    fn crop(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        if let Some(crop) = self.crops[index].get() {
            return Ok(crop.into());
        }
        let crop = self.transform.crop(&self.origins[index].decode(self.exif)?);
        match self.reserve(crop.len()) {
            true => Ok(self.crops[index].get_or_init(|| crop).into()),
            false => Ok(crop.into()),
        }
    }

    /// The whole of an image.
    fn picture(&self, image: usize) -> Result<Cow<'_, Decoded>> {
        if let Some(picture) = self.pictures[image].get() {
            return Ok(Cow::Borrowed(picture));
        }
        let picture = self.origins[image].decode(self.exif)?;
        Ok(match self.reserve(picture.rgb.len()) {
            true => Cow::Borrowed(self.pictures[image].get_or_init(|| picture)),
            false => Cow::Owned(picture),
        })
    }

    /// Takes `bytes` of the room, where there are so many.
    fn reserve(&self, bytes: usize) -> bool {
        let rest = |room: u64| room.checked_sub(bytes as u64);
        self.room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest)
            .is_ok()
    }

    /// Which variant stands at `index`; none where the image itself does.
    fn variant(&self, index: usize) -> Option<(&Augmented, usize)> {
        let variant = (index / self.len().max(1)).checked_sub(1)?;
        Some((self.augmented.as_ref()?, variant))
    }

    /// The image behind position `index`, and whether the whole of it is wanted.
    fn source(&self, index: usize) -> (usize, bool) {
        let parts = |(of, _): (&Augmented, _)| of.variants.augment.crop.is_some();
        (self.image(index), self.variant(index).is_some_and(parts))
    }

    /// The crops at `indices`, which have one source: it is decoded once.
    fn crops(&self, indices: &[usize]) -> Result<Vec<u8>> {
        let (image, whole) = self.source(indices[0]);
        let name = known_as(self.path(image));
        let which = |index: usize| {
            let (augmented, variant) = self.variant(index)?;
            let which = augmented.which(&name, variant);
            Some((augmented.variants.augment, which))
        };
        let to = self.transform;
        let mut crops = Vec::with_capacity(indices.len() * 3 * to.size * to.size);
        if whole {
            let picture = self.picture(image)?;
            for (augment, which) in indices.iter().filter_map(|&index| which(index)) {
                let drawn = augment.draw(which, [picture.width, picture.height]);
                crops.extend(drawn.of(&picture, to));
            }
            return Ok(crops);
        }
        let middle = self.crop(image)?;
        for &index in indices {
            let first = crops.len();
            crops.extend_from_slice(&middle);
            if let Some((augment, which)) = which(index) {
                let drawn = augment.draw(which, [to.size; 2]);
                drawn.change(&mut crops[first..], to.size);
            }
        }
        Ok(crops)
    }

    /// One batch, decoded and normalised on all cores.
    ///
    /// # Errors
    /// As [`decode`](super::decode), where a file has changed since it was first read.
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let length = 3 * self.transform.size * self.transform.size;
        let sources: Vec<&[usize]> = indices
            .chunk_by(|&a, &b| self.source(a) == self.source(b))
            .collect();
        let crops: Vec<Vec<u8>> = sources
            .into_par_iter()
            .map(|same| self.crops(same))
            .collect::<Result<_>>()?;
        let crops = crops.concat();
        let mut pixels = vec![0.0; crops.len()];
        pixels
            .par_chunks_mut(length)
            .zip(crops.par_chunks(length))
            .for_each(|(out, crop)| self.transform.normalise(crop, out));
        Ok(Batch {
            indices: indices.to_vec(),
            pixels,
            crops,
        })
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
