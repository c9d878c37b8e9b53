//! How frozen weights are stored on a device: as they are, or as halves, two to a word, which the kernels unpack
//! (`shaders/snippets/stored_f16.wgsl`).

use half::f16;

use super::{Shape, Tensor};
use crate::error::{Error, Result};
use crate::gpu::Gpu;

/// How frozen weights are stored on the device. Sums and everything that is trained are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to half precision: half the memory, and cooperative matrices where the device has them.
    F16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            _ => Err(format!("the precision {text:?} is neither f32 nor f16")),
        }
    }
}

impl Precision {
    /// What the import `stored` of a kernel stands for.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Precision::F32 => "snippets/stored_f32.wgsl",
            Precision::F16 => "snippets/stored_f16.wgsl",
        }
    }
}

/// A matrix [rows, columns] in f16, its columns a multiple of 4.
#[derive(Clone)]
pub(crate) struct Halves {
    /// [rows, columns / 2]: not numbers, so that no op takes it for some.
    pub(crate) words: Tensor,
    /// Of the numbers.
    pub(crate) shape: Shape,
}

impl Halves {
    /// Whether a matrix of so many columns can be stored so.
    pub(crate) fn suit(columns: usize) -> bool {
        columns.is_multiple_of(4)
    }

    /// The matrix of what `fill` writes, as [`Tensor::from_fn`].
    ///
    /// # Errors
    /// As there, and [`Error::Setting`] where a number is too large for f16.
    pub(crate) fn from_fn(
        gpu: &Gpu,
        shape: [usize; 2],
        fill: impl Fn(usize, &mut [f32]),
    ) -> Result<Self> {
        assert!(Self::suit(shape[1]), "whole quads");
        let refused = std::cell::Cell::new(None);
        let words = Tensor::from_fn(gpu, [shape[0], shape[1] / 2], |first, out| {
            let mut values = vec![0.0; out.len() * 2];
            fill(first * 2, &mut values);
            refused.set(refused.get().or(pack(&values, out).err()));
        })?;
        match refused.get() {
            None => Ok(Halves {
                words,
                shape: shape.into(),
            }),
            Some(value) => Err(too_large(value)),
        }
    }
}

/// `values` rounded to the nearest f16, two to a word; the first that has none, where there is one.
pub(crate) fn pack(values: &[f32], words: &mut [f32]) -> Result<(), f32> {
    let mut large = None;
    for (word, pair) in words.iter_mut().zip(values.chunks_exact(2)) {
        let bits = [pair[0], pair[1]].map(|value| {
            let half = f16::from_f32(value);
            if !half.is_finite() {
                large.get_or_insert(value);
            }
            u32::from(half.to_bits())
        });
        *word = f32::from_bits(bits[0] | (bits[1] << 16));
    }
    large.map_or(Ok(()), Err)
}

pub(crate) fn too_large(value: f32) -> Error {
    Error::setting(
        "precision",
        format!(
            "f16 cannot hold the base's weight {value} (at most {}): take f32",
            f16::MAX
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::pack;

    #[test]
    fn pairs_lie_low_half_first() {
        let mut words = [0.0; 2];
        pack(&[1.0, -2.0, 0.5, 65504.0], &mut words).expect("they fit");
        let bits = words.map(f32::to_bits);
        assert_eq!(bits, [0xc000_3c00, 0x7bff_3800]);
    }

    #[test]
    fn what_f16_cannot_hold_is_named() {
        let mut words = [0.0; 2];
        assert_eq!(pack(&[1.0, 2.0, 70_000.0, 3.0], &mut words), Err(70_000.0));
        assert!(pack(&[f32::NAN, 2.0, 1.0, 3.0], &mut words).is_err());
    }
}
