//! The zip that `torch.save` writes: its directory, and where the bytes of an entry lie. PyTorch keeps every entry as it
//! is, so that nothing is unpacked and nothing can become larger than the file.

use std::collections::HashMap;
use std::ops::Range;

use super::super::entry::shown;
use super::value::damaged;

/// The entries of a zip by name.
pub(super) struct Zip<'a> {
    file: &'a [u8],
    entries: HashMap<&'a str, Entry>,
}

struct Entry {
    /// 0 for bytes kept as they are.
    method: u16,
    encrypted: bool,
    crc: u32,
    /// Bytes in the file, and unpacked.
    sizes: [u64; 2],
    /// Where its own header stands.
    header: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(word))
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl<'a> Zip<'a> {
    /// Reads the directory at the file's end.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, String> {
        let cut = || damaged("its end is missing");
        let (mut rest, count) = directory(file).ok_or_else(cut)?;
        let mut entries = HashMap::new();
        for _ in 0..count {
            let (name, entry, after) = entry(rest).ok_or_else(cut)?;
            let name = std::str::from_utf8(name)
                .map_err(|_| damaged("the name of an entry is not UTF-8"))?;
            if entries.insert(name, entry).is_some() {
                return Err(damaged(&format!("it has two entries {}", shown(name))));
            }
            rest = after;
        }
        Ok(Zip { file, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// Where the bytes of an entry lie in the file.
    pub(super) fn find(&self, name: &str) -> Result<Range<usize>, String> {
        let missing = || damaged(&format!("{} is missing", shown(name)));
        let entry = self.entries.get(name).ok_or_else(missing)?;
        if entry.encrypted {
            return Err(format!("is encrypted ({})", shown(name)));
        }
        if entry.method != 0 || entry.sizes[0] != entry.sizes[1] {
            return Err(format!(
                "is a compressed PyTorch file ({}), which PyTorch does not write. Save it again: \
                 torch.save(torch.load(FILE, weights_only=True), NEW)",
                shown(name)
            ));
        }
        let header = at(entry.header);
        let lies = || {
            if self.file.get(header..)?.get(..4)? != b"PK\x03\x04" {
                return None;
            }
            let name = at(number::<2>(self.file, header + 26)?);
            let extra = at(number::<2>(self.file, header + 28)?);
            let start = header + 30 + name + extra;
            let end = start.checked_add(at(entry.sizes[0]))?;
            (end <= self.file.len()).then_some(start..end)
        };
        lies().ok_or_else(|| damaged(&format!("{} lies outside of the file", shown(name))))
    }

    /// The bytes of a small entry, whose checksum must be right.
    pub(super) fn checked(&self, name: &str) -> Result<&'a [u8], String> {
        let bytes = &self.file[self.find(name)?];
        // Of a file saved without checksums they are 0.
        match self.entries[name].crc {
            0 => Ok(bytes),
            crc if crc32fast::hash(bytes) == crc => Ok(bytes),
            _ => Err(damaged(&format!("the checksum of {} differs", shown(name)))),
        }
    }
}

/// The bytes from the directory's first entry on, and how many it has.
fn directory(file: &[u8]) -> Option<(&[u8], u64)> {
    const END: usize = 22;
    const LONGEST_REMARK: usize = 1 << 16;
    let from = file.len().saturating_sub(END + LONGEST_REMARK);
    let tail = &file[from..];
    let end = (0..=tail.len().checked_sub(END)?)
        .rev()
        .find(|&at| tail[at..].starts_with(b"PK\x05\x06"))?
        + from;
    let mut found = (number::<2>(file, end + 10)?, number::<4>(file, end + 16)?);
    // What does not fit 32 bits stands before it, and PyTorch writes that always.
    if let Some(locator) = end.checked_sub(20)
        && file[locator..].starts_with(b"PK\x06\x07")
    {
        let large = at(number::<8>(file, locator + 8)?);
        if file.get(large..)?.starts_with(b"PK\x06\x06") {
            found = (
                number::<8>(file, large.checked_add(32)?)?,
                number::<8>(file, large + 48)?,
            );
        }
    }
    let (count, start) = found;
    Some((file.get(at(start)..)?, count))
}

/// The entry that a directory's bytes begin with: its name, what is said of it, and what follows.
fn entry(directory: &[u8]) -> Option<(&[u8], Entry, &[u8])> {
    const FIXED: usize = 46;
    if !directory.starts_with(b"PK\x01\x02") {
        return None;
    }
    let short = |place| number::<2>(directory, place).map(at);
    let [name, extra, remark] = [short(28)?, short(30)?, short(32)?];
    let (fixed, rest) = directory.split_at_checked(FIXED)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (mut extra, rest) = rest.split_at_checked(extra)?;
    let (_, rest) = rest.split_at_checked(remark)?;
    // Unpacked, packed, where: the order in which the long forms stand where these are full.
    let mut sizes = [
        number::<4>(fixed, 24)?,
        number::<4>(fixed, 20)?,
        number::<4>(fixed, 42)?,
    ];
    while let (Some(tag), Some(length)) = (number::<2>(extra, 0), number::<2>(extra, 2)) {
        let mut body = extra.get(4..)?.get(..at(length))?;
        if tag == 1 {
            for size in sizes
                .iter_mut()
                .filter(|size| **size == u64::from(u32::MAX))
            {
                *size = number::<8>(body, 0)?;
                body = &body[8..];
            }
        }
        extra = &extra[4 + at(length)..];
    }
    let entry = Entry {
        encrypted: number::<2>(fixed, 8)? & 1 != 0,
        method: number::<2>(fixed, 10)? as u16,
        crc: number::<4>(fixed, 16)? as u32,
        sizes: [sizes[1], sizes[0]],
        header: sizes[2],
    };
    Some((name, entry, rest))
}
