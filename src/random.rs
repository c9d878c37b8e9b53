//! Random numbers that depend on nothing but a seed, a stream's name and a position, the same on every
//! machine and in any order of asking: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", 2011) and, for normals, the inverse distribution function AS 241 (Wichura 1988).
//!
//! Word `i` of a stream is word `i % 4` of the block with counter `[i / 4, 0, stream, 0]` and the seed
//! as key, low half first; `stream` is the 32-bit FNV-1a hash of the name. `tests/fixtures/vgg19.py`
//! holds the same in NumPy.

/// A named sequence of random words.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    seed: u64,
    stream: u32,
}

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let stream = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Stream { seed, stream }
    }

    fn block(&self, index: u64) -> [u32; 4] {
        let (mut a, mut b) = (index as u32, (index >> 32) as u32);
        let (mut c, mut d) = (self.stream, 0);
        let (mut key0, mut key1) = (self.seed as u32, (self.seed >> 32) as u32);
        for _ in 0..10 {
            let left = u64::from(a) * 0xd251_1f53;
            let right = u64::from(c) * 0xcd9e_8d57;
            (a, b, c, d) = (
                (right >> 32) as u32 ^ b ^ key0,
                right as u32,
                (left >> 32) as u32 ^ d ^ key1,
                left as u32,
            );
            key0 = key0.wrapping_add(0x9e37_79b9);
            key1 = key1.wrapping_add(0xbb67_ae85);
        }
        [a, b, c, d]
    }

    /// Word `index` of the stream.
    pub fn word(&self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// Fills `out` with words `first..`, each mapped by `map`.
    fn fill(&self, first: usize, out: &mut [f32], map: impl Fn(u32) -> f32) {
        let mut block = self.block(first as u64 / 4);
        for (offset, value) in out.iter_mut().enumerate() {
            let index = first + offset;
            if index.is_multiple_of(4) {
                block = self.block(index as u64 / 4);
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
        self.fill(first, out, |word| {
            (deviation * normal((f64::from(word) + 0.5) / 4_294_967_296.0)) as f32
        });
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

/// The normal number below which a share `p` of all lies; relative accuracy about 1e-16.
/// Algorithm AS 241, routine PPND16. Only basic arithmetic, `sqrt` and a logarithm written in Rust:
/// the same bits everywhere.
fn normal(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ];
    const B: [f64; 8] = [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_545,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    fn ratio(numerator: &[f64; 8], denominator: &[f64; 8], r: f64) -> f64 {
        let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        horner(numerator) / horner(denominator)
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&A, &B, 0.180_625 - q * q);
    }
    let r = libm::sqrt(-libm::log(p.min(1.0 - p)));
    let x = if r <= 5.0 {
        ratio(&C, &D, r - 1.6)
    } else {
        ratio(&E, &F, r - 5.0)
    };
    x.copysign(q)
}

#[cfg(test)]
mod tests {
    use super::{Stream, normal};

    #[test]
    fn philox_gives_the_published_answers() {
        // Random123's known-answer vectors for philox4x32-10: counter and key all zeros.
        let stream = Stream { seed: 0, stream: 0 };
        assert_eq!(
            stream.block(0),
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
    fn the_inverse_normal_matches_tabled_quantiles() {
        for (p, z) in [
            (0.5, 0.0),
            (0.25, -0.674_489_750_196_081_7),
            (0.001, -3.090_232_306_167_813_5),
            (1e-20, -9.262_340_089_798_408),
            (0.975, 1.959_963_984_540_054),
        ] {
            assert!(
                (normal(p) - z).abs() <= 1e-14 * z.abs().max(1.0),
                "{p}: {}",
                normal(p)
            );
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
