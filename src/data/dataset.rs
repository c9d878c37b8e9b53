//! A dataset is a folder with one folder a category, read as torchvision's `ImageFolder` reads it:
//! `DATA/<category>/<image>`, with any folders between.

use std::path::{Path, PathBuf};

use super::categories;
use super::image::is_image;
use super::walk::{Kind, LeftOut, images_below, kind, list};
use crate::error::{Error, Result};

/// One labelled image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Index of its category.
    pub label: u32,
}

/// Labelled files in `ImageFolder`'s order: categories by name, see [`images_below`].
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The images.
    pub items: Vec<Item>,
    /// What lies in the folder and was passed over.
    pub left_out: LeftOut,
}

impl Dataset {
    /// Lists `folder`. A category folder is named by torchvision's name, WordNet id or index.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be listed; [`Error::Data`] for unknown categories (all of them, with
    /// the nearest names), a category without images, or no category at all.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut dataset = Dataset::default();
        let mut loose = 0;
        let mut unknown = Vec::new();
        for entry in list(folder)? {
            match kind(&entry) {
                Kind::Folder => {
                    let name = entry.file_name().unwrap_or_default().to_string_lossy();
                    match categories::find(&name) {
                        Some(category) => dataset.add(&entry, category.index as u32)?,
                        None => unknown.push(format!(
                            "{name:?} (nearest: {})",
                            categories::nearest(&name, 3).join(", ")
                        )),
                    }
                }
                Kind::File => {
                    loose += usize::from(is_image(&entry));
                    dataset.left_out.add(entry, "not in a category folder");
                }
                Kind::Other(reason) => dataset.left_out.add(entry, reason),
            }
        }
        if !unknown.is_empty() {
            return Err(Error::data(
                folder,
                format!(
                    "no category is called {}. Name each folder by torchvision's name, its WordNet id or its index",
                    unknown.join("; ")
                ),
            ));
        }
        if dataset.items.is_empty() {
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
        Ok(dataset)
    }

    fn add(&mut self, folder: &Path, label: u32) -> Result<()> {
        let images = images_below(folder, &mut self.left_out)?;
        if images.is_empty() {
            return Err(Error::data(
                folder,
                "this category has no images (PNG, JPEG, WebP, BMP, GIF, TIFF). Add some or remove the folder",
            ));
        }
        let items = images.into_iter().map(|path| Item { path, label });
        self.items.extend(items);
        Ok(())
    }
}
