//! The images of a training run: named, read, counted, and parted into those that are trained on and those that show how
//! good it is.

use std::collections::{BTreeSet, HashSet};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use goldfish::data::duplicates::leaks_between;
use goldfish::data::{Classes, ContentHash, Dataset, ImageStore, Item, Labels, split};
use goldfish::train::store::{Prints, Shelf};
use goldfish::train::{Listing, Split};
use goldfish::{Error, Result};

use super::args::{ClassesArg, Request, TrainArgs};
use crate::cli::base::Base;
use crate::cli::images;
use crate::cli::terminal::{note, plain};
use crate::cli::world::world;

/// Images with their classes.
pub(in crate::cli) struct Data {
    pub(in crate::cli) images: Arc<ImageStore>,
    /// The class of each.
    pub(in crate::cli) labels: Vec<u32>,
    /// What the labels and the logits mean.
    pub(in crate::cli) classes: Classes,
    pub(in crate::cli) split: Split,
    /// Of each, what it is called within its folder.
    names: Vec<String>,
}

/// The data with the classes that are asked for.
pub(super) fn labelled(data: &Path, args: &TrainArgs, base: &Base) -> Result<Dataset> {
    let imagenet = base.classes.is_imagenet();
    let wrong = |problem: &str| Err(Error::setting("classes", problem));
    match (args.classes, args.keep_imagenet) {
        (_, true) if !imagenet => Err(Error::setting(
            "keep_imagenet",
            "goes with a base that has ImageNet's categories, and this one has others",
        )),
        (ClassesArg::Imagenet, true) => wrong("imagenet leaves no class to add behind ImageNet's"),
        (ClassesArg::Imagenet, _) if !imagenet => wrong(
            "imagenet goes with a base that has ImageNet's categories, and this one has others",
        ),
        (ClassesArg::Auto, true) => Dataset::open(data, &Labels::BehindImageNet),
        (ClassesArg::Own, true) => Dataset::open(data, &Labels::OwnBehindImageNet),
        (ClassesArg::Imagenet, false) => Dataset::open(data, &Labels::ImageNet),
        (ClassesArg::Own, false) => Dataset::open(data, &Labels::Own),
        (ClassesArg::Auto, false) => Dataset::open(data, &Labels::Auto(base.classes.clone())),
    }
}

impl Data {
    /// Reads every image, says what was left out and leaves it out of the data.
    pub(super) fn read(
        request: &Request,
        mut dataset: Dataset,
        base: &Base,
        shelf: Option<&Shelf>,
        read: Option<Arc<ImageStore>>,
    ) -> Result<Self> {
        let args = request.settings;
        let mut apart = match &args.val {
            Some(folder) => Some((
                folder,
                Dataset::open(folder, &Labels::Of(dataset.classes.clone()))?,
            )),
            None => None,
        };
        images::tell(&dataset.left_out);
        let mut paths = paths(&dataset);
        if let Some((_, apart)) = &apart {
            images::tell(&apart.left_out);
            paths.extend(self::paths(apart));
        }
        // Of what is known of an image's content nothing is decoded before it is asked for.
        let known = |content: &ContentHash| shelf.is_some_and(|shelf| shelf.has(content));
        let images = match read {
            Some(images) => images,
            None => images::open_images(&paths, base, request.base, Some(&known))?.0,
        };
        let there: HashSet<&Path> = (0..images.len()).map(|i| images.path(i)).collect();
        let skipped = paths
            .iter()
            .filter(|path| !there.contains(path.as_path()))
            .count();
        let keep = |path: &Path| there.contains(path);
        dataset.retain(request.data, keep)?;
        if let Some((folder, apart)) = &mut apart {
            apart.retain(folder, keep)?;
            if apart.items.is_empty() {
                return Err(Error::data(folder, "none of its images can be read"));
            }
        }
        if let Some((folder, apart)) = &apart {
            let (all, there) = (dataset.counts(), apart.counts());
            let lacks = all.keys().filter(|label| !there.contains_key(label));
            let lacks: Vec<String> = lacks
                .map(|&l| plain(&dataset.classes.name(l as usize)))
                .collect();
            if let Some(first) = lacks.first() {
                note!(
                    "notice   {} has no image of {} of the {} classes ({first}...): how good those are is not measured",
                    plain(&folder.to_string_lossy()),
                    lacks.len(),
                    all.len()
                );
            }
        }
        let trained = dataset.items.len();
        let beside = apart.iter().flat_map(|(_, apart)| &apart.items);
        let items: Vec<&Item> = dataset.items.iter().chain(beside).collect();
        let labels: Vec<u32> = items.iter().map(|item| item.label).collect();
        let same = |(at, item): (usize, &&Item)| images.path(at) == item.path;
        if images.len() < items.len() || !items.iter().enumerate().all(same) {
            return Err(Error::data(
                request.data,
                "has other images than a moment ago: leave them as they are while they are trained on",
            ));
        }
        let split = match (&apart, args.val_split, args.fold) {
            (None, Some(share), _) => {
                let (train, validation) = split(&labels, share, args.seed)?;
                Split { train, validation }
            }
            (None, None, Some(fold)) => {
                let validation = fold.images(&labels, args.seed)?;
                let train = (0..trained).filter(|image| validation.binary_search(image).is_err());
                Split {
                    train: train.collect(),
                    validation,
                }
            }
            _ => Split {
                train: (0..trained).collect(),
                validation: (trained..items.len()).collect(),
            },
        };
        let folder = |index: usize| match &apart {
            Some((folder, _)) if index >= trained => folder,
            _ => request.data,
        };
        let names = items.iter().enumerate().map(|(index, item)| {
            let path = item.path.strip_prefix(folder(index)).unwrap_or(&item.path);
            // The same on every system, so that a run goes on on another.
            path.to_string_lossy().replace(MAIN_SEPARATOR, "/")
        });
        let names = names.collect();
        let paths: Vec<PathBuf> = items.iter().map(|item| item.path.clone()).collect();
        let images = match args.augment.variants(&args.plan())? {
            Some(variants) => images.augmented(variants, &split.train)?,
            // Those of another run of a sweep may have had some.
            None => images.plain(),
        };
        let data = Data {
            images,
            labels,
            split,
            names,
            classes: dataset.classes.clone(),
        };
        data.tell(&dataset, skipped);
        data.tell_leaks(&paths, shelf)?;
        Ok(data)
    }

    /// The classes of the images that are trained on, by name.
    pub(super) fn trained_on(&self) -> Vec<String> {
        let labels: BTreeSet<u32> = self.split.train.iter().map(|&i| self.labels[i]).collect();
        let names = labels.into_iter();
        names.map(|l| self.classes.name(l as usize)).collect()
    }

    /// Says how many there are.
    fn tell(&self, dataset: &Dataset, unreadable: usize) {
        let (classes, found) = (&self.classes, dataset.counts().len());
        let kind = match classes.is_imagenet() {
            true => ["category", "categories"],
            false => ["class", "classes"],
        };
        let validation = match self.split.validation.len() {
            0 => String::new(),
            n => format!(", {n} of them to validate with"),
        };
        note!(
            "data     {} images in {found} {}{}{validation}; unreadable: {unreadable}; left out: {}",
            self.images.len(),
            kind[usize::from(found != 1)],
            match classes.from_imagenet() {
                0 => " of your own",
                _ if classes.is_imagenet() => "",
                _ => ", your own behind ImageNet's",
            },
            dataset.left_out.len()
        );
    }

    /// Says which of the images to validate with are trained on too, or all but the same: they flatter it.
    fn tell_leaks(&self, paths: &[PathBuf], shelf: Option<&Shelf>) -> Result<()> {
        let Split { train, validation } = &self.split;
        if validation.is_empty() {
            return Ok(());
        }
        let (world, all) = (world(), (0..self.images.len()).collect::<Vec<_>>());
        let kept = match world.leads() {
            true => shelf.and_then(Prints::beside),
            false => None,
        };
        if let Some(mut prints) = kept {
            prints.give(&self.images, &all, &world)?;
            let damaged = prints.counts().damaged;
            if damaged > 0 {
                note!("store    {damaged} prints of pictures that were damaged were made again");
            }
            for problem in prints.notes() {
                note!("notice   {}", plain(&problem));
            }
        } else {
            self.images.make_prints(&all, &world)?;
        }
        if !world.leads() {
            return Ok(());
        }
        let leaks = leaks_between(&self.images, train, validation)?;
        let Some(first) = leaks.first() else {
            return Ok(());
        };
        let name = |path: &Path| plain(&path.to_string_lossy());
        let path = |at: usize| name(&paths[at]);
        note!(
            "leak     {} of the {} images to validate with are trained on too, or all but the same ({} and {}): what is \
             measured flatters. `goldfish doctor` lists them",
            leaks.len(),
            validation.len(),
            path(validation[first.validation]),
            path(train[first.training])
        );
        Ok(())
    }

    /// Which images these are, by their content.
    pub(super) fn listing(&self) -> Result<Listing> {
        let images = &self.images;
        let digests: Vec<String> = (0..images.len())
            .map(|index| {
                let content = images.content(index).expect("contents are asked for");
                content.to_string()
            })
            .collect();
        let named = self.names.iter().cloned().zip(digests);
        Ok(Listing::new(
            named,
            &self.labels,
            &self.classes,
            &self.split,
        ))
    }
}

fn paths(dataset: &Dataset) -> Vec<PathBuf> {
    dataset.items.iter().map(|item| item.path.clone()).collect()
}
