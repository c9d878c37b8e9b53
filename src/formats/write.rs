//! The header of a safetensors file that is written: notes and tensors in the order in which they are given, so that the
//! same content is the same bytes.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

/// A tensor of a file: its name, its type and its shape.
pub(super) type Entry<'a> = (&'a str, Dtype, &'a [usize]);

/// The length word and the header of tensors that lie one after the other, padded to 8 bytes as the format asks for.
pub(super) fn header<'a>(
    notes: &BTreeMap<String, String>,
    tensors: impl IntoIterator<Item = Entry<'a>>,
) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!(notes));
    let mut offset = 0;
    for (name, dtype, shape) in tensors {
        let end = offset + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        entries.insert(name.into(), entry);
        offset = end;
    }
    let mut text = Value::Object(entries).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// The notes that every file carries: PyTorch's tools ask for the first.
pub(super) fn notes() -> BTreeMap<String, String> {
    BTreeMap::from([("format".into(), "pt".into())])
}
