//! The header of a safetensors file, looked at before the library parses it: whether it is one at all, whether all of it
//! is there, and whether a name stands in it twice, which the library would not say.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::sniff;

/// The most bytes that are read of a header; that of VGG19's weights has 4 KB.
pub(super) const MAX_HEADER: u64 = 8 << 20;

/// What is wrong with the file of these bytes, as a sentence that follows its name.
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    let Some((length, rest)) = file.split_first_chunk() else {
        return Err(sniff::instead(file));
    };
    if rest.first() != Some(&b'{') {
        return Err(sniff::instead(file));
    }
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(format!(
            "is not a safetensors file of a network: its header would have {length} bytes. Fetch or convert it again"
        ));
    }
    let Some(header) = rest.get(..length as usize) else {
        return Err(format!(
            "is not a whole safetensors file: it ends within its header, after {} bytes. Fetch it again",
            file.len()
        ));
    };
    let entries: Entries = serde_json::from_slice(header).map_err(|e| {
        format!("is a safetensors file with a damaged header ({e}). Fetch or convert it again")
    })?;
    let (found, expected) = (file.len() as u64, entries.end.saturating_add(8 + length));
    if found < expected {
        return Err(format!(
            "is not a whole safetensors file: {found} of {expected} bytes are there. Fetch it again"
        ));
    }
    if found > expected {
        return Err(format!(
            "is a safetensors file with {} bytes after its last tensor. Fetch or convert it again",
            found - expected
        ));
    }
    Ok(())
}

/// The tensors that a header names.
struct Entries {
    /// Where the last one ends.
    end: u64,
}

/// One of them.
#[derive(Deserialize)]
struct Entry {
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Entries;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
        let (mut names, mut end) = (HashSet::new(), 0);
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                let Entry { data_offsets } = map.next_value()?;
                end = end.max(data_offsets[1]);
            }
            if let Some(twice) = names.replace(name) {
                return Err(M::Error::custom(format!("{twice:?} stands in it twice")));
            }
        }
        Ok(Entries { end })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &vec![0; data],
        ]
        .concat()
    }

    #[test]
    fn what_the_header_says_must_be_the_file() {
        let one = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert_eq!(check(&file(one, 8)), Ok(()));
        let twice = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let far = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#;
        let deep = format!("{{\"a\":{{\"x\":{}", "[".repeat(1 << 20));
        for (bytes, says) in [
            (file(one, 7), "100 of 101 bytes"),
            (file(one, 9), "1 bytes after"),
            (file(twice, 8), "\"a\" stands in it twice"),
            (file(far, 8), "of 18446744073709551615 bytes"),
            (file(&deep, 0), "damaged header"),
            (file("{\"a\":3}", 0), "damaged header"),
            (file("{", 0), "damaged header"),
            (file(one, 8)[..40].to_vec(), "ends within its header"),
            (
                [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
                "header would have",
            ),
            (b"{\"a\":3}".to_vec(), "JSON"),
        ] {
            let problem = check(&bytes).expect_err(says);
            assert!(problem.contains(says), "{problem}");
        }
    }
}
