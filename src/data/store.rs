//! The images of a run: checked once, kept in memory as far as allowed.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::duplicates::Print;
use super::image::{Decoded, Transform, decode_bytes};
use super::origin::{ContentHash, Origin};
use super::variants::{Augmented, Variants, known_as};
use crate::error::{Error, Result};
use crate::world::World;

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
    /// With whom the files are shared: each rank reads its part of them, and hears what the others found.
    pub world: Option<&'a World>,
}

/// Says whether an image of this content is known to be readable.
pub type Known<'a> = dyn Fn(&ContentHash) -> bool + Sync + 'a;

/// Image files under one transform, and where they are augmented variants of them: images have the first positions, the first
/// variants those behind them, and so on.
#[derive(Clone)]
pub struct ImageStore {
    origins: Vec<Origin>,
    crops: Vec<OnceLock<Vec<u8>>>,
    /// Whole ones, where variants take other parts than the middle.
    pictures: Vec<OnceLock<Decoded>>,
    augmented: Option<Augmented>,
    /// Of the crop of each, where that was asked for.
    prints: Vec<OnceLock<Box<Print>>>,
    /// Of what each file held when it was first read, where that is asked for.
    pub(super) contents: Option<Vec<OnceLock<ContentHash>>>,
    transform: Transform,
    exif: bool,
    /// Bytes that may be kept yet.
    room: Arc<AtomicU64>,
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
            world: None,
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
            world: None,
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
            prints: vec![OnceLock::new(); origins.len()],
            origins,
            pictures: Vec::new(),
            augmented: None,
            transform: how.transform,
            exif: how.exif,
            room: Arc::new(AtomicU64::new(how.memory)),
        };
        let done = AtomicUsize::new(0);
        let own = match how.world {
            Some(world) => world.share(world.rank(), store.len(), 1),
            None => 0..store.len(),
        };
        // Where others read too, they are as far as this one is.
        let far = |done: usize| done * store.len() / own.len();
        // What is wrong with a file waits for those before it; what `progress` says does not.
        let read: Result<Vec<Result<()>>> = own
            .clone()
            .into_par_iter()
            .map(|index| {
                let known = how.known.unwrap_or(&|_| false);
                let result = store.crop_unless(index, known).map(drop);
                progress(far(done.fetch_add(1, Ordering::Relaxed) + 1))?;
                Ok(result)
            })
            .collect();
        let read = match how.world {
            Some(world) if !world.is_alone() => store.exchange(world, read?)?,
            _ => read?,
        };
        let mut skipped = Vec::new();
        let mut kept = Vec::new();
        for (index, result) in read.into_iter().enumerate() {
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
        store.prints.truncate(kept.len());
        if let Some(contents) = &mut store.contents {
            *contents = kept.iter().map(|&i| contents[i].clone()).collect();
        }
        store.origins = kept.iter().map(|&i| store.origins[i].clone()).collect();
        Ok((Arc::new(store), skipped))
    }

    /// The same images with variants of those `of` them.
    ///
    /// # Errors
    /// As [`Augment::check`](super::Augment::check), and [`Error::Setting`] for none or too many variants.
    pub fn augmented(self: Arc<Self>, variants: Variants, of: &[usize]) -> Result<Arc<Self>> {
        let augmented = Augmented::new(variants, self.len(), of)?;
        let mut store = Arc::unwrap_or_clone(self);
        // Those that are kept for other variants have their room already.
        store.pictures.resize_with(store.len(), OnceLock::new);
        store.augmented = Some(augmented);
        Ok(Arc::new(store))
    }

    /// The same images without variants.
    pub fn plain(self: Arc<Self>) -> Arc<Self> {
        match self.augmented {
            None => self,
            Some(_) => Arc::new(ImageStore {
                augmented: None,
                ..Arc::unwrap_or_clone(self)
            }),
        }
    }

    /// How they are augmented, where they are.
    pub fn variants(&self) -> Option<Variants> {
        self.augmented.as_ref().map(|augmented| augmented.variants)
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

    /// What the file behind position `index` held when it was first read, where [`Opening::known`] asked for it; of a variant,
    /// that and what it is drawn by.
    pub fn content(&self, index: usize) -> Option<ContentHash> {
        let image = self.image(index);
        let content = *self.contents.as_ref()?[image].get()?;
        Some(match self.variant(index) {
            Some((augmented, variant)) => {
                augmented.content(content, &known_as(self.path(image)), variant)
            }
            None => content,
        })
    }

    /// What tells an image, as the network sees it, from others: made once.
    ///
    /// # Errors
    /// As [`decode`](super::decode), where a file that is not kept in memory has changed since it was first read.
    pub fn print(&self, image: usize) -> Result<&Print> {
        if let Some(print) = self.prints[image].get() {
            return Ok(print);
        }
        let size = self.transform.size;
        let print = Print::of(&self.crop(image)?, size, size);
        Ok(self.prints[image].get_or_init(|| Box::new(print)))
    }

    /// Whether its print was made or [given](ImageStore::give_print).
    pub fn has_print(&self, image: usize) -> bool {
        self.prints[image].get().is_some()
    }

    /// Takes the print of an image from whoever has made it of the same content under the same transform.
    pub fn give_print(&self, image: usize, print: Print) {
        let _ = self.prints[image].set(Box::new(print));
    }

    pub(super) fn crop(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let crop = self.crop_unless(index, &|_| false)?;
        Ok(crop.expect("nothing is known of it"))
    }

    /// The crop, unless its content is `known`.
    fn crop_unless(&self, index: usize, known: &Known) -> Result<Option<Cow<'_, [u8]>>> {
        if let Some(crop) = self.crops[index].get() {
            return Ok(Some(crop.into()));
        }
        let Some(picture) = self.decode_unless(index, known)? else {
            return Ok(None);
        };
        let crop = self.transform.crop(&picture);
        Ok(Some(match self.reserve(crop.len()) {
            true => self.crops[index].get_or_init(|| crop).into(),
            false => crop.into(),
        }))
    }

    /// The whole of an image.
    pub(super) fn picture(&self, image: usize) -> Result<Cow<'_, Decoded>> {
        if let Some(picture) = self.pictures[image].get() {
            return Ok(Cow::Borrowed(picture));
        }
        let picture = self.decode_unless(image, &|_| false)?;
        let picture = picture.expect("nothing is known of it");
        Ok(match self.reserve(picture.rgb.len()) {
            true => Cow::Borrowed(self.pictures[image].get_or_init(|| picture)),
            false => Cow::Owned(picture),
        })
    }

    fn decode_unless(&self, image: usize, known: &Known) -> Result<Option<Decoded>> {
        let content = self.origins[image].content()?;
        if let Some(contents) = &self.contents {
            let hash = ContentHash::of(&content);
            if *contents[image].get_or_init(|| hash) != hash {
                let problem = "has changed since this run first read it: start again";
                return Err(Error::data(self.path(image), problem));
            }
            if known(&hash) {
                return Ok(None);
            }
        }
        decode_bytes(self.path(image), &content, self.exif).map(Some)
    }

    /// Takes `bytes` of the room, where there are so many.
    fn reserve(&self, bytes: usize) -> bool {
        let rest = |room: u64| room.checked_sub(bytes as u64);
        self.room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest)
            .is_ok()
    }

    /// Which variant stands at `index`; none where the image itself does.
    pub(super) fn variant(&self, index: usize) -> Option<(&Augmented, usize)> {
        let variant = (index / self.len().max(1)).checked_sub(1)?;
        Some((self.augmented.as_ref()?, variant))
    }
}
