//! A tensor in a file: its type, its shape, where its bytes lie, and its name fit to be printed.

use std::ops::Range;

use safetensors::Dtype;

use crate::nn::weights::Float;

/// A tensor of a file that is open.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Where a tensor's bytes are, one element after the other.
#[derive(Debug)]
pub(super) enum Data {
    /// In the file.
    Lies(Range<usize>),
    /// Put together from elements that lie apart in the file.
    Gathered(Vec<u8>),
}

/// A tensor with its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    pub(super) data: &'a [u8],
}

impl Entry {
    /// The tensor, of the file with these bytes.
    pub(super) fn view<'a>(&'a self, file: &'a [u8]) -> View<'a> {
        View {
            dtype: self.dtype,
            shape: &self.shape,
            data: match &self.data {
                Data::Lies(range) => &file[range.clone()],
                Data::Gathered(bytes) => bytes,
            },
        }
    }
}

/// How numbers of this type are read; none for those that are not floating-point or too narrow for weights.
pub(super) fn float(dtype: Dtype) -> Option<Float> {
    match dtype {
        Dtype::F16 => Some(Float::F16),
        Dtype::BF16 => Some(Float::Bf16),
        Dtype::F32 => Some(Float::F32),
        Dtype::F64 => Some(Float::F64),
        _ => None,
    }
}

/// A name out of a file, fit to be printed.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 100;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_are_printed_without_control_characters_and_not_for_pages() {
        assert_eq!(shown("a\0\u{1b}[2J"), "a\\0\\u{1b}[2J");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), 103);
    }
}
