//! What can be wrong with a dataset, and how much it matters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How much a fault matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training would refuse the data, or what it learns or says of itself would be wrong.
    Error,
    /// Likely not what was meant.
    Warning,
    /// Good to know.
    Note,
}

/// A kind of fault, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The dataset, or a folder in it, is refused or cannot be listed.
    Folder,
    /// Folders whose names are no classes, or not all of one kind.
    UnknownClass,
    /// One class, and nothing to tell it from.
    OneClass,
    /// A class without pictures.
    EmptyClass,
    /// A class of one's own with fewer pictures that can be read than it takes.
    FewPictures,
    /// A picture that cannot be read.
    Unreadable,
    /// A picture whose end is missing.
    Cut,
    /// The same picture in two classes.
    Contradiction,
    /// The same picture to train with and to validate with.
    Leak,
    /// A class to validate with that is not trained.
    UnknownInValidation,
    /// Names of classes that differ in case, `_`, `-` and spaces alone, or folders that mean the same class.
    ClashingClasses,
    /// Names of classes with characters that are not seen as what they are.
    OddNames,
    /// Class folders that hold the same folders: a folder too far up.
    FolderAbove,
    /// Classes of very different sizes.
    Imbalance,
    /// A class that is grey where another one is coloured.
    GreyClass,
    /// A class that is not validated.
    MissingInValidation,
    /// Nearly the same picture to train with and to validate with.
    NearLeak,
    /// The same picture twice.
    Duplicate,
    /// Nearly the same picture twice.
    NearDuplicate,
    /// A picture of one colour.
    Blank,
    /// A picture that EXIF says is to be turned, and is not.
    Turned,
    /// A picture with transparent pixels.
    Transparent,
    /// A picture of so few pixels that nothing can be seen.
    Tiny,
    /// A picture that is in no class folder.
    Loose,
    /// A picture whose file is not named like one.
    NotNamed,
    /// A link that leads nowhere, or back.
    DeadLink,
    /// A picture of another format than its file is named.
    WrongEnding,
    /// A picture of so many pixels that reading it takes long.
    Huge,
    /// A picture of which the middle square shows little.
    Long,
    /// A picture that is smaller than its crop.
    Small,
    /// A picture of 16 bits a sample.
    SixteenBit,
    /// A file of several pictures.
    Animated,
    /// A picture of inks (CMYK).
    Inks,
    /// A file that is no picture.
    Junk,
}

impl Fault {
    /// How much it matters.
    pub fn severity(self) -> Severity {
        // They are declared in this order.
        match self {
            _ if self < Fault::ClashingClasses => Severity::Error,
            _ if self < Fault::WrongEnding => Severity::Warning,
            _ => Severity::Note,
        }
    }
}

/// Where a fault was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file or folder.
    pub path: PathBuf,
    /// Others that it is about too.
    pub with: Vec<PathBuf>,
    /// What was found there, to be read after the path; may be empty.
    pub says: String,
}

/// All places of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub fault: Fault,
    /// One or more, in the order of the dataset.
    pub places: Vec<Place>,
}

/// Findings as they come.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<Fault, Vec<Place>>);

impl Findings {
    pub(super) fn add(&mut self, fault: Fault, path: &Path, says: impl Into<String>) {
        self.add_with(fault, path, Vec::new(), says);
    }

    pub(super) fn add_with(
        &mut self,
        fault: Fault,
        path: &Path,
        with: Vec<PathBuf>,
        says: impl Into<String>,
    ) {
        let (path, says) = (path.to_path_buf(), says.into());
        self.0
            .entry(fault)
            .or_default()
            .push(Place { path, with, says });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0
            .keys()
            .any(|fault| fault.severity() == Severity::Error)
    }

    /// All of them, the worst first.
    pub(super) fn all(self) -> Vec<Finding> {
        let findings = self.0.into_iter();
        findings
            .map(|(fault, places)| Finding { fault, places })
            .collect()
    }
}
