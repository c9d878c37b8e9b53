//! Whether a file is the one that it should be: its size and its SHA-256, whole or as far as they are known.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use goldfish::files::write_atomic;
use goldfish::{Error, Result};
use sha2::{Digest, Sha256};

use crate::cli::progress::Progress;

/// What a file must be, as far as it is known before it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Bytes.
    pub size: Option<u64>,
    /// The first digits of its SHA-256 in lower case, or all 64 of them.
    pub sha256: Option<String>,
}

/// Digits of a SHA-256.
pub const DIGITS: usize = 64;

impl Expected {
    /// PyTorch's custom: a name ends in the first digits of the SHA-256, as `vgg19-dcbb9e9d.pth`.
    pub fn of_name(name: &str) -> Self {
        let stem = name.split('.').next().unwrap_or_default();
        let digits = stem.rsplit_once('-').map(|(_, digits)| digits);
        let hex = |digits: &&str| (8..=DIGITS).contains(&digits.len()) && is_hex(digits);
        Expected {
            size: None,
            sha256: digits.filter(hex).map(str::to_ascii_lowercase),
        }
    }

    /// What is known of either; what `self` knows in full counts.
    pub fn or(self, other: Expected) -> Self {
        let longer = |a: &String, b: &String| a.len() >= b.len();
        Expected {
            size: self.size.or(other.size),
            sha256: match (self.sha256, other.sha256) {
                (Some(a), Some(b)) => Some(if longer(&a, &b) { a } else { b }),
                (a, b) => a.or(b),
            },
        }
    }

    /// What is wrong with a file of this size and SHA-256.
    pub fn fault(&self, size: u64, sha256: &str) -> Option<String> {
        match (self.size, &self.sha256) {
            (Some(known), _) if known != size => {
                Some(format!("has {size} bytes and should have {known}"))
            }
            (_, Some(known)) if !sha256.starts_with(known.as_str()) => Some(format!(
                "has the SHA-256 {sha256}, which should {} {known}",
                if known.len() == DIGITS {
                    "be"
                } else {
                    "begin with"
                }
            )),
            _ => None,
        }
    }

    /// Whether every byte is vouched for.
    pub fn full(&self) -> bool {
        self.sha256.as_ref().is_some_and(|s| s.len() == DIGITS)
    }
}

/// Whether these are hexadecimal digits.
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The size and the SHA-256 of a file, with progress.
pub fn hash(path: &Path) -> Result<(u64, String)> {
    // Before it is opened: a pipe would wait for someone to write.
    let about = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
    if !about.is_file() {
        return Err(Error::data(
            path,
            "is not a file. Remove it, or name another",
        ));
    }
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let size = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut progress = Progress::new("checking", "MB", size / 1_000_000);
    let (mut hasher, mut done) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(Error::io(path, "read"))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        done += n as u64;
        progress.set(done / 1_000_000, "");
    }
    progress.clear();
    Ok((done, hex(&hasher.finalize())))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The note beside a file that says what its SHA-256 was when it was fetched, as `sha256sum` writes it.
fn note(path: &Path) -> PathBuf {
    beside(path, ".sha256")
}

/// A path with more behind its name.
pub fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// Forgets the note, before another file takes the place of the one it is about.
pub fn forget(path: &Path) -> Result<()> {
    let note = note(path);
    match std::fs::remove_file(&note) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&note, "remove")(e)),
        _ => Ok(()),
    }
}

/// Writes the note.
pub fn keep(path: &Path, sha256: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    write_atomic(&note(path), format!("{sha256}  {name}\n").as_bytes())
}

/// What the note beside a file says, where there is one.
pub fn kept(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(note(path)).ok()?;
    file.take(1 << 12).read_to_string(&mut text).ok()?;
    let digits = text.split_whitespace().next()?;
    (digits.len() == DIGITS && is_hex(digits)).then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::Expected;

    #[test]
    fn a_name_may_tell_the_first_digits() {
        let of = |name: &str| Expected::of_name(name).sha256;
        assert_eq!(of("vgg19-dcbb9e9d.pth").as_deref(), Some("dcbb9e9d"));
        assert_eq!(of("vgg19_bn-C79401A0.pth").as_deref(), Some("c79401a0"));
        for name in [
            "vgg19.pth",
            "vgg19-dcbb9e9.pth",
            "vgg19-trained0.pth",
            "vgg19.tv_in1k.safetensors",
            "",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_fault_says_what_is_and_what_should_be() {
        let sha256 = "ab".repeat(32);
        let expect = |size, sha256: &str| Expected {
            size,
            sha256: Some(sha256.into()),
        };
        assert_eq!(expect(Some(3), &sha256).fault(3, &sha256), None);
        assert_eq!(expect(None, "abab").fault(3, &sha256), None);
        let fault = expect(Some(4), &sha256).fault(3, &sha256).unwrap();
        assert_eq!(fault, "has 3 bytes and should have 4");
        let fault = expect(None, "abac").fault(3, &sha256).unwrap();
        assert!(fault.ends_with("which should begin with abac"), "{fault}");
        let known = expect(None, "abab").or(expect(Some(9), &sha256));
        assert_eq!(known, expect(Some(9), &sha256));
    }
}
