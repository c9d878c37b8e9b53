//! Where weights lie: where `GOLDFISH_WEIGHTS` says, in `./weights` and in the user's data folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use goldfish::{Error, Result};

use super::known;

/// Names goldfish's own folder, where the system's place for a user's data is not wanted.
pub const DATA: &str = "GOLDFISH_DATA";
/// A file, a folder or `random[:SEED]`, as `--weights` takes it.
pub const WEIGHTS: &str = "GOLDFISH_WEIGHTS";
/// The folder below the working directory.
const HERE: &str = "weights";

/// The folder that fetched weights go to.
pub fn data_folder() -> Result<PathBuf> {
    let own = std::env::var_os(DATA).filter(|text| !text.is_empty());
    let folder = own.map(PathBuf::from);
    let folder = folder.or_else(|| Some(dirs::data_dir()?.join("goldfish")));
    let folder = folder.ok_or_else(|| {
        Error::Usage(format!(
            "there is no folder for data (neither XDG_DATA_HOME nor HOME is set): set {DATA} to one"
        ))
    })?;
    Ok(folder.join("weights"))
}

/// What [`WEIGHTS`] says, where it says something.
pub fn named() -> Option<OsString> {
    std::env::var_os(WEIGHTS).filter(|text| !text.is_empty())
}

/// The folders that are searched, in order: first the one that [`WEIGHTS`] names, where it names one.
pub fn folders() -> Vec<PathBuf> {
    let named = named().map(PathBuf::from).filter(|path| path.is_dir());
    let here = named.into_iter().chain([PathBuf::from(HERE)]);
    here.chain(data_folder().ok()).collect()
}

/// The weights of `arch` in `folder`.
pub fn inside(folder: &Path, arch: &str) -> Option<PathBuf> {
    let names = known::names(arch).into_iter();
    names.map(|name| folder.join(name)).find(|p| p.is_file())
}

/// The weights of `arch` in the folders that are searched.
pub fn find(arch: &str) -> Option<PathBuf> {
    folders().iter().find_map(|folder| inside(folder, arch))
}

/// The weights in `folders` where those are of one known architecture alone, and which that is.
pub fn only(folders: &[PathBuf]) -> Option<(&'static str, PathBuf)> {
    let known = known::KNOWN.iter().map(|known| known.arch);
    let mut found = known.filter_map(|arch| {
        let file = folders.iter().find_map(|folder| inside(folder, arch))?;
        Some((arch, file))
    });
    found.next().filter(|_| found.next().is_none())
}

/// Where it was looked, and which other architectures are there.
pub fn sought(arch: &str) -> String {
    let folders: Vec<String> = folders().iter().map(|f| f.display().to_string()).collect();
    let others = known::KNOWN.iter().map(|known| known.arch);
    let others: Vec<&str> = others
        .filter(|other| *other != arch && find(other).is_some())
        .collect();
    let mut text = format!("no weights of {arch} in {}", folders.join(" or "));
    if !others.is_empty() {
        text += &format!(
            " (there are those of {}: choose it with --arch)",
            others.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn the_first_of_the_names_that_is_there_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = || inside(folder.path(), "vgg19").map(|p| p.file_name().unwrap().to_owned());
        assert_eq!(found(), None);
        for name in [
            "vgg19.pth",
            "vgg19-dcbb9e9d.pth",
            "vgg19.tv_in1k.safetensors",
            "vgg19-dcbb9e9d.safetensors",
            "vgg19.safetensors",
        ] {
            std::fs::write(folder.path().join(name), "").expect("a file");
            assert_eq!(found().expect("found"), name);
        }
        assert_eq!(inside(folder.path(), "vgg16"), None);
    }
}
