//! What has come of a file: `NAME.part` beside it, with what the server said of it so that the next try can go on.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};
use goldfish::files::write_atomic;
use goldfish::{Error, Result};
use serde::{Deserialize, Serialize};

use super::check::beside;
use crate::cli::terminal::note;

/// A file that is being fetched. Only one process has it at a time.
pub struct Part {
    target: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes that are there.
    pub len: u64,
    /// What the server said of the file that these bytes are of.
    pub origin: Origin,
    /// Held as long as this lives.
    _lock: File,
}

/// Which file on which server some bytes are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub url: String,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub size: Option<u64>,
}

impl Origin {
    /// What `If-Range` takes: a strong ETag, else a date.
    pub fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }

    /// Whether nothing says that the two are not one file.
    pub fn same_as(&self, other: &Origin) -> bool {
        fn agree<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        self.url == other.url
            && agree(&self.etag, &other.etag)
            && agree(&self.last_modified, &other.last_modified)
            && agree(&self.size, &other.size)
    }
}

impl Part {
    /// The part of `target`, which waits until no other process has it.
    pub fn open(target: &Path, url: &str) -> Result<Self> {
        let lock = lock(&beside(target, ".lock"))?;
        let path = beside(target, ".part");
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&path).map_err(Error::io(&path, "write"))?;
        let mut part = Part {
            target: target.to_path_buf(),
            path,
            file,
            len: 0,
            origin: Origin::default(),
            _lock: lock,
        };
        let text = fs::read(part.notes()).unwrap_or_default();
        let noted: Option<Origin> = serde_json::from_slice(&text).ok();
        match noted.filter(|origin| origin.url == url) {
            Some(origin) => {
                let end = part.file.seek(SeekFrom::End(0));
                part.len = end.map_err(Error::io(&part.path, "read"))?;
                part.origin = origin;
            }
            None => part.restart(Origin {
                url: url.into(),
                ..Origin::default()
            })?,
        }
        Ok(part)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn notes(&self) -> PathBuf {
        beside(&self.path, ".json")
    }

    /// Throws away what has come, and notes what comes now.
    pub fn restart(&mut self, origin: Origin) -> Result<()> {
        self.cut(0)?;
        let notes = serde_json::to_vec(&origin).expect("plain values become JSON");
        write_atomic(&self.notes(), &notes)?;
        self.origin = origin;
        Ok(())
    }

    fn cut(&mut self, len: u64) -> Result<()> {
        let cut = self.file.set_len(len);
        cut.and_then(|()| self.file.seek(SeekFrom::Start(len)))
            .map_err(Error::io(&self.path, "write"))?;
        self.len = len;
        Ok(())
    }

    /// Adds what came.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| {
            let full = source.kind() == std::io::ErrorKind::StorageFull;
            match full {
                true => no_room(&self.path, "the disk is full"),
                false => Error::io(&self.path, "write")(source),
            }
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Refuses what cannot fit on the disk.
    pub fn check_room(&self, total: u64) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let wanted = total.saturating_sub(self.len);
        // A system that does not say is found out while writing.
        match fs4::available_space(folder) {
            Ok(free) if free < wanted => Err(no_room(
                &self.path,
                &format!("{} MB are missing and {} MB are free", mb(wanted), mb(free)),
            )),
            _ => Ok(()),
        }
    }

    /// Puts the whole file in its place.
    pub fn place(self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(Error::io(&self.path, "write"))?;
        self.rename(&self.target)
    }

    /// Keeps the file aside under another name, which it returns.
    pub fn aside(self) -> Result<PathBuf> {
        let bad = beside(&self.target, ".bad");
        self.rename(&bad)?;
        Ok(bad)
    }

    fn rename(&self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).map_err(Error::io(to, "write"))?;
        // Without its part a note says nothing.
        let _ = fs::remove_file(self.notes());
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.notes());
    }
}

fn no_room(path: &Path, why: &str) -> Error {
    Error::data(
        path,
        format!(
            "{why}. Make room and fetch again, which goes on from here, or choose another folder with {}",
            super::place::DATA
        ),
    )
}

fn mb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// The lock at `path`. The file stays: who removed it would part those who wait at it.
fn lock(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options.open(path).map_err(Error::io(path, "write"))?;
    match FileExt::try_lock(&file) {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            note!("waiting  another process is fetching this file");
            FileExt::lock(&file)
        }
        Err(TryLockError::Error(e)) => Err(e),
    }
    .map_err(Error::io(path, "lock"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Origin, Part};

    fn origin(etag: &str) -> Origin {
        Origin {
            url: "http://a/b".into(),
            etag: Some(etag.into()),
            ..Origin::default()
        }
    }

    #[test]
    fn a_part_goes_on_where_it_was_and_only_for_its_own_address() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("x.pth");
        let mut part = Part::open(&target, "http://a/b").expect("a part");
        part.restart(origin("\"1\"")).expect("restarted");
        part.append(b"abc").expect("written");
        drop(part);
        let mut part = Part::open(&target, "http://a/b").expect("a part");
        assert_eq!((part.len, &part.origin), (3, &origin("\"1\"")));
        part.append(b"d").expect("written");
        drop(part);
        assert_eq!(
            std::fs::read(folder.path().join("x.pth.part")).unwrap(),
            b"abcd"
        );
        let part = Part::open(&target, "http://a/c").expect("a part");
        assert_eq!(part.len, 0);
        part.place().expect("placed");
        assert_eq!(std::fs::read(&target).unwrap(), b"");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "the file and its lock");
    }

    #[test]
    fn only_what_is_strong_can_be_asked_for() {
        assert_eq!(origin("\"1\"").validator(), Some("\"1\""));
        let mut weak = origin("W/\"1\"");
        assert_eq!(weak.validator(), None);
        weak.last_modified = Some("Thu, 01 Jan 2026 00:00:00 GMT".into());
        assert!(weak.validator().is_some_and(|v| v.starts_with("Thu")));
        assert!(origin("\"1\"").same_as(&origin("\"1\"")));
        assert!(!origin("\"1\"").same_as(&origin("\"2\"")));
        assert!(origin("\"1\"").same_as(&Origin {
            url: "http://a/b".into(),
            ..Origin::default()
        }));
    }
}
