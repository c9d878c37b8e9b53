//! Pillow's antialiased bilinear resize, bit for bit: coefficients in 22-bit fixed point, horizontal pass
//! first, u8 between the passes (Pillow's `src/libImaging/Resample.c`).

/// Bits behind the point of a coefficient: 32 less 8 of the sample and 2 for the sum.
const PRECISION: u32 = 32 - 8 - 2;

/// For each output sample, the first input sample and its weights.
fn coefficients(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = filter_scale;
    (0..to)
        .map(|out| {
            let center = (out as f64 + 0.5) * scale;
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as i64).min(from as i64) as usize;
            let mut weights: Vec<f64> = (first..end)
                .map(|i| {
                    let distance = (i as f64 - center + 0.5) * (1.0 / filter_scale);
                    (1.0 - distance.abs()).max(0.0)
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            let fixed = weights.iter().map(|w| (0.5 + w * f64::from(1 << PRECISION)) as i32);
            (first, fixed.collect())
        })
        .collect()
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// `pixels`, interleaved RGB of `width` x `height`, at another size.
pub fn resize(pixels: &[u8], [width, height]: [usize; 2], [new_width, new_height]: [usize; 2]) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height * 3);
    const HALF: i32 = 1 << (PRECISION - 1);
    let mut wide = pixels.to_vec();
    if new_width != width {
        let columns = coefficients(width, new_width);
        wide = vec![0; new_width * height * 3];
        for (row, out) in pixels.chunks_exact(width * 3).zip(wide.chunks_exact_mut(new_width * 3)) {
            for ((first, weights), out) in columns.iter().zip(out.chunks_exact_mut(3)) {
                let mut sums = [HALF; 3];
                for (weight, pixel) in weights.iter().zip(row[first * 3..].chunks_exact(3)) {
                    for (sum, &sample) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(sample) * weight;
                    }
                }
                out.copy_from_slice(&sums.map(clip));
            }
        }
    }
    if new_height == height {
        return wide;
    }
    let line = new_width * 3;
    let mut out = vec![0; line * new_height];
    let mut sums = vec![0i32; line];
    for ((first, weights), out) in coefficients(height, new_height).iter().zip(out.chunks_exact_mut(line)) {
        sums.fill(HALF);
        for (weight, row) in weights.iter().zip(wide[first * line..].chunks_exact(line)) {
            for (sum, &sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(sample) * weight;
            }
        }
        out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = clip(sum));
    }
    out
}
