//! A pack: rows of one length, then an entry for each (the image's content, the row's CRC-32), then a trailer that says how
//! many there are and whose they are. A pack that is cut, or of which the entries are damaged, is none.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::data::ContentHash;
use crate::nn::digest::hex;

/// The ending of a pack's name.
pub(super) const ENDING: &str = "pack";
/// How the name of a pack that is being written starts.
pub(super) const WRITING: &str = ".goldfish-";

const MAGIC: [u8; 8] = *b"gfpack01";
/// Bytes of an entry.
const ENTRY: usize = 36;
/// Bytes of the trailer: the magic, the row's bytes, the count, the shelf, and the CRC-32 of the entries and of the trailer
/// before it.
const TRAILER: usize = 64;
/// No pack is larger: what says so is no pack.
const LARGEST: u64 = 4 << 30;

/// Bytes of a pack of so many rows of `row` bytes.
pub(super) fn length(rows: usize, row: usize) -> u64 {
    (rows * (row + ENTRY) + TRAILER) as u64
}

/// What a row is found and checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) content: ContentHash,
    pub(super) crc: u32,
}

/// A pack's entries, and its file until it is given back.
pub(super) struct Pack {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    row: usize,
}

impl Pack {
    /// The pack at `path`, of rows of `row` bytes of `shelf`; else what is wrong with it.
    pub(super) fn open(path: &Path, row: usize, shelf: &[u8; 32]) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut file = File::open(path).map_err(said)?;
        let length = file.metadata().map_err(said)?.len();
        let cut = || "it is cut short".to_string();
        if !(TRAILER as u64..=LARGEST).contains(&length) {
            return Err(cut());
        }
        let mut trailer = [0; TRAILER];
        file.seek(SeekFrom::Start(length - TRAILER as u64))
            .map_err(said)?;
        file.read_exact(&mut trailer).map_err(said)?;
        let word = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().expect("eight"));
        let crc = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().expect("four"));
        if trailer[..8] != MAGIC || crc(60) != crc32fast::hash(&trailer[..60]) {
            return Err(cut());
        }
        if word(8) != row as u64 || trailer[24..56] != shelf[..] {
            return Err("it is of another shelf".into());
        }
        let count = word(16);
        let entries = count.checked_mul(ENTRY as u64);
        let rows = count.checked_mul(row as u64);
        let whole = entries.zip(rows).and_then(|(a, b)| a.checked_add(b));
        if whole.and_then(|whole| whole.checked_add(TRAILER as u64)) != Some(length) {
            return Err(cut());
        }
        // They are in the file, whose length is known to be bearable.
        let mut bytes = vec![0; count as usize * ENTRY];
        file.seek(SeekFrom::Start(count * row as u64))
            .map_err(said)?;
        file.read_exact(&mut bytes).map_err(said)?;
        if crc(56) != crc32fast::hash(&bytes) {
            return Err("its entries are damaged".into());
        }
        let entries = bytes.chunks_exact(ENTRY).map(|entry| Entry {
            content: ContentHash(entry[..32].try_into().expect("32 bytes")),
            crc: u32::from_le_bytes(entry[32..].try_into().expect("four bytes")),
        });
        Ok(Pack {
            path: path.to_path_buf(),
            entries: entries.collect(),
            row,
        })
    }

    /// Reads row number `index` from the pack's `file`; false where its checksum does not fit.
    pub(super) fn read(
        &self,
        mut file: &File,
        index: usize,
        row: &mut Vec<u8>,
    ) -> std::io::Result<bool> {
        row.resize(self.row, 0);
        file.seek(SeekFrom::Start(index as u64 * self.row as u64))?;
        file.read_exact(row)?;
        Ok(crc32fast::hash(row) == self.entries[index].crc)
    }
}

/// A pack that is being written.
pub(super) struct Writing {
    file: tempfile::NamedTempFile,
    entries: Vec<Entry>,
    /// Their contents.
    held: HashSet<ContentHash>,
    row: usize,
    shelf: [u8; 32],
}

impl Writing {
    pub(super) fn new(folder: &Path, row: usize, shelf: [u8; 32]) -> std::io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(WRITING).suffix(".tmp");
        // What the umask leaves of this, as of any other file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(Writing {
            file: builder.tempfile_in(folder)?,
            entries: Vec::new(),
            held: HashSet::new(),
            row,
            shelf,
        })
    }

    /// Adds a row.
    pub(super) fn put(&mut self, content: ContentHash, row: &[u8]) -> std::io::Result<()> {
        assert_eq!(row.len(), self.row, "rows have one length");
        self.file.write_all(row)?;
        let crc = crc32fast::hash(row);
        self.entries.push(Entry { content, crc });
        self.held.insert(content);
        Ok(())
    }

    pub(super) fn has(&self, content: &ContentHash) -> bool {
        self.held.contains(content)
    }

    /// Bytes that it will have.
    pub(super) fn bytes(&self) -> u64 {
        length(self.entries.len(), self.row)
    }

    /// Puts it in its place in `folder`, under a name that follows from what it holds: two processes that made the same
    /// leave one. Nothing is waited for: a pack that a power cut takes half of is found out by its checksums.
    pub(super) fn finish(mut self, folder: &Path) -> std::io::Result<PathBuf> {
        let mut bytes = Vec::new();
        for Entry { content, crc } in &self.entries {
            bytes.extend(content.0);
            bytes.extend(crc.to_le_bytes());
        }
        let mut trailer = Vec::from(MAGIC);
        trailer.extend((self.row as u64).to_le_bytes());
        trailer.extend((self.entries.len() as u64).to_le_bytes());
        trailer.extend(self.shelf);
        trailer.extend(crc32fast::hash(&bytes).to_le_bytes());
        trailer.extend(crc32fast::hash(&trailer).to_le_bytes());
        let name = hex(&ContentHash::of(&bytes).0);
        self.file.write_all(&bytes)?;
        self.file.write_all(&trailer)?;
        let path = folder.join(&name[..32]).with_extension(ENDING);
        self.file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }
}
