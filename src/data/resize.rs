//! Pillow's antialiased bilinear resize, bit for bit: coefficients in 22-bit fixed point, a horizontal and a
//! vertical pass with u8 between them (`src/libImaging/Resample.c` of Pillow 13).

use std::ops::Range;

/// Bits behind the point of a coefficient: 32 less 8 of the sample and 2 for the sum.
const PRECISION: u32 = 32 - 8 - 2;

/// For an output sample, the first input sample and its weights.
type Weights = (usize, Vec<i32>);

/// Those of the output samples `window` where `from` samples become `to`. An unchanged side is not filtered.
fn coefficients(from: usize, to: usize, window: Range<usize>) -> Vec<Weights> {
    if from == to {
        return window.map(|out| (out, vec![1 << PRECISION])).collect();
    }
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = filter_scale;
    window
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
            let fixed = weights
                .iter()
                .map(|w| (0.5 + w * f64::from(1 << PRECISION)) as i32);
            (first, fixed.collect())
        })
        .collect()
}

/// The input samples that some of `outputs` look at.
fn seen(outputs: &[Weights]) -> Range<usize> {
    let first = outputs.iter().map(|(first, _)| *first).min();
    let end = outputs.iter().map(|(first, weights)| first + weights.len());
    first.unwrap_or(0)..end.max().unwrap_or(0)
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

/// Interleaved RGB rows of `width` pixels, each as `columns`.
fn horizontal(pixels: &[u8], width: usize, columns: &[Weights]) -> Vec<u8> {
    let mut resized = vec![0; pixels.len() / width * columns.len()];
    let rows = pixels
        .chunks_exact(width * 3)
        .zip(resized.chunks_exact_mut(columns.len() * 3));
    for (row, out) in rows {
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
    resized
}

/// Interleaved RGB rows of `width` pixels, from row `top` on, as `rows`.
fn vertical(pixels: &[u8], width: usize, top: usize, rows: &[Weights]) -> Vec<u8> {
    let line = width * 3;
    let mut resized = vec![0; line * rows.len()];
    let mut sums = vec![0i32; line];
    for ((first, weights), out) in rows.iter().zip(resized.chunks_exact_mut(line)) {
        sums.fill(HALF);
        let lines = pixels[(first - top) * line..].chunks_exact(line);
        for (weight, row) in weights.iter().zip(lines) {
            for (sum, &sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(sample) * weight;
            }
        }
        out.iter_mut()
            .zip(&sums)
            .for_each(|(out, &sum)| *out = clip(sum));
    }
    resized
}

/// `pixels`, interleaved RGB of `width` x `height`, at another size.
pub fn resize(pixels: &[u8], size: [usize; 2], new: [usize; 2]) -> Vec<u8> {
    resize_window(pixels, size, new, new.map(|length| 0..length))
}

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first row.
    pub top: usize,
    /// Its first column.
    pub left: usize,
    /// Pixels in a row of it.
    pub width: usize,
    /// Its rows.
    pub height: usize,
}

/// `region` of `pixels` alone at another size: as if it had been cut out before, what lies around it has no part in it.
pub(super) fn resize_region(
    pixels: &[u8],
    [width, height]: [usize; 2],
    region: Region,
    new: [usize; 2],
) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height * 3);
    let rows = pixels.chunks_exact(width * 3);
    let rows = rows.skip(region.top).take(region.height);
    let columns = region.left * 3..(region.left + region.width) * 3;
    let part: Vec<&[u8]> = rows.map(|row| &row[columns.clone()]).collect();
    resize(&part.concat(), [region.width, region.height], new)
}

/// Columns and rows `window` of [`resize`]: what is outside of them is not computed, however long a side becomes.
pub(super) fn resize_window(
    pixels: &[u8],
    [width, height]: [usize; 2],
    [new_width, new_height]: [usize; 2],
    [columns, rows]: [Range<usize>; 2],
) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height * 3);
    let columns = coefficients(width, new_width, columns);
    let rows = coefficients(height, new_height, rows);
    // Since Pillow 13 the vertical pass is first where it takes away more than twice what the
    // horizontal one does; earlier versions differ by 1 in some samples of such tall images.
    let (less_wide, less_high) = (
        width as i64 - new_width as i64,
        height as i64 - new_height as i64,
    );
    if less_high > 0 && less_high > 2 * less_wide {
        return horizontal(&vertical(pixels, width, 0, &rows), width, &columns);
    }
    let seen = seen(&rows);
    let wide = horizontal(
        &pixels[seen.start * width * 3..seen.end * width * 3],
        width,
        &columns,
    );
    vertical(&wide, columns.len(), seen.start, &rows)
}
