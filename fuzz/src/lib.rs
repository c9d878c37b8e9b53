//! What the targets share: files of a process's own, in memory where the system has a folder for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use goldfish::formats::{Summary, Tensors, standing};

/// The process's own folder.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let within = if memory.is_dir() {
            memory.into()
        } else {
            std::env::temp_dir()
        };
        tempfile::tempdir_in(within).expect("a folder")
    });
    made.path()
}

/// A file with `bytes` in it.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

/// Reads all that a file of tensors says.
pub fn tensors(path: &Path) {
    if let Ok(file) = Tensors::open(path) {
        if let Ok(arch) = file.arch() {
            if let Ok(source) = file.source(arch) {
                let _ = source.identity(arch);
            }
            let _ = file.classes(arch.classes);
        }
        let mut sum = 0usize;
        file.each(|name, _, shape, bytes| {
            sum = sum.wrapping_add(
                name.len() + shape.len() + bytes.iter().map(|&b| b as usize).sum::<usize>(),
            );
        });
        std::hint::black_box(sum);
    }
    let _ = std::hint::black_box(standing(path));
    let _ = std::hint::black_box(Summary::read(path));
}
