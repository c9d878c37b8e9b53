//! The SHA-256 of many numbers, by runs that are computed side by side.

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// A digest as people see it.
pub(crate) fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that one digest is over.
const RUN: usize = 1 << 20;
/// Numbers that are looked at at a time.
const PART: usize = 1 << 14;

/// The digest of `count` numbers, of which `fill` gives those from the one numbered so, and whether all are finite.
pub(crate) fn numbers(count: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> (Digest, bool) {
    let runs: Vec<(Digest, bool)> = (0..count.div_ceil(RUN))
        .into_par_iter()
        .map(|run| {
            let (mut hasher, mut finite) = (Sha256::new(), true);
            let mut values = [0.0f32; PART];
            let end = count.min((run + 1) * RUN);
            for first in (run * RUN..end).step_by(PART) {
                let values = &mut values[..PART.min(end - first)];
                fill(first, values);
                finite &= values.iter().all(|value| value.is_finite());
                hasher.update(bytemuck::cast_slice(values));
            }
            (hasher.finalize().into(), finite)
        })
        .collect();
    let mut hasher = Sha256::new();
    runs.iter().for_each(|(digest, _)| hasher.update(digest));
    let finite = runs.iter().all(|(_, finite)| *finite);
    (hasher.finalize().into(), finite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn runs_do_not_depend_on_what_is_looked_at_at_a_time() {
        let count = RUN + PART + 3;
        let stream = Stream::new(1, "numbers");
        let (digest, finite) = numbers(count, |first, out| stream.fill_normal(first, 1.0, out));
        let mut all = vec![0.0f32; count];
        stream.fill_normal(0, 1.0, &mut all);
        let runs = all
            .chunks(RUN)
            .map(|run| Sha256::digest(bytemuck::cast_slice::<f32, u8>(run)));
        let expected = runs.fold(Sha256::new(), |hasher, run| hasher.chain_update(run));
        assert_eq!((digest, finite), (expected.finalize().into(), true));
        for (at, value) in [
            (0, f32::NAN),
            (RUN, f32::INFINITY),
            (count - 1, f32::NEG_INFINITY),
        ] {
            let (other, finite) = numbers(count, |first, out| {
                out.copy_from_slice(&all[first..][..out.len()]);
                if (first..first + out.len()).contains(&at) {
                    out[at - first] = value;
                }
            });
            assert!(other != digest && !finite, "{at}");
        }
        assert_eq!(numbers(0, |_, _| {}).0, <Digest>::from(Sha256::digest(b"")));
    }
}
