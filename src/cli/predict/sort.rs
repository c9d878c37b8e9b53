//! `--sort-into DIR`: every image into the folder of its class, beside what is there.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use goldfish::data::Classes;
use goldfish::{Error, Result};

use crate::cli::images::STDIN;
use crate::cli::terminal::note;

/// The longest folder name, in bytes: file systems take 255.
const LONGEST: usize = 200;
/// Names that Windows keeps for devices, whatever their ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// How a file is put into a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a hard link, or where there can be none as a copy.
    Link,
    Copy,
}

/// Where images go.
pub struct Sorter {
    folder: PathBuf,
    /// The folder of each class within it.
    names: Vec<String>,
    way: Way,
    linked: usize,
    copied: usize,
    /// Those that were there already.
    there: usize,
}

impl Sorter {
    /// `given` is where the images come from: what is sorted must not be found among them the next time.
    pub fn new(folder: &Path, way: Way, classes: &Classes, given: &[PathBuf]) -> Result<Self> {
        if given.iter().any(|path| path == Path::new(STDIN)) {
            return Err(Error::Usage(
                "--sort-into takes images that have names, and one from stdin (-) has none".into(),
            ));
        }
        let names = folders(classes);
        let target = absolute(folder)?;
        for path in given.iter().filter(|path| path.is_dir()) {
            let from = absolute(path)?;
            let within = |to: &Path| to.starts_with(&from);
            if within(&target) || names.iter().any(|name| within(&target.join(name))) {
                let problem = format!(
                    "would lie within {}, whose images are sorted: the next time they would be found twice. Choose a \
                     folder outside of it",
                    path.display()
                );
                return Err(Error::data(folder, problem));
            }
        }
        Ok(Sorter {
            folder: folder.into(),
            names,
            way,
            linked: 0,
            copied: 0,
            there: 0,
        })
    }

    /// Puts an image into the folder of class `index`; returns where it is. A name that is taken by another file gets a
    /// number; the same file under it is enough.
    pub fn put(&mut self, image: &Path, index: usize) -> Result<PathBuf> {
        let folder = self.folder.join(&self.names[index]);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "make the folder"))?;
        // A link to a link may lead nowhere from another place.
        let source = image.canonicalize().map_err(Error::io(image, "open"))?;
        let name = image.file_name().unwrap_or(OsStr::new("image"));
        for number in 1.. {
            let to = folder.join(numbered(name, number));
            match self.place(&source, &to) {
                Ok(()) => return Ok(to),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    if same(&source, &to).map_err(Error::io(&to, "read"))? {
                        self.there += 1;
                        return Ok(to);
                    }
                }
                Err(e) => return Err(Error::io(&to, "write")(e)),
            }
        }
        unreachable!("there are more numbers than files")
    }

    /// The file itself, where nothing is called so yet.
    fn place(&mut self, source: &Path, to: &Path) -> std::io::Result<()> {
        if self.way == Way::Link {
            match fs::hard_link(source, to) {
                Ok(()) => {
                    self.linked += 1;
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(e),
                // Another file system, or one that has no links.
                Err(_) => {}
            }
        }
        if to.symlink_metadata().is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // Beside it, so that no reader sees half of it.
        let folder = to.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".goldfish-")
            .suffix(".tmp")
            .tempfile_in(folder)?;
        std::io::copy(&mut File::open(source)?, file.as_file_mut())?;
        fs::set_permissions(file.path(), fs::metadata(source)?.permissions())?;
        file.persist_noclobber(to).map_err(|e| e.error)?;
        self.copied += 1;
        Ok(())
    }

    /// Says on stderr what was done.
    pub fn tell(&self) {
        let parts = [
            (self.linked, "linked"),
            (self.copied, "copied"),
            (self.there, "there already"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, how)| format!("{count} {how}")).collect();
        note!(
            "sorted   into {}: {}",
            self.folder.display(),
            parts.join(", ")
        );
    }
}

/// `a.png`, `a-2.png`, `a-3.png`, ...
fn numbered(name: &OsStr, number: usize) -> OsString {
    if number == 1 {
        return name.into();
    }
    let name = Path::new(name);
    let mut new = name.file_stem().unwrap_or_default().to_os_string();
    new.push(format!("-{number}"));
    if let Some(ending) = name.extension() {
        new.push(".");
        new.push(ending);
    }
    new
}

/// Whether two files have the same content.
fn same(a: &Path, b: &Path) -> std::io::Result<bool> {
    let (about_a, about_b) = (fs::metadata(a)?, fs::symlink_metadata(b)?);
    if !about_b.is_file() || about_a.len() != about_b.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut part_a, mut part_b) = (Vec::new(), Vec::new());
    loop {
        part_a.clear();
        part_b.clear();
        let read = |file: &mut File, part: &mut Vec<u8>| file.take(1 << 20).read_to_end(part);
        let (count, _) = (read(&mut a, &mut part_a)?, read(&mut b, &mut part_b)?);
        if part_a != part_b {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// A path without links and dots, whose last parts need not be there.
fn absolute(path: &Path) -> Result<PathBuf> {
    let mut rest = Vec::new();
    let whole = std::path::absolute(path).map_err(Error::io(path, "find"))?;
    let mut there = whole.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            return Ok(rest.iter().rev().fold(found, |path, part| path.join(part)));
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                there = parent;
            }
            _ => return Ok(whole.clone()),
        }
    }
}

/// Class names as names of folders, on any system, no two alike where capitals do not count.
fn folders(classes: &Classes) -> Vec<String> {
    let safe: Vec<String> = classes.names().iter().map(|name| safe(name)).collect();
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for name in &safe {
        if !seen.insert(name.to_lowercase()) {
            twice.insert(name.to_lowercase());
        }
    }
    let mut taken: HashSet<String> = seen;
    let named = safe.into_iter().enumerate().map(|(index, name)| {
        if !twice.contains(&name.to_lowercase()) {
            return name;
        }
        // Its number tells it from others of its name; and from a class that is called so.
        let mut own = format!("{name} ({index})");
        while !taken.insert(own.to_lowercase()) {
            own.push('_');
        }
        own
    });
    named.collect()
}

/// A name without what a file system takes for something else.
fn safe(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .map(|c| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            c if c.is_control() => '_',
            c => c,
        })
        .collect();
    while safe.len() > LONGEST {
        safe.pop();
    }
    // Hidden folders are passed over where images are looked for, and Windows drops dots and spaces at the end.
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    let kept = safe.trim_end_matches(['.', ' ']).len();
    safe.truncate(kept);
    let stem = safe.split('.').next().unwrap_or_default().to_lowercase();
    let port = stem.strip_prefix("com").or(stem.strip_prefix("lpt"));
    let port = port.is_some_and(|n| n.chars().count() == 1 && n != "0");
    if safe.is_empty() || port || DEVICES.contains(&&*stem) {
        safe.insert(0, '_');
    }
    safe
}

#[cfg(test)]
mod tests {
    use goldfish::data::Classes;

    use super::{folders, numbered, safe};

    #[test]
    fn class_names_become_names_of_folders() {
        for (name, folder) in [
            ("great white shark", "great white shark"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "_"),
            ("a/b\\c:d", "a_b_c_d"),
            (".hidden", "_hidden"),
            ("ends. .", "ends"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("com7", "_com7"),
            ("combs", "combs"),
            ("Grün", "Grün"),
        ] {
            assert_eq!(safe(name), folder, "{name}");
        }
        assert!(safe(&"ü".repeat(500)).len() <= 200);
    }

    #[test]
    fn no_two_classes_share_a_folder() {
        let names = ["a/b", "a_b", "A_B", "a_b (0)", "c"].map(str::to_string);
        let classes = Classes::own(names.to_vec()).expect("names");
        let folders = folders(&classes);
        assert_eq!(folders, ["a_b (0)_", "a_b (1)", "A_B (2)", "a_b (0)", "c"]);
        let imagenet = super::folders(&Classes::imagenet());
        assert_eq!(imagenet[1], "goldfish");
        assert_eq!(imagenet[264], "Cardigan (264)");
        assert_eq!(imagenet[474], "cardigan (474)");
    }

    #[test]
    fn a_number_goes_before_the_ending() {
        let name = |text: &str, number| numbered(text.as_ref(), number).into_string();
        assert_eq!(name("a.b.png", 1).as_deref(), Ok("a.b.png"));
        assert_eq!(name("a.b.png", 3).as_deref(), Ok("a.b-3.png"));
        assert_eq!(name("a", 2).as_deref(), Ok("a-2"));
    }
}
