//! Where the program keeps what can be made again.

use std::path::PathBuf;

/// Names goldfish's own folder, where the system's place for what can be made again is not wanted.
pub const CACHE: &str = "GOLDFISH_CACHE";
/// What is wrong where there is none.
pub const NO_CACHE: &str =
    "there is no cache folder (none of GOLDFISH_CACHE, XDG_CACHE_HOME and HOME is set)";

/// The folder of what can be made again: of choices of kernels, and of features.
pub fn cache_folder() -> Option<PathBuf> {
    let own = std::env::var_os(CACHE).filter(|text| !text.is_empty());
    own.map(PathBuf::from)
        .or_else(|| Some(dirs::cache_dir()?.join("goldfish")))
}

/// The folder of features.
pub fn features_folder() -> Option<PathBuf> {
    cache_folder().map(|folder| folder.join("features"))
}
