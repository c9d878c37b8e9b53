//! One process measures for a file at a time: two at once would take each other's time, and might choose differently.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fs4::{FileExt, TryLockError};

use crate::error::Result;

/// How long another process may measure before this one does not wait for it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at whether it still does.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for other processes that measure for `file`, as long as `go_on` lets it and [`PATIENCE`] lasts; `None` where it cannot be
/// told whether there are some. The turn ends with what is returned.
///
/// # Errors
/// What `go_on` returned.
pub(super) fn turn(file: &Path, mut go_on: impl FnMut() -> Result<()>) -> Result<Option<File>> {
    let Some(lock) = lock(file) else {
        return Ok(None);
    };
    let start = Instant::now();
    while let Err(TryLockError::WouldBlock) = FileExt::try_lock(&lock) {
        if start.elapsed() > PATIENCE {
            let file = file.display();
            tracing::warn!(
                "{file}: another process has been measuring for long; this one measures beside it"
            );
            return Ok(None);
        }
        go_on()?;
        sleep(LOOK);
    }
    Ok(Some(lock))
}

/// The file beside it that is locked.
fn lock(file: &Path) -> Option<File> {
    let mut name = file.file_name()?.to_os_string();
    name.push(".lock");
    fs::create_dir_all(file.parent()?).ok()?;
    File::create(file.with_file_name(name)).ok()
}
