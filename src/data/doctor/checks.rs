//! What a dataset is examined for.

use std::path::Path;

use crate::data::dataset::Labels;
use crate::world::World;

/// What is to be examined, and how it is to be trained on.
#[derive(Clone, Debug)]
pub struct Checks<'a> {
    /// The dataset.
    pub data: &'a Path,
    /// One to validate with.
    pub validation: Option<&'a Path>,
    /// What the folders are named by.
    pub labels: Labels,
    /// Pictures are turned as EXIF says.
    pub exif: bool,
    /// Side of the crop.
    pub size: usize,
    /// With whom the pictures are shared: each rank reads its part of them.
    pub world: Option<&'a World>,
}
