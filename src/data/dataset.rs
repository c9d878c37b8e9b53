//! A dataset is a folder with one folder a category, read as torchvision's `ImageFolder` reads it:
//! `DATA/<category>/<image>`, with any folders between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::categories;
use super::classes::Classes;
use super::image::is_image;
use super::walk::{Kind, LeftOut, images_below, kind, list};
use crate::error::{Error, Remedy, Result};

/// One labelled image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Index of its category.
    pub label: u32,
}

/// What the folders of a dataset are named by.
#[derive(Clone, Debug)]
pub enum Labels {
    /// The base's classes, these, where all folders are named by them; classes of their own where none is.
    Auto(Classes),
    /// ImageNet's categories.
    ImageNet,
    /// Each folder is a class of its own name.
    Own,
    /// ImageNet's categories where a folder is named by one, and new classes behind them.
    BehindImageNet,
    /// Each folder is a class of its own name, behind ImageNet's categories.
    OwnBehindImageNet,
    /// These classes.
    Of(Classes),
}

/// The least images of a class of one's own: one to learn from and one to see whether it was.
pub(super) const LEAST: usize = 2;

/// Labelled files in `ImageFolder`'s order: categories by name, see [`images_below`].
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The images.
    pub items: Vec<Item>,
    /// What the labels mean.
    pub classes: Classes,
    /// What lies in the folder and was passed over.
    pub left_out: LeftOut,
    /// The first label of the classes that are new here, which need [`LEAST`] images each.
    new: usize,
}

impl Dataset {
    /// Lists `folder`, whose folders `labels` says the names of.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be listed; [`Error::Data`] for unknown or ambiguous names (all of them), folders of
    /// which some are categories and some are not, a class without images or, of one's own, with one, or fewer than
    /// two of those, or no folder at all.
    pub fn open(folder: &Path, labels: &Labels) -> Result<Self> {
        let (folders, mut left_out) = folders(folder)?;
        let names: Vec<String> = folders
            .iter()
            .map(|path| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into()
            })
            .collect();
        let Named {
            classes,
            indices,
            new,
        } = name(&names, labels).map_err(|wrong| match wrong.ambiguous {
            true => Error::data(folder, wrong.problem).with(Remedy::SayClasses),
            false => Error::data(folder, wrong.problem),
        })?;
        let mut items = Vec::new();
        for (path, &index) in folders.iter().zip(&indices) {
            let images = images_below(path, &mut left_out)?;
            if images.is_empty() {
                return Err(Error::data(
                    path,
                    "this category has no images (PNG, JPEG, WebP, BMP, GIF, TIFF). Add some or remove the folder",
                ));
            }
            if index >= new && images.len() < LEAST {
                return Err(few(path, images.len()));
            }
            let label = index as u32;
            items.extend(images.into_iter().map(|path| Item { path, label }));
        }
        Ok(Dataset {
            items,
            classes,
            left_out,
            new,
        })
    }

    /// Leaves out the images that `keep` does not want: those that cannot be read.
    ///
    /// # Errors
    /// [`Error::Data`] where a class of one's own in `folder` has too few images left to be learned.
    pub fn retain(&mut self, folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<()> {
        let before = self.counts();
        self.items.retain(|item| keep(&item.path));
        let after = self.counts();
        for (label, _) in before {
            let left = after.get(&label).copied().unwrap_or(0);
            if label as usize >= self.new && left < LEAST {
                return Err(few(&folder.join(self.classes.name(label as usize)), left));
            }
        }
        Ok(())
    }

    /// The number of images of each class that has some.
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for item in &self.items {
            *counts.entry(item.label).or_default() += 1;
        }
        counts
    }
}

fn few(folder: &Path, images: usize) -> Error {
    let problem = format!(
        "this class has {images} {} that can be read, and needs at least {LEAST}. Add some or remove the folder",
        if images == 1 { "image" } else { "images" }
    );
    Error::data(folder, problem)
}

/// The category folders in a dataset's folder, and what else lies there.
fn folders(folder: &Path) -> Result<(Vec<PathBuf>, LeftOut)> {
    let (mut folders, mut left_out, mut loose) = (Vec::new(), LeftOut::default(), 0);
    for entry in list(folder)? {
        match kind(&entry) {
            Kind::Folder => folders.push(entry),
            Kind::File => {
                loose += usize::from(is_image(&entry));
                left_out.add(entry, "not in a category folder");
            }
            Kind::Other(reason) => left_out.add(entry, reason),
        }
    }
    if folders.is_empty() {
        let hint = match loose {
            0 => "no category folder was found".into(),
            _ => format!(
                "{loose} images lie here and not in category folders; pass the folder above this one, or move them"
            ),
        };
        return Err(Error::data(
            folder,
            format!("{hint}. Expected {}/<category>/<image>", folder.display()),
        ));
    }
    Ok((folders, left_out))
}

/// What folders are labelled with.
pub(super) struct Named {
    pub(super) classes: Classes,
    /// The index of each folder's class.
    pub(super) indices: Vec<usize>,
    /// The first class that is new here, and needs [`LEAST`] images.
    pub(super) new: usize,
}

/// Why folders cannot be labelled.
pub(super) struct Wrong {
    pub(super) problem: String,
    /// Saying which classes are meant would help.
    ambiguous: bool,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Wrong {
            problem: error.to_string(),
            ambiguous: false,
        }
    }
}

/// The classes that folders of these names are labelled with.
pub(super) fn name(names: &[String], labels: &Labels) -> Result<Named, Wrong> {
    let (classes, indices) = indexed(names, labels)?;
    let new = match labels {
        Labels::Of(known) | Labels::Auto(known) if *known == classes => classes.len(),
        _ => classes.from_imagenet(),
    };
    Ok(Named {
        classes,
        indices,
        new,
    })
}

/// The classes, and the index of each folder's.
fn indexed(names: &[String], labels: &Labels) -> Result<(Classes, Vec<usize>), Wrong> {
    let wrong = |problem: String| Wrong {
        problem,
        ambiguous: false,
    };
    let imagenet = Classes::imagenet();
    let all_of = |classes: &Classes| {
        let indices = all_found(names, classes).map_err(wrong)?;
        Ok((classes.clone(), indices))
    };
    match labels {
        Labels::Of(classes) => all_of(classes),
        Labels::ImageNet => all_of(&imagenet),
        Labels::Own => Ok(own(names)?),
        Labels::OwnBehindImageNet => {
            let (classes, indices) = own(names)?;
            let classes = classes.behind_imagenet()?;
            let first = classes.from_imagenet();
            Ok((
                classes,
                indices.into_iter().map(|index| first + index).collect(),
            ))
        }
        Labels::BehindImageNet => {
            // A name that means one of two categories is no new one.
            let known = |name: &String| !matches!(imagenet.find(name), Ok(None));
            let new: Vec<String> = names.iter().filter(|name| !known(name)).cloned().collect();
            if new.is_empty() {
                return Err(wrong(
                    "all folders are categories of ImageNet's, and none is a class to add behind them".into(),
                ));
            }
            let classes = Classes::own(new)?.behind_imagenet()?;
            let indices = all_found(names, &classes).map_err(wrong)?;
            Ok((classes, indices))
        }
        Labels::Auto(base) => {
            let indices = base.from_imagenet() > 0;
            let numbers = |name: &String| name.bytes().all(|b| b.is_ascii_digit());
            if indices && names.iter().all(numbers) {
                return Err(Wrong {
                    problem: "all folders are named by numbers, which may be indices of ImageNet's categories or names of \
                              your own"
                        .into(),
                    ambiguous: true,
                });
            }
            let known = |name: &&String| !matches!(base.find(name), Ok(None));
            let (known, other): (Vec<&String>, Vec<&String>) = names.iter().partition(known);
            let (kind, say): (_, fn(&String) -> String) = match base.is_imagenet() {
                true => ("categories of ImageNet's", |name| with_nearest(name)),
                false => ("the base's classes", |name| format!("{name:?}")),
            };
            match (known.is_empty(), other.is_empty()) {
                (true, _) => Ok(own(names)?),
                (_, true) => all_of(base),
                _ => Err(Wrong {
                    problem: format!(
                        "some folders are {kind} ({}) and some are not ({}), to be renamed where they are meant as such",
                        shown(&known, |name| name.clone()),
                        shown(&other, say)
                    ),
                    ambiguous: true,
                }),
            }
        }
    }
}

/// Each name as a class of its own.
fn own(names: &[String]) -> Result<(Classes, Vec<usize>)> {
    if let [only] = names {
        return Err(Error::Usage(format!(
            "there is one class, {only:?}, and nothing to tell it from: add a folder of images of something else"
        )));
    }
    let classes = Classes::own(names.to_vec())?;
    Ok((classes, (0..names.len()).collect()))
}

/// The index of each name among `classes`, or what is wrong with those that are not there.
fn all_found(names: &[String], classes: &Classes) -> Result<Vec<usize>, String> {
    let (mut indices, mut unknown, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match classes.find(name) {
            Ok(Some(index)) => indices.push(index),
            Ok(None) => unknown.push(name),
            Err(several) => unclear.push(format!("{name:?} ({})", several.join(" or "))),
        }
    }
    if !unclear.is_empty() {
        return Err(format!(
            "it does not say which category is meant by {}. Name it to the letter",
            unclear.join("; ")
        ));
    }
    match unknown.is_empty() {
        true => Ok(indices),
        false if classes.is_imagenet() => Err(format!(
            "no category is called {}. Name each folder by torchvision's name, its WordNet id or its index",
            shown(&unknown, |name| with_nearest(name))
        )),
        false => Err(format!(
            "no class is called {}; there are {}",
            shown(&unknown, |name| format!("{name:?}")),
            shown(&classes.names().iter().collect::<Vec<_>>(), |name| name
                .clone())
        )),
    }
}

fn with_nearest(name: &str) -> String {
    format!(
        "{name:?} (nearest: {})",
        categories::nearest(name, 3).join(", ")
    )
}

/// A list as long as a person reads.
fn shown(names: &[&String], say: impl Fn(&String) -> String) -> String {
    const SHOWN: usize = 12;
    let first: Vec<String> = names.iter().take(SHOWN).map(|name| say(name)).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => first.join("; "),
        more => format!("{}; and {more} more", first.join("; ")),
    }
}
