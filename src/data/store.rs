//! The images of a run: checked once, kept in memory as far as allowed, handed out in batches that are
//! made ready ahead of the device.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::image::{Transform, decode_bytes};
use super::origin::{ContentHash, Origin};
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
    /// What each file holds, where the store knows it: see [`ImageStore::content`].
    pub contents: Vec<Option<ContentHash>>,
}

/// How image files are opened.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// What all go through.
    pub transform: Transform,
    /// As [`decode`](super::decode) takes it.
    pub exif: bool,
    /// Bytes of crops that are kept.
    pub memory: u64,
    /// Leave out what cannot be read.
    pub skip_bad: bool,
    /// Whether an image of this content was read before and need not be decoded until its pixels are asked for; absent
    /// where contents are not asked for.
    pub known: Option<&'a Known<'a>>,
}

/// Says whether an image of this content is known to be readable.
pub type Known<'a> = dyn Fn(&ContentHash) -> bool + Sync + 'a;

/// Image files under one transform.
pub struct ImageStore {
    origins: Vec<Origin>,
    crops: Vec<OnceLock<Vec<u8>>>,
    /// Of what each file held when it was first read, where that is asked for.
    contents: Option<Vec<OnceLock<ContentHash>>>,
    transform: Transform,
    exif: bool,
    room: AtomicU64,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("transform", &self.transform)
            .field("exif", &self.exif)
            .field("memory", &self.memory)
            .field("skip_bad", &self.skip_bad)
            .finish_non_exhaustive()
    }
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
            .field("transform", &self.transform)
            .finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Reads every file once, on all cores, and keeps the crops as u8 while they fit `memory` bytes.
    /// `progress` hears of each file, and ends the reading with an error. With `skip_bad`, files that
    /// cannot be read are left out and returned with the reason; without, the first one in order is the error.
    ///
    /// # Errors
    /// As [`decode`](super::decode), [`Error::Data`] where no readable file remains, and what `progress` returned.
    pub fn open(
        paths: &[PathBuf],
        transform: Transform,
        exif: bool,
        memory: u64,
        skip_bad: bool,
        progress: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let how = Opening {
            transform,
            exif,
            memory,
            skip_bad,
            known: None,
        };
        Self::open_known(paths, &how, progress)
    }

    /// The same, but what `how` says to be known is not decoded before its pixels are asked for.
    ///
    /// # Errors
    /// As [`ImageStore::open`].
    pub fn open_known(
        paths: &[PathBuf],
        how: &Opening,
        progress: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let origins = paths.iter().cloned().map(Origin::File).collect();
        let (store, skipped) = Self::open_with(origins, how, progress)?;
        match (store.is_empty(), skipped.first()) {
            (true, Some(first)) => Err(first.alone()),
            _ => Ok((store, skipped)),
        }
    }

    /// The same of files and what stands for some; none may remain.
    ///
    /// # Errors
    /// As [`decode`](super::decode), and what `progress` returned.
    pub fn read(
        origins: Vec<Origin>,
        transform: Transform,
        exif: bool,
        memory: u64,
        skip_bad: bool,
        progress: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let how = Opening {
            transform,
            exif,
            memory,
            skip_bad,
            known: None,
        };
        Self::open_with(origins, &how, progress)
    }

    /// The same, but what `how` says to be known is not decoded before its pixels are asked for.
    ///
    /// # Errors
    /// As [`decode`](super::decode).
    pub fn open_with(
        origins: Vec<Origin>,
        how: &Opening,
        progress: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<(Arc<Self>, Vec<Skipped>)> {
        let none = || origins.iter().map(|_| OnceLock::new()).collect();
        let mut store = ImageStore {
            crops: none(),
            contents: how
                .known
                .map(|_| origins.iter().map(|_| OnceLock::new()).collect()),
            origins,
            transform: how.transform,
            exif: how.exif,
            room: AtomicU64::new(how.memory),
        };
        let done = AtomicUsize::new(0);
        // What is wrong with a file waits for those before it; what `progress` says does not.
        let read: Result<Vec<Result<()>>> = (0..store.len())
            .into_par_iter()
            .map(|index| {
                let known = how.known.unwrap_or(&|_| false);
                let result = store.crop_unless(index, known).map(drop);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1)?;
                Ok(result)
            })
            .collect();
        let mut skipped = Vec::new();
        let mut kept = Vec::new();
        for (index, result) in read?.into_iter().enumerate() {
            match result {
                Ok(()) => kept.push(index),
                Err(error) if how.skip_bad => skipped.push(Skipped {
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
        if let Some(contents) = &mut store.contents {
            *contents = kept.iter().map(|&i| contents[i].clone()).collect();
        }
        store.origins = kept.iter().map(|&i| store.origins[i].clone()).collect();
        Ok((Arc::new(store), skipped))
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// The file behind image `index`.
    pub fn path(&self, index: usize) -> &Path {
        self.origins[index].name()
    }

    /// The transform that all images go through.
    pub fn transform(&self) -> Transform {
        self.transform
    }

    /// What file `index` held when it was first read, where [`Opening::known`] asked for it.
    pub fn content(&self, index: usize) -> Option<ContentHash> {
        self.contents.as_ref()?[index].get().copied()
    }

    fn crop(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let crop = self.crop_unless(index, &|_| false)?;
        Ok(crop.expect("nothing is known of it"))
    }

    /// The crop, unless its content is `known`.
    fn crop_unless(&self, index: usize, known: &Known) -> Result<Option<Cow<'_, [u8]>>> {
        if let Some(crop) = self.crops[index].get() {
            return Ok(Some(crop.into()));
        }
        let content = self.origins[index].content()?;
        if let Some(contents) = &self.contents {
            let hash = ContentHash::of(&content);
            if *contents[index].get_or_init(|| hash) != hash {
                let problem = "has changed since this run first read it: start again";
                return Err(Error::data(self.path(index), problem));
            }
            if known(&hash) {
                return Ok(None);
            }
        }
        let decoded = decode_bytes(self.path(index), &content, self.exif)?;
        drop(content);
        let crop = self.transform.crop(&decoded);
        let bytes = crop.len() as u64;
        let reserve = |room: u64| room.checked_sub(bytes);
        if self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .is_ok()
        {
            return Ok(Some(self.crops[index].get_or_init(|| crop).into()));
        }
        Ok(Some(crop.into()))
    }

    /// One batch, decoded and normalised on all cores.
    ///
    /// # Errors
    /// As [`decode`](super::decode), where a file has changed since it was first read.
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let length = 3 * self.transform.size * self.transform.size;
        let mut pixels = vec![0.0; indices.len() * length];
        let mut crops = vec![0; indices.len() * length];
        pixels
            .par_chunks_mut(length)
            .zip(crops.par_chunks_mut(length))
            .zip(indices)
            .try_for_each(|((out, crop), &index)| {
                crop.copy_from_slice(&self.crop(index)?);
                self.transform.normalise(crop, out);
                Ok::<(), Error>(())
            })?;
        Ok(Batch {
            indices: indices.to_vec(),
            pixels,
            crops,
            contents: indices.iter().map(|&i| self.content(i)).collect(),
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
