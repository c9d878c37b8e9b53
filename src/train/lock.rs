//! One run at a time in a folder: a locked file with the process in it, which the system unlocks when that ends, however it
//! does.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};

use crate::error::{Error, Result};

/// The file.
pub(super) const LOCK: &str = "run.lock";

/// The folder is this run's as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: Option<File>,
    path: PathBuf,
    /// The folder and those above it that were made for it, from it upwards.
    made: Vec<PathBuf>,
}

impl Lock {
    /// Takes `folder`, made with those above it where it is not there. What was made and is empty goes with the lock.
    ///
    /// # Errors
    /// As [`Lock::take`]; [`Error::Io`] where the folder cannot be made.
    pub fn make(folder: &Path) -> Result<Self> {
        let above = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made: Vec<PathBuf> = above.map(Path::to_path_buf).collect();
        let folders = fs::create_dir_all(folder).map_err(Error::io(folder, "make the folder"));
        match folders.and_then(|()| Self::take(folder)) {
            Ok(mut lock) => {
                lock.made = made;
                Ok(lock)
            }
            Err(error) => {
                remove_empty(&made);
                Err(error)
            }
        }
    }

    /// Takes `folder`, which is there.
    ///
    /// # Errors
    /// [`Error::Data`] where another run has it, [`Error::Io`] where no file can be written there.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(Error::io(&path, "write"))?;
            match FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(folder, &mut file, None)),
                // Some file systems have no locks: then the process in the file is asked for.
                Err(TryLockError::Error(_)) if !lives(&mut file) => {}
                Err(TryLockError::Error(_)) => return Err(taken(folder, &mut file, Some(&path))),
            }
            // Its holder may have removed it since it was opened: then it is nobody's.
            if !is_at(&file, &path) {
                continue;
            }
            let said = format!("pid {}\nhost {}\n", std::process::id(), host());
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(said.as_bytes()));
            // From here on it goes with the lock.
            let lock = Lock {
                file: Some(file),
                path: path.clone(),
                made: Vec::new(),
            };
            written.map_err(Error::io(&path, "write"))?;
            return Ok(lock);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is found unlocked and taken over.
        let _ = fs::remove_file(&self.path);
        // Some systems keep its name until it is closed.
        drop(self.file.take());
        remove_empty(&self.made);
    }
}

fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// What the file says: a process and its host.
fn read(file: &mut File) -> Option<(u32, String)> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(1 << 10).read_to_string(&mut text).ok()?;
    let word = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    Some((word("pid ")?.parse().ok()?, word("host ")?.to_string()))
}

/// That another process has `folder`; `unsure` is the file that says so where the file system has no locks, so that it may
/// be gone.
fn taken(folder: &Path, file: &mut File, unsure: Option<&Path>) -> Error {
    let who = match read(file) {
        Some((pid, host)) => format!("process {pid} on {}", host.escape_debug()),
        None => "another process".into(),
    };
    let mut problem =
        format!("{who} writes a run here. Wait for it or stop it, or choose another folder");
    if let Some(path) = unsure {
        problem += &format!(
            ". This file system has no locks: if that process is gone, remove {}",
            path.display()
        );
    }
    Error::data(folder, problem)
}

/// Whether the process that wrote the file may still be there. Another host's is not known to be gone.
fn lives(file: &mut File) -> bool {
    match read(file) {
        None => false,
        Some((_, there)) if there != host() => true,
        Some((pid, _)) => {
            let known = Path::new("/proc/self").exists();
            !known || Path::new("/proc").join(pid.to_string()).exists()
        }
    }
}

/// Whether the open file is the one that lies at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |about: fs::Metadata| (about.dev(), about.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => of(open) == of(there),
        (_, Err(e)) => e.kind() != ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

/// An open file cannot be removed there.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    fs::metadata(path).map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_run_s_until_that_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = Lock::take(folder.path()).expect("the lock");
        let error = Lock::take(folder.path()).expect_err("taken");
        let pid = std::process::id().to_string();
        assert!(
            error.to_string().contains(&format!("process {pid} on ")),
            "{error}"
        );
        drop(lock);
        assert!(!folder.path().join(LOCK).exists());
        // Where there are no locks, only a person can know.
        let path = folder.path().join(LOCK);
        fs::write(&path, "pid 1\nhost nowhere\n").expect("a file");
        let mut file = File::open(&path).expect("it is there");
        let error = super::taken(folder.path(), &mut file, Some(&path)).to_string();
        assert!(
            error.contains("process 1 on nowhere writes a run here"),
            "{error}"
        );
        let remove = format!("if that process is gone, remove {}", path.display());
        assert!(error.contains(&remove), "{error}");
        // What a process that was killed leaves is nobody's.
        fs::write(folder.path().join(LOCK), "pid 1\nhost nowhere\n").expect("a file");
        let lock = Lock::take(folder.path()).expect("the lock");
        let text = fs::read_to_string(folder.path().join(LOCK)).expect("its text");
        assert!(text.starts_with(&format!("pid {pid}\nhost ")), "{text}");
        drop(lock);
    }
}
