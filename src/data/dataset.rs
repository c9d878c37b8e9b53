//! A dataset is a folder with one folder a category: `DATA/<category>/<image>`.

use std::fs;
use std::path::{Path, PathBuf};

use super::categories;
use super::image::is_image;
use crate::error::{Error, Result};

/// One labelled image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// Index of its category.
    pub label: u32,
}

/// Labelled files in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The images.
    pub items: Vec<Item>,
    /// Hidden files and files that are not named like images, which were passed over.
    pub ignored: usize,
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
            if hidden(&entry) {
                dataset.ignored += 1;
            } else if entry.is_dir() {
                let name = entry.file_name().unwrap_or_default().to_string_lossy();
                match categories::find(&name) {
                    Some(category) => dataset.add(&entry, category.index as u32)?,
                    None => unknown.push(format!(
                        "{name:?} (nearest: {})",
                        categories::nearest(&name, 3).join(", ")
                    )),
                }
            } else {
                loose += usize::from(is_image(&entry));
                dataset.ignored += 1;
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
        let before = self.items.len();
        for path in list(folder)? {
            if !hidden(&path) && is_image(&path) && path.is_file() {
                self.items.push(Item { path, label });
            } else {
                self.ignored += 1;
            }
        }
        if self.items.len() == before {
            return Err(Error::data(
                folder,
                "this category has no images (PNG, JPEG, WebP, BMP, GIF, TIFF). Add some or remove the folder",
            ));
        }
        Ok(())
    }
}

/// The entries of a folder in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "list"))?;
    let mut paths = entries
        .map(|entry| Ok(entry.map_err(Error::io(folder, "list"))?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
