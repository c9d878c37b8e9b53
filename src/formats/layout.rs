//! Where the files of an adapter lie, and what its tensors are called: PEFT's layout.

use std::path::{Path, PathBuf};

/// The file with the factors.
pub const MODEL: &str = "adapter_model.safetensors";
/// The file with the settings.
pub const CONFIG: &str = "adapter_config.json";
/// The file with the factors as PEFT wrote it before safetensors.
const PICKLE: &str = "adapter_model.bin";
/// A factor of a module.
pub(super) fn key(module: &str, factor: char) -> String {
    format!("base_model.model.{module}.lora_{factor}.weight")
}

/// A parameter of the head.
pub(super) fn head_key(module: &str, parameter: &str) -> String {
    format!("base_model.model.{module}.{parameter}")
}

/// The folder of an adapter that is named by it or by a file in it.
pub fn folder(path: &Path) -> &Path {
    let inside = path.parent().filter(|_| path.is_file());
    match inside {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

/// The files with the settings and the factors. A pickle stands in for the factors where there are no others.
pub(super) fn files(path: &Path) -> [PathBuf; 2] {
    let config = folder(path).join(CONFIG);
    if path.is_file() && !path.ends_with(CONFIG) {
        return [config, path.to_path_buf()];
    }
    let [model, pickle] = [MODEL, PICKLE].map(|name| folder(path).join(name));
    match pickle.exists() && !model.exists() {
        true => [config, pickle],
        false => [config, model],
    }
}
