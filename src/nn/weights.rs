//! Where a network's numbers come from: a seed, or a file's bytes.

use std::collections::BTreeMap;
use std::fmt;

use rayon::prelude::*;

use crate::random::Stream;

/// Parameters by name, on the host, given out a run of elements at a time.
pub enum Source<'a> {
    /// torchvision's initialisation from a seed: convolutions normal with deviation sqrt(2 / (9 out))
    /// (`kaiming_normal_`, fan out), linear layers normal with deviation 0.01, biases zero. A parameter's
    /// numbers are the [`Stream`] of its name.
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
    /// Little-endian f32, every parameter whole.
    pub(crate) parameters: BTreeMap<String, &'a [u8]>,
    /// Told of bytes that have been used, so that they need not stay in memory.
    pub(crate) release: Box<Release<'a>>,
}

/// Bytes of a file that are in memory at a time.
const RELEASED: usize = 8 << 20;
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
                let bytes = &file.parameters[name][first * 4..][..out.len() * 4];
                let out: &mut [u8] = bytemuck::cast_slice_mut(out);
                for (out, bytes) in out.chunks_mut(RELEASED).zip(bytes.chunks(RELEASED)) {
                    out.copy_from_slice(bytes);
                    (file.release)(bytes);
                }
            }
            Source::Numbers(fill) => fill(name, shape, first, out),
            Source::Random(seed) => {
                let deviation = match shape {
                    [out, _, h, w] => (2.0 / (out * h * w) as f64).sqrt(),
                    [_, _] => 0.01,
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

    /// A whole parameter.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let mut values = vec![0.0; shape.iter().product()];
        self.fill(name, shape, 0, &mut values);
        values
    }
}
