//! Normal numbers out of words: the inverse distribution function AS 241, routine PPND16, relative accuracy about 1e-16.
//! Only basic arithmetic, square roots and a logarithm written in Rust: the same bits everywhere.
//!
//! A VGG19 has 144 million of them, so they are made many at once, in loops that a compiler makes vectors of: first all
//! of a run by the formula of the middle, then those that lie outside it again, by that of the tails.

use super::philox::Key;

/// Blocks of words made at a time.
const BLOCKS: usize = 64;
/// Numbers made at a time.
const RUN: usize = 4 * BLOCKS;
// Places in a run are bytes.
const _: () = assert!(RUN <= 256);
/// Numbers of the tails are made in so many lanes.
const LANES: usize = 8;
/// Words of each tail: those whose share is more than 0.425 from a half.
const TAIL: u32 = 322_122_547;

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

/// Fills `out` with normal numbers of mean 0 and the given standard deviation, from position `first` of the stream.
pub(super) fn fill(key: Key, first: usize, deviation: f64, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        /// The same arithmetic on four numbers at a time. No multiplication and addition become one in Rust, so the bits
        /// are those of [`fill_with`] everywhere.
        #[target_feature(enable = "avx2")]
        fn wide(key: Key, first: usize, deviation: f64, out: &mut [f32]) {
            fill_with(key, first, deviation, out);
        }
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unsafe_code)]
        return unsafe { wide(key, first, deviation, out) };
    }
    fill_with(key, first, deviation, out);
}

#[inline(always)]
fn fill_with(key: Key, first: usize, deviation: f64, out: &mut [f32]) {
    let mut run = [0.0; RUN];
    let (mut at, mut left) = (first, out);
    while !left.is_empty() {
        let within = at % 4;
        let count = (RUN - within).min(left.len());
        let (now, rest) = left.split_at_mut(count);
        numbers(key, at as u64 / 4, deviation, &mut run);
        now.copy_from_slice(&run[within..within + count]);
        (at, left) = (at + count, rest);
    }
}

/// Those of the blocks from `first` on.
#[inline(always)]
fn numbers(key: Key, first: u64, deviation: f64, out: &mut [f32; RUN]) {
    let mut words = [[0; 4]; BLOCKS];
    key.words(first, &mut words);
    let words = words.as_flattened();
    for (out, &word) in out.iter_mut().zip(words) {
        *out = (deviation * middle(share(word) - 0.5)) as f32;
    }
    let (mut places, mut count) = ([0u8; RUN], 0);
    for (place, &word) in words.iter().enumerate() {
        places[count] = place as u8;
        count += usize::from(outside(word));
    }
    // Whole lanes; behind the last place lies some other.
    let mut tails = [0.0; LANES];
    for places in places[..count.next_multiple_of(LANES)].chunks_exact(LANES) {
        for (number, &place) in tails.iter_mut().zip(places) {
            *number = share(words[place as usize]);
        }
        for number in &mut tails {
            *number = deviation * tail(*number);
        }
        for (&place, &number) in places.iter().zip(&tails) {
            if outside(words[place as usize]) {
                out[place as usize] = number as f32;
            }
        }
    }
}

/// Whether the number that a word stands for is one of the tails.
#[inline(always)]
fn outside(word: u32) -> bool {
    word.wrapping_add(TAIL) < 2 * TAIL
}

/// The share of all numbers that lie below the one that a word stands for: never 0 or 1.
#[inline(always)]
fn share(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

#[inline(always)]
fn ratio(numerator: &[f64; 8], denominator: &[f64; 8], r: f64) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
    horner(numerator) / horner(denominator)
}

/// The normal number below which a share of a half and `q` lies, for `q` of at most 0.425.
#[inline(always)]
fn middle(q: f64) -> f64 {
    q * ratio(&A, &B, 0.180_625 - q * q)
}

/// The normal number below which a share `p` lies, outside of the middle. The routine has a third formula, for shares of
/// less than e^-25, which no word stands for.
#[inline(always)]
fn tail(p: f64) -> f64 {
    let r = (-log(p.min(1.0 - p))).sqrt();
    ratio(&C, &D, r - 1.6).copysign(p - 0.5)
}

/// The natural logarithm of a number between 0 and 1, neither of them nor subnormal, in the steps of [`libm::log`] (FreeBSD's
/// `e_log.c`) without its branches.
#[inline(always)]
fn log(x: f64) -> f64 {
    const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LO: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const L1: f64 = f64::from_bits(0x3fe5_5555_5555_5593);
    const L2: f64 = f64::from_bits(0x3fd9_9999_9997_fa04);
    const L3: f64 = f64::from_bits(0x3fd2_4924_9422_9359);
    const L4: f64 = f64::from_bits(0x3fcc_71c5_1d8e_78af);
    const L5: f64 = f64::from_bits(0x3fc7_4664_96cb_03de);
    const L6: f64 = f64::from_bits(0x3fc3_9a09_d078_c69f);
    const L7: f64 = f64::from_bits(0x3fc2_f112_df3e_5244);
    /// The upper half of the root of a half.
    const ROOT: u64 = 0x3fe6_a09e;
    // x = 2^k (1 + f), with 1 + f between the root of a half and that of two.
    let upper = (x.to_bits() >> 32) + (0x3ff0_0000 - ROOT);
    let k = f64::from((upper >> 20) as i32 - 0x3ff);
    let near = ((upper & 0xf_ffff) + ROOT) << 32 | x.to_bits() & 0xffff_ffff;
    let f = f64::from_bits(near) - 1.0;
    let half = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (L2 + w * (L4 + w * L6));
    let odd = z * (L1 + w * (L3 + w * (L5 + w * L7)));
    s * (half + (odd + even)) + k * LN2_LO - half + f + k * LN2_HI
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// AS 241 as it is printed, for a share of any size.
    fn normal(p: f64) -> f64 {
        let q = p - 0.5;
        if q.abs() <= 0.425 {
            return middle(q);
        }
        let r = libm::sqrt(-libm::log(p.min(1.0 - p)));
        let x = match r <= 5.0 {
            true => ratio(&C, &D, r - 1.6),
            false => ratio(&E, &F, r - 5.0),
        };
        x.copysign(q)
    }

    #[test]
    fn many_at_once_are_bit_for_bit_those_one_at_a_time() {
        let key = Key { seed: 5, stream: 9 };
        // From anywhere in a block, with what is left of a run, on vectors of this processor and without.
        for (first, count) in [(0, 100_000), (3, 1), (RUN - 1, 2), (1 << 34, 2 * RUN + 5)] {
            let one = (first..first + count).map(|index| {
                let word = key.block(index as u64 / 4)[index % 4];
                (0.3 * normal(share(word))) as f32
            });
            let one: Vec<_> = one.map(f32::to_bits).collect();
            let (mut wide, mut plain) = (vec![0f32; count], vec![0f32; count]);
            fill(key, first, 0.3, &mut wide);
            fill_with(key, first, 0.3, &mut plain);
            for many in [wide, plain] {
                let many = many.into_iter().map(f32::to_bits);
                assert!(many.eq(one.iter().copied()), "{count} from {first}");
            }
        }
    }

    #[test]
    fn the_tails_hold_for_every_share_that_a_word_has() {
        // Both ends, the first of each tail, and steps of a prime between.
        let near = (0..2000).chain(TAIL - 2000..TAIL + 2000);
        let below = near.chain((0..TAIL).step_by(10_007));
        for word in below.flat_map(|word| [word, u32::MAX - word]) {
            let p = share(word);
            assert_eq!(
                log(p.min(1.0 - p)).to_bits(),
                libm::log(p.min(1.0 - p)).to_bits()
            );
            assert_eq!(outside(word), (p - 0.5).abs() > 0.425, "{word}");
            if outside(word) {
                assert_eq!(tail(p).to_bits(), normal(p).to_bits(), "{word}");
            }
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
}
