//! A file of a run that grows by a line at a time. What the disk has no room for is kept until it has.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A file of lines.
#[derive(Debug)]
pub(super) struct Lines {
    name: &'static str,
    file: Option<File>,
    /// Bytes of it that are whole lines.
    written: u64,
    waiting: Vec<u8>,
}

impl Lines {
    pub(super) fn new(name: &'static str) -> Self {
        Lines {
            name,
            file: None,
            written: 0,
            waiting: Vec::new(),
        }
    }

    /// Bytes of all lines so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Refuses a file in `folder` that is shorter than `length` bytes.
    pub(super) fn reaches(&self, folder: &Path, length: u64) -> Result<()> {
        let path = folder.join(self.name);
        let there = match std::fs::metadata(&path) {
            Ok(about) => about.len(),
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(Error::io(&path, "read")(e)),
        };
        match there < length {
            true => Err(Error::data(
                &path,
                format!("has {there} bytes and had {length} when the run was put down"),
            )),
            false => Ok(()),
        }
    }

    /// Goes on after the first `length` bytes of the file in `folder`, which has at least those.
    pub(super) fn resume(&mut self, folder: &Path, length: u64) -> Result<()> {
        self.reaches(folder, length)?;
        let (path, file) = self.open(folder)?;
        file.set_len(length).map_err(Error::io(&path, "write"))?;
        self.written = length;
        Ok(())
    }

    /// Goes on after the first whole lines of the file in `folder` that `keep` wants.
    pub(super) fn resume_while<T: DeserializeOwned>(
        &mut self,
        folder: &Path,
        keep: impl Fn(&T) -> bool,
    ) -> Result<()> {
        let path = folder.join(self.name);
        let there = match std::fs::read(&path) {
            Ok(there) => there,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io(&path, "read")(e)),
        };
        let lines = there.split_inclusive(|&byte| byte == b'\n');
        let wanted = lines.take_while(|line| {
            line.ends_with(b"\n") && serde_json::from_slice(line).is_ok_and(|line| keep(&line))
        });
        self.resume(folder, wanted.map(|line| line.len() as u64).sum())
    }

    /// Sees to it that the lines outlive a loss of power.
    pub(super) fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => file
                .sync_data()
                .map_err(Error::io(Path::new(self.name), "write")),
            None => Ok(()),
        }
    }

    /// Adds a line to the file in `folder`.
    pub(super) fn add(&mut self, folder: &Path, record: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.waiting, record).expect("plain values become JSON");
        self.waiting.push(b'\n');
        self.flush(folder)
    }

    /// Writes what is waiting.
    pub(super) fn flush(&mut self, folder: &Path) -> Result<()> {
        self.open(folder)?;
        let waiting = std::mem::take(&mut self.waiting);
        let written = self.written;
        let (path, file) = self.open(folder)?;
        let done = file.write_all(&waiting);
        if let Err(error) = done {
            // Half a line is none.
            let _ = file.set_len(written);
            self.waiting = waiting;
            return Err(Error::io(&path, "write")(error));
        }
        self.written += waiting.len() as u64;
        Ok(())
    }

    /// Lets go of the file, which may be moved then.
    pub(super) fn close(&mut self) -> Result<()> {
        match self.file.take() {
            Some(file) => file
                .sync_all()
                .map_err(Error::io(Path::new(self.name), "write")),
            None => Ok(()),
        }
    }

    fn open(&mut self, folder: &Path) -> Result<(PathBuf, &mut File)> {
        let path = folder.join(self.name);
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = File::options();
                let options = options.read(true).append(true).create(true);
                options.open(&path).map_err(Error::io(&path, "write"))?
            }
        };
        Ok((path, self.file.insert(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_on_where_it_was_put_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let mut lines = Lines::new("lines");
        lines.add(at, &1).expect("a line");
        let length = lines.len();
        lines.add(at, &2).expect("a line");
        lines.close().expect("closed");
        let mut again = Lines::new("lines");
        again.resume(at, length).expect("resumed");
        again.add(at, &3).expect("a line");
        let text = std::fs::read_to_string(at.join("lines")).expect("text");
        assert_eq!(text, "1\n3\n");
        assert!(Lines::new("lines").resume(at, 99).is_err());
    }
}
