//! What a file is that is not what it should be, by its first bytes: errors name it and say what to do.

/// First bytes, what they mean and what to do.
const MAGIC: [(&[u8], &str); 10] = [
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"BZh", "is compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ\0", "is compressed with xz: unpack it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "is compressed with zstd: unpack it first",
    ),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (
        b"\x89HDF",
        "is an HDF5 file (Keras?); only safetensors and PyTorch files are read",
    ),
    (
        b"\x93NUMPY",
        "is a NumPy array; only safetensors and PyTorch files are read",
    ),
    (
        b"GGUF",
        "is a GGUF file; only safetensors and PyTorch files are read",
    ),
    (
        b"<?xml",
        "is XML text, probably a server's error message: fetch the file again",
    ),
];

/// What the file of these bytes is instead of a safetensors file or one of PyTorch's, as a sentence that follows its name.
pub(super) fn instead(file: &[u8]) -> String {
    let text = file.trim_ascii_start();
    let starts = |with: &str| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    if file.is_empty() {
        return "is empty, neither a safetensors file nor one of PyTorch's: fetch it again".into();
    }
    if file.starts_with(b"version https://git-lfs") {
        return "is a Git LFS pointer, a note of where the file is kept: run `git lfs pull` in its repository, or \
                download the file itself"
            .into();
    }
    if starts("<!doctype html") || starts("<html") || starts("<head") {
        return "is an HTML page: the address leads to a page about the file. Download the file itself (on Hugging \
                Face the address has /resolve/ where the page has /blob/)"
            .into();
    }
    if file.starts_with(b"PK\x03\x04") {
        return "is a zip archive: unpack it first".into();
    }
    if file.get(257..262) == Some(b"ustar") {
        return "is a tar archive: unpack it first".into();
    }
    let known = MAGIC.iter().find(|(magic, _)| file.starts_with(magic));
    match known {
        Some((_, what)) => what.to_string(),
        None if starts("{") => {
            "is JSON text, no safetensors file: choose the .safetensors file beside it".into()
        }
        None => {
            "is neither a safetensors file nor one of PyTorch's. Fetch or convert it again".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::instead;

    #[test]
    fn each_kind_of_file_is_named_with_what_to_do() {
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, parts) in [
            (&b""[..], ["is empty", "again"]),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
                ["Git LFS pointer", "git lfs pull"],
            ),
            (
                b"\n <!DOCTYPE HTML><title>vgg19</title>",
                ["HTML page", "itself"],
            ),
            (b"<html>", ["HTML page", "itself"]),
            (b"PK\x03\x04", ["zip archive", "unpack"]),
            (b"\x1f\x8b\x08", ["gzip", "unpack"]),
            (&tar, ["tar archive", "unpack"]),
            (b"\x89HDF\r\n", ["HDF5", "safetensors"]),
            (b"{\"weight_map\": {}}", ["JSON", ".safetensors"]),
            (b"\x00\x01\x02", ["neither a safetensors file", "again"]),
            (b"\x80\x02", ["neither a safetensors file", "again"]),
        ] {
            let said = instead(bytes);
            assert!(
                parts.iter().all(|part| said.contains(part)),
                "{bytes:?}: {said}"
            );
        }
    }
}
