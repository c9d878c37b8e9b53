//! The folders of a dataset: what lies in them, what they are called, and what they are labelled with.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Findings};
use crate::data::classes::{Classes, kind as spelling};
use crate::data::codecs::Format;
use crate::data::dataset::{LEAST, Labels, Named, name};
use crate::data::image::is_image;
use crate::data::names::is_shown;
use crate::data::walk::{Kind, LeftOut, images_below, kind, list};
use crate::error::{Error, Result};

/// One class folder.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
    /// Whether what is in it could be listed.
    listed: bool,
    /// Its label, where the folders have some.
    pub(super) label: Option<usize>,
}

/// The folders of a dataset in the order of their names.
pub(super) struct Folder {
    pub(super) classes: Vec<Class>,
    /// The classes, where the names are theirs.
    pub(super) named: Option<Named>,
}

impl Folder {
    /// Lists `folder` and labels what is in it.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be listed; what is in it is a finding.
    pub(super) fn open(folder: &Path, labels: &Labels, findings: &mut Findings) -> Result<Self> {
        let mut left_out = LeftOut::default();
        let mut classes = Vec::new();
        for path in list(folder)? {
            match kind(&path) {
                Kind::Folder => {
                    let images = images_below(&path, &mut left_out).map_err(|error| {
                        let at = match &error {
                            Error::Io { path, .. } => path,
                            _ => &path,
                        };
                        findings.add(Fault::Folder, &at.clone(), error.problem());
                    });
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    classes.push(Class {
                        name: name.into_owned(),
                        path,
                        listed: images.is_ok(),
                        images: images.unwrap_or_default(),
                        label: None,
                    });
                }
                Kind::File if is_image(&path) => findings.add(Fault::Loose, &path, ""),
                Kind::File => left_out.add(path, "in no class folder"),
                Kind::Other(reason) => left_out.add(path, reason),
            }
        }
        for (path, reason) in left_out.0 {
            let fault = match reason {
                _ if reason.contains("link") => Fault::DeadLink,
                _ if reason != HIDDEN && starts_like_a_picture(&path) => Fault::NotNamed,
                _ => Fault::Junk,
            };
            findings.add(fault, &path, reason);
        }
        let mut opened = Folder {
            classes,
            named: None,
        };
        opened.label(folder, labels, findings);
        Ok(opened)
    }

    /// Finds the classes that the names mean, and what is wrong with the names.
    fn label(&mut self, folder: &Path, labels: &Labels, findings: &mut Findings) {
        let names: Vec<String> = self.classes.iter().map(|c| c.name.clone()).collect();
        if names.is_empty() {
            let says = "has no class folders: expected one folder a class with its pictures";
            findings.add(Fault::Folder, folder, says);
            return;
        }
        match name(&names, labels) {
            Ok(named) => {
                for (class, &label) in self.classes.iter_mut().zip(&named.indices) {
                    class.label = Some(label);
                }
                self.named = Some(named);
            }
            Err(wrong) => match labels {
                Labels::Of(classes) => {
                    for class in &mut self.classes {
                        class.label = classes.find(&class.name).ok().flatten();
                        if class.label.is_none() {
                            findings.add(Fault::UnknownInValidation, &class.path, "");
                        }
                    }
                }
                Labels::Own | Labels::OwnBehindImageNet | Labels::Auto(_) if names.len() == 1 => {
                    findings.add(Fault::OneClass, folder, wrong.problem);
                }
                _ => findings.add(Fault::UnknownClass, folder, wrong.problem),
            },
        }
    }

    /// Empty and clashing classes, and folders that are no classes but parts of the data.
    pub(super) fn check_names(&self, findings: &mut Findings) {
        for class in self
            .classes
            .iter()
            .filter(|c| c.listed && c.images.is_empty())
        {
            findings.add(Fault::EmptyClass, &class.path, "");
        }
        for class in &self.classes {
            let mut odd: Vec<char> = class.name.chars().filter(|&c| !is_shown(c)).collect();
            odd.dedup();
            if !odd.is_empty() {
                let codes: Vec<String> =
                    odd.iter().map(|&c| format!("U+{:04X}", c as u32)).collect();
                findings.add(
                    Fault::OddNames,
                    &class.path,
                    format!("has {}", codes.join(", ")),
                );
            }
        }
        let mut spelled = BTreeMap::<String, Vec<&Class>>::new();
        for class in &self.classes {
            let alike = match (class.label, &self.named) {
                (Some(label), Some(named)) if label < named.new => format!("{label}"),
                _ => format!("={}", spelling(&class.name)),
            };
            spelled.entry(alike).or_default().push(class);
        }
        for (_, alike) in spelled.into_iter().filter(|(_, alike)| alike.len() > 1) {
            let one = alike
                .iter()
                .all(|c| c.label.is_some() && c.label == alike[0].label);
            let says = match one {
                true => "folders of the same class",
                false => {
                    "names that differ in case, `_`, `-` or spaces alone, and are classes of their own"
                }
            };
            let others = alike[1..].iter().map(|class| class.path.clone());
            findings.add_with(
                Fault::ClashingClasses,
                &alike[0].path,
                others.collect(),
                says,
            );
        }
        self.check_depth(findings);
    }

    /// `data/train/cat` and `data/val/cat` are classes `train` and `val` to who is given `data`.
    fn check_depth(&self, findings: &mut Findings) {
        let below = |class: &Class| -> Option<BTreeSet<OsString>> {
            let inside = class.images.iter().map(|image| {
                let mut parts = image.strip_prefix(&class.path).ok()?.components();
                let first = parts.next()?.as_os_str().to_os_string();
                // A file that lies here itself makes it a class.
                parts.next().map(|_| first)
            });
            inside.collect::<Option<BTreeSet<OsString>>>()
        };
        let [first, others @ ..] = &self.classes[..] else {
            return;
        };
        let Some(inside) = below(first).filter(|inside| inside.len() > 1) else {
            return;
        };
        if !others.is_empty()
            && others
                .iter()
                .all(|class| below(class).as_ref() == Some(&inside))
        {
            let names: Vec<_> = inside.iter().map(|name| name.to_string_lossy()).collect();
            let says = format!("every class has the same folders: {}", names.join(", "));
            let others = others.iter().map(|class| class.path.clone());
            findings.add_with(Fault::FolderAbove, &first.path, others.collect(), says);
        }
    }

    /// Classes with too few pictures of which `readable`, one number a folder, can be read, and classes of very different
    /// sizes.
    pub(super) fn check_sizes(&self, folder: &Path, readable: &[usize], findings: &mut Findings) {
        /// How many times as many pictures the largest class has.
        const UNEQUAL: usize = 10;
        let Some(named) = &self.named else {
            return;
        };
        let mut sizes = BTreeMap::<usize, (usize, &Class)>::new();
        for (class, &count) in self.classes.iter().zip(readable) {
            let label = class.label.unwrap_or_default();
            sizes.entry(label).or_insert((0, class)).0 += count;
        }
        for (&label, &(count, class)) in &sizes {
            if !class.images.is_empty() && count < if label >= named.new { LEAST } else { 1 } {
                let says = format!("{count} of its {} can be read", class.images.len());
                findings.add(Fault::FewPictures, &class.path, says);
            }
        }
        let counted = sizes.values().filter(|(count, _)| *count > 0);
        let most = counted.clone().max_by_key(|(count, _)| *count);
        let least = counted.min_by_key(|(count, _)| *count);
        if let (Some((most, large)), Some((least, small))) = (most, least)
            && *most >= UNEQUAL * least
        {
            let says = format!(
                "{:?} has {most} pictures and {:?} has {least}",
                large.name, small.name
            );
            findings.add(Fault::Imbalance, folder, says);
        }
    }

    /// Classes of which no folder is in `validation`.
    pub(super) fn check_validated(&self, validation: &Folder, findings: &mut Findings) {
        let validated: BTreeSet<_> = validation.classes.iter().map(|c| c.label).collect();
        for class in &self.classes {
            if class.label.is_some() && !validated.contains(&class.label) {
                findings.add(Fault::MissingInValidation, &class.path, "");
            }
        }
    }

    /// The classes that folders to validate with may be named by.
    pub(super) fn labels(&self, asked: &Labels) -> Labels {
        let classes = self.named.as_ref().map(|named| named.classes.clone());
        let own = || Classes::own(self.classes.iter().map(|c| c.name.clone()).collect());
        match classes.or_else(|| own().ok()) {
            Some(classes) => Labels::Of(classes),
            None => asked.clone(),
        }
    }
}

/// What `walk` says of what is hidden.
const HIDDEN: &str = "hidden";

/// Whether the file begins like a picture of a format that is read.
fn starts_like_a_picture(path: &Path) -> bool {
    let mut start = Vec::new();
    let opened = std::fs::metadata(path).is_ok_and(|m| m.is_file());
    let Some(file) = opened.then(|| std::fs::File::open(path).ok()).flatten() else {
        return false;
    };
    let read = file.take(16).read_to_end(&mut start);
    read.is_ok() && Format::of(&start).is_some()
}
