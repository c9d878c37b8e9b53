//! Philox4x32-10, the words that all random numbers are made of.

/// Which words: the seed and the stream's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) seed: u64,
    pub(super) stream: u32,
}

impl Key {
    /// Words `4 * index` to `4 * index + 3`.
    #[inline(always)]
    pub(super) fn block(self, index: u64) -> [u32; 4] {
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

    /// The words of the blocks from `first` on.
    #[inline(always)]
    pub(super) fn words(self, first: u64, out: &mut [[u32; 4]]) {
        for (offset, out) in out.iter_mut().enumerate() {
            *out = self.block(first + offset as u64);
        }
    }
}
