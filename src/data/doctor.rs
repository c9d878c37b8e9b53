//! What is wrong with a dataset, found before it is trained on: every picture is read once, on all cores, as training would
//! read it, and whatever is wrong with one keeps no other from being looked at. No device is opened.

mod checks;
mod fault;
mod folder;
mod picture;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::dataset::Dataset;
use super::duplicates::{Alike, Likeness, Print, groups};
use crate::error::Result;
pub use checks::Checks;
use fault::Findings;
pub use fault::{Fault, Finding, Place, Severity};
use folder::Folder;
use picture::Seen;
use sharing::examine_all;

/// A class folder to train with, and how many of its pictures can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The folder's name.
    pub name: String,
    /// Pictures in it.
    pub pictures: usize,
    /// Those that can be read.
    pub readable: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// The class folders to train with.
    pub classes: Vec<Counted>,
    /// Those to validate with.
    pub validation: Vec<Counted>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|f| f.fault.severity() == severity).count()
    }
}

/// A picture of the data.
struct Item<'a> {
    path: &'a Path,
    /// Position of its folder among those of its dataset.
    folder: usize,
    label: Option<usize>,
    validates: bool,
}

/// Examines a dataset. `progress` hears how many pictures of how many were read; where `stop` is raised the rest is left. On
/// several ranks rank 0 alone is told what was found, and the others give nothing.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) where a dataset's own folder cannot be listed; [`Error::Interrupted`](crate::Error::Interrupted)
/// where it was stopped; [`Error::Rank`](crate::Error::Rank) where another rank does not find the same files, or is gone.
pub fn doctor(
    checks: &Checks,
    progress: impl Fn(usize, usize) + Sync,
    stop: &AtomicBool,
) -> Result<Examined> {
    let mut findings = Findings::default();
    let training = Folder::open(checks.data, &checks.labels, &mut findings)?;
    training.check_names(&mut findings);
    let validation = match checks.validation {
        Some(folder) => {
            let labels = training.labels(&checks.labels);
            let validation = Folder::open(folder, &labels, &mut findings)?;
            validation.check_names(&mut findings);
            training.check_validated(&validation, &mut findings);
            Some(validation)
        }
        None => None,
    };

    // Every picture, in the order of the folders.
    let folders = [Some(&training), validation.as_ref()];
    let mut items = Vec::new();
    for (validates, folder) in folders.into_iter().flatten().enumerate() {
        for (at, class) in folder.classes.iter().enumerate() {
            items.extend(class.images.iter().map(|path| Item {
                path,
                folder: at,
                label: class.label,
                validates: validates == 1,
            }));
        }
    }
    let paths: Vec<&Path> = items.iter().map(|item| item.path).collect();
    let Some(looked) = examine_all(&paths, checks, progress, stop)? else {
        return Ok(Examined::default());
    };
    let mut readable = [&training, validation.as_ref().unwrap_or(&training)]
        .map(|folder| vec![0; folder.classes.len()]);
    let (mut kept, mut prints) = (Vec::new(), Vec::new());
    let mut grey = BTreeMap::<usize, [usize; 2]>::new();
    for (item, (seen, faults)) in items.iter().zip(looked) {
        for (fault, says) in faults {
            findings.add(fault, item.path, says);
        }
        if let Some(Seen { print, grey: is }) = seen {
            readable[usize::from(item.validates)][item.folder] += 1;
            kept.push(item);
            prints.push(print);
            if !item.validates {
                grey.entry(item.folder).or_default()[usize::from(is)] += 1;
            }
        }
    }

    training.check_sizes(checks.data, &readable[0], &mut findings);
    check_grey(&training, &grey, &mut findings);
    check_twice(&kept, &prints, &mut findings);
    if !findings.has_errors()
        && let Err(error) = Dataset::open(checks.data, &checks.labels)
    {
        findings.add(Fault::Folder, checks.data, error.problem());
    }
    let counted = |folder: &Folder, readable: &[usize]| {
        let classes = folder.classes.iter().zip(readable);
        classes
            .map(|(class, &readable)| Counted {
                name: class.name.clone(),
                pictures: class.images.len(),
                readable,
            })
            .collect()
    };
    Ok(Examined {
        classes: counted(&training, &readable[0]),
        validation: validation.map_or(Vec::new(), |folder| counted(&folder, &readable[1])),
        findings: findings.all(),
    })
}

/// Classes that are grey beside others that are not: that alone tells them apart. `grey` counts, by folder, the coloured
/// and the grey pictures.
fn check_grey(folder: &Folder, grey: &BTreeMap<usize, [usize; 2]>, findings: &mut Findings) {
    /// Pictures of a class that say something of it.
    const SEVERAL: usize = 5;
    let several = grey
        .iter()
        .filter(|(_, [coloured, grey])| coloured + grey >= SEVERAL);
    let nearly_all = |most: usize, rest: usize| most >= 9 * rest;
    let coloured = several
        .clone()
        .any(|(_, &[coloured, grey])| nearly_all(coloured, grey));
    for (&at, &[coloured_here, grey]) in several {
        if coloured && nearly_all(grey, coloured_here) {
            let says = format!("{grey} of {} pictures", coloured_here + grey);
            findings.add(Fault::GreyClass, &folder.classes[at].path, says);
        }
    }
}

/// Pictures that are there twice.
fn check_twice(items: &[&Item], prints: &[Print], findings: &mut Findings) {
    for Alike { likeness, images } in groups(prints) {
        let group: Vec<&Item> = images.into_iter().map(|i| items[i]).collect();
        let paths: Vec<PathBuf> = group.iter().map(|item| item.path.into()).collect();
        let labels: BTreeSet<_> = group.iter().filter_map(|item| item.label).collect();
        let leaks = group.iter().any(|i| i.validates) && group.iter().any(|i| !i.validates);
        let same = likeness == Likeness::Same;
        let fault = match (same, leaks) {
            (true, true) => Fault::Leak,
            (false, true) => Fault::NearLeak,
            (true, false) if labels.len() > 1 => Fault::Contradiction,
            (true, false) => Fault::Duplicate,
            (false, false) => Fault::NearDuplicate,
        };
        let mut says = Vec::new();
        if likeness == Likeness::Mirrored {
            says.push("some mirrored".to_string());
        }
        if labels.len() > 1 && fault != Fault::Contradiction {
            says.push(format!("in {} classes", labels.len()));
        }
        let with = paths[1..].to_vec();
        findings.add_with(fault, &paths[0], with.clone(), says.join(", "));
        if leaks && same && labels.len() > 1 {
            findings.add_with(Fault::Contradiction, &paths[0], with, String::new());
        }
    }
}
