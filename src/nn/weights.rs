//! Where a network's numbers come from: a seed, or a file's bytes.

use std::collections::BTreeMap;
use std::fmt;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::random::Stream;

/// Parameters by name, on the host, given out a run of elements at a time.
pub enum Source<'a> {
    /// torchvision's initialisation from a seed: convolutions normal with deviation sqrt(2 / (9 out))
    /// (`kaiming_normal_`, fan out), linear layers normal with deviation 0.01, biases zero, batch norms that change
    /// nothing. A parameter's numbers are the [`Stream`] of its name.
    Random(u64),
    /// A file's bytes.
    File(Mapped<'a>),
    /// What a function gives for a parameter's name, shape and first element.
    Numbers(Box<Numbers<'a>>),
}

/// Fills a run of a parameter's elements, by its name, its shape and the index of the first.
pub type Numbers<'a> = dyn Fn(&str, &[usize], usize, &mut [f32]) + Send + Sync + 'a;

/// Is told of a part of a file.
pub(crate) type Release<'a> = dyn Fn(&[u8]) + Send + Sync + 'a;

/// Parameters in a mapped file.
pub struct Mapped<'a> {
    /// Every parameter whole.
    pub(crate) parameters: BTreeMap<String, Stored<'a>>,
    /// The batches that each batch norm has seen, by [`Arch::counters`](crate::nn::Arch::counters), as far as the file
    /// tells.
    pub(crate) counters: BTreeMap<String, i64>,
    /// Told of bytes that have been used, so that they need not stay in memory.
    pub(crate) release: Box<Release<'a>>,
}

/// How a file keeps a number, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// As it is computed with.
    F32,
    /// Double precision, rounded to the nearest f32 where it is read.
    F64,
}

impl Float {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Float::F16 | Float::Bf16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }
}

/// Numbers in a file's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// How each is kept.
    pub float: Float,
    /// All of them, wherever they lie: nothing is aligned.
    pub bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.bytes.len() / self.float.size()
    }

    /// `count` of them from the one numbered `first`.
    pub fn part(self, first: usize, count: usize) -> Self {
        let size = self.float.size();
        Stored {
            bytes: &self.bytes[first * size..][..count * size],
            ..self
        }
    }

    /// All of them as f32: those of half precision exactly, those of double precision rounded to the nearest.
    pub fn widen(self, out: &mut [f32]) {
        match self.float {
            Float::F16 => each(self.bytes, out, |word| f16::from_le_bytes(word).to_f32()),
            Float::Bf16 => each(self.bytes, out, |word| bf16::from_le_bytes(word).to_f32()),
            Float::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(self.bytes),
            Float::F64 => each(self.bytes, out, |word| f64::from_le_bytes(word) as f32),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let (words, _) = bytes.as_chunks();
    for (out, &word) in out.iter_mut().zip(words) {
        *out = number(word);
    }
}

/// Numbers of a file that are in memory at a time.
const RELEASED: usize = 2 << 20;
/// Elements that one core makes at a time.
const RUN: usize = 1 << 16;

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Random(seed) => f.debug_tuple("Random").field(seed).finish(),
            Source::File(file) => f.debug_tuple("File").field(file).finish(),
            Source::Numbers(_) => f.debug_tuple("Numbers").finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Mapped<'_> {
    /// The names, not the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.parameters.keys()).finish()
    }
}

impl Source<'_> {
    /// Elements `first..` of parameter `name` of an architecture whose parameter has `shape`.
    pub(crate) fn fill(&self, name: &str, shape: &[usize], first: usize, out: &mut [f32]) {
        match self {
            Source::File(file) => {
                let stored = file.parameters[name];
                for (index, out) in out.chunks_mut(RELEASED).enumerate() {
                    let part = stored.part(first + index * RELEASED, out.len());
                    part.widen(out);
                    (file.release)(part.bytes);
                }
            }
            Source::Numbers(fill) => fill(name, shape, first, out),
            Source::Random(seed) => {
                let deviation = match shape {
                    [out, _, h, w] => (2.0 / (out * h * w) as f64).sqrt(),
                    [_, _] => 0.01,
                    // A batch norm's factor and variance.
                    _ if name.ends_with("weight") || name.ends_with("var") => return out.fill(1.0),
                    _ => return out.fill(0.0),
                };
                let stream = Stream::new(*seed, name);
                out.par_chunks_mut(RUN)
                    .enumerate()
                    .for_each(|(index, run)| {
                        stream.fill_normal(first + index * RUN, deviation, run)
                    });
            }
        }
    }

    /// The number of a counter of batches, which nothing is computed with.
    pub(crate) fn counter(&self, name: &str) -> i64 {
        match self {
            Source::File(file) => file.counters.get(name).copied().unwrap_or(0),
            Source::Random(_) | Source::Numbers(_) => 0,
        }
    }

    /// A whole parameter.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let mut values = vec![0.0; shape.iter().product()];
        self.fill(name, shape, 0, &mut values);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of each format: sign, exponent, fraction.
    fn defined(bits: u16, exponent: u32, bias: i32) -> f64 {
        let fraction = 15 - exponent;
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let power = i32::from((bits & 0x7fff) >> fraction);
        let rest = f64::from(bits & ((1 << fraction) - 1)) / f64::from(1 << fraction);
        match power {
            0 => sign * rest * 2f64.powi(1 - bias),
            power => sign * (1.0 + rest) * 2f64.powi(power - bias),
        }
    }

    #[test]
    fn halves_are_widened_exactly_and_doubles_rounded_to_the_nearest() {
        for (float, exponent, bias) in [(Float::F16, 5, 15), (Float::Bf16, 8, 127)] {
            let finite = |bits: &u16| (bits & 0x7fff) >> (15 - exponent) < (1 << exponent) - 1;
            let all: Vec<u16> = (0..=u16::MAX).filter(finite).collect();
            // One byte off, so that no word is aligned.
            let bytes: Vec<u8> = [7]
                .into_iter()
                .chain(all.iter().flat_map(|b| b.to_le_bytes()))
                .collect();
            let stored = Stored {
                float,
                bytes: &bytes[1..],
            };
            let mut found = vec![0.0; stored.count()];
            stored.widen(&mut found);
            for (&bits, found) in all.iter().zip(found) {
                assert_eq!(
                    f64::from(found),
                    defined(bits, exponent, bias),
                    "{float:?} {bits:#x}"
                );
            }
        }
        // Halfway between two f32: to the even one. Too small for any: to zero.
        let doubles = [
            1.0 + 2f64.powi(-24),
            1.0 + 3.0 * 2f64.powi(-24),
            1e-60,
            -0.1,
        ];
        let bytes: Vec<u8> = doubles.iter().flat_map(|d| d.to_le_bytes()).collect();
        let stored = Stored {
            float: Float::F64,
            bytes: &bytes,
        };
        let mut found = [9.0; 3];
        stored.part(1, 3).widen(&mut found);
        assert_eq!(found, [1.0 + 2f32.powi(-22), 0.0, -0.1]);
        stored.part(0, 1).widen(&mut found[..1]);
        assert_eq!(found[0], 1.0);
    }
}
