//! Random numbers that depend on nothing but a seed, a stream's name and a position, the same on every
//! machine and in any order of asking: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", 2011) and, for normals, the inverse distribution function AS 241 (Wichura 1988).
//!
//! Word `i` of a stream is word `i % 4` of the block with counter `[i / 4, 0, stream, 0]` and the seed
//! as key, low half first; `stream` is the 32-bit FNV-1a hash of the name. `tests/fixtures/vgg19.py`
//! holds the same in NumPy.

mod normal;
mod philox;

use philox::Key;

/// A named sequence of random words.
#[derive(Clone, Copy, Debug)]
pub struct Stream(Key);

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let stream = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Stream(Key { seed, stream })
    }

    /// Word `index` of the stream.
    pub fn word(&self, index: u64) -> u32 {
        self.0.block(index / 4)[(index % 4) as usize]
    }

    /// Fills `out` with words `first..`, each mapped by `map`.
    fn fill(&self, first: usize, out: &mut [f32], map: impl Fn(u32) -> f32) {
        let mut block = self.0.block(first as u64 / 4);
        for (offset, value) in out.iter_mut().enumerate() {
            let index = first + offset;
            if index.is_multiple_of(4) {
                block = self.0.block(index as u64 / 4);
            }
            *value = map(block[index % 4]);
        }
    }

    /// The first `n` normal numbers of mean 0 and the given standard deviation.
    pub fn normals(&self, n: usize, deviation: f64) -> Vec<f32> {
        let mut values = vec![0.0; n];
        self.fill_normal(0, deviation, &mut values);
        values
    }

    /// Normal numbers of mean 0 and the given standard deviation, from position `first` of the stream.
    pub fn fill_normal(&self, first: usize, deviation: f64, out: &mut [f32]) {
        normal::fill(self.0, first, deviation, out);
    }

    /// Uniform numbers in `[-bound, bound)`, from position `first` of the stream.
    pub fn fill_uniform(&self, first: usize, bound: f64, out: &mut [f32]) {
        self.fill(first, out, |word| {
            (bound * (f64::from(word) / 2_147_483_648.0 - 1.0)) as f32
        });
    }

    /// A permutation of `0..n`: Fisher-Yates from the end, swapping place `i` with
    /// `word(n - 1 - i) * (i + 1) >> 32`.
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let word = self.word((n - 1 - i) as u64);
            order.swap(i, ((u64::from(word) * (i as u64 + 1)) >> 32) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Stream};

    #[test]
    fn philox_gives_the_published_answers() {
        // Random123's known-answer vectors for philox4x32-10: counter and key all zeros.
        let key = Key { seed: 0, stream: 0 };
        assert_eq!(
            key.block(0),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
    }

    #[test]
    fn filling_from_any_position_gives_the_same_numbers() {
        let stream = Stream::new(7, "features.0.weight");
        let mut whole = vec![0.0; 1000];
        stream.fill_normal(0, 1.0, &mut whole);
        for first in [1, 2, 3, 4, 5, 997] {
            let mut part = vec![0.0; (1000 - first).min(9)];
            stream.fill_normal(first, 1.0, &mut part);
            assert_eq!(part, whole[first..first + part.len()]);
        }
    }

    #[test]
    fn normals_have_mean_zero_and_the_asked_deviation() {
        let mut x = vec![0.0; 200_000];
        Stream::new(3, "a").fill_normal(0, 2.0, &mut x);
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let var = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64;
        // Four standard errors of 200,000 draws: 2 * 4 / sqrt(n), and for the variance 4 * 4 * sqrt(2 / n).
        assert!(mean.abs() < 0.018, "{mean}");
        assert!((var - 4.0).abs() < 0.051, "{var}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        for n in [0, 1, 2, 5, 1000] {
            let mut order = Stream::new(1, "shuffle").permutation(n);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n));
        }
    }
}
