//! Writing a file so that no reader ever sees half of it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` beside `path`, then renames onto it.
///
/// # Errors
/// [`Error::Io`] where the folder is read-only, full or gone, [`Error::Data`] where `path` is a folder or a device; it is
/// then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| {
        file.write_all(bytes).map_err(Error::io(path, "write"))
    })
}

/// The same with what `fill` writes, for files that are not all in memory.
///
/// # Errors
/// As [`write_atomic`], and what `fill` returned.
pub fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    // What is renamed onto a device, such as /dev/null, takes its place for all programs.
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        return Err(Error::data(
            path,
            "is no regular file (a folder, a device or a pipe), and files are written in one piece: name a file",
        ));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".goldfish-").suffix(".tmp");
    // A result is readable as any other new file is: what the umask leaves of this.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder
        .tempfile_in(folder)
        .map_err(Error::io(path, "write"))?;
    fill(file.as_file_mut())?;
    file.as_file()
        .sync_all()
        .map_err(Error::io(path, "write"))?;
    file.persist(path)
        .map_err(|e| Error::io(path, "write")(e.error))?;
    sync_folder(folder)
}

/// Sees to it that the names in `folder` outlive a loss of power, where the system knows how.
///
/// # Errors
/// [`Error::Io`] where the disk reports a fault.
pub fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    if let Ok(open) = File::open(folder) {
        match open.sync_all() {
            // Some file systems have no such thing.
            Err(e) if e.kind() != std::io::ErrorKind::InvalidInput => {
                return Err(Error::io(folder, "write")(e));
            }
            _ => {}
        }
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
