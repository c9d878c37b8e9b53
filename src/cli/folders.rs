//! Where the program keeps what can be made again.

use std::path::PathBuf;
use std::sync::Once;

use goldfish::Gpu;

use super::terminal::note;

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

/// Where what was measured of a device is kept, or a notice that there is no such place.
pub fn choices_file(gpu: &Gpu, measure: bool) -> Option<PathBuf> {
    let Some(folder) = cache_folder() else {
        static TOLD: Once = Once::new();
        // Without measuring there is nothing that another run would have.
        if measure {
            TOLD.call_once(|| {
                note!(
                    "notice   {NO_CACHE}: nothing is measured and fixed kernels are used, so that this run may round \
                     differently from one that has a folder. Set one of them, or take fixed kernels everywhere with --tune off"
                );
            });
        }
        return None;
    };
    Some(folder.join(gpu.file_stem() + ".json"))
}
