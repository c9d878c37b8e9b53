//! Winograd's transform of weights, once, in f64.

use rayon::prelude::*;

/// The weights' transform G of F(4, 3) and F(6, 3), a row a position.
pub(super) const G4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
pub(super) const G6: [[f64; 3]; 8] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
    [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
    [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
    [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
    [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
    [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
    [0.0, 0.0, 1.0],
];

/// G w G^T of every 3x3 kernel, as texels (quad * outs + out % outs, position * blocks + out / outs), rows `pitch`
/// floats apart.
pub(super) fn transform_weights<const A: usize>(
    g: &[[f64; 3]; A],
    weight: &[f32],
    [cout, cin]: [usize; 2],
    outs: usize,
    texels: &mut [f32],
    pitch: usize,
) {
    let blocks = cout.div_ceil(outs);
    texels.fill(0.0);
    // Columns of rows: one for each block of output channels, with its row at each position.
    let mut rows: Vec<Vec<&mut [f32]>> = (0..blocks).map(|_| Vec::new()).collect();
    for (index, row) in texels.chunks_mut(pitch).take(A * A * blocks).enumerate() {
        rows[index % blocks].push(row);
    }
    rows.par_iter_mut().enumerate().for_each(|(block, rows)| {
        for out in block * outs..((block + 1) * outs).min(cout) {
            for channel in 0..cin {
                let w = &weight[(out * cin + channel) * 9..][..9];
                let mut half = [[0.0; 3]; A];
                for (half, g) in half.iter_mut().zip(g) {
                    for (j, half) in half.iter_mut().enumerate() {
                        *half = (0..3).map(|k| g[k] * f64::from(w[k * 3 + j])).sum();
                    }
                }
                let at = ((channel / 4) * outs + out % outs) * 4 + channel % 4;
                for (i, half) in half.iter().enumerate() {
                    for (j, g) in g.iter().enumerate() {
                        let value: f64 = (0..3).map(|k| half[k] * g[k]).sum();
                        rows[i * A + j][at] = value as f32;
                    }
                }
            }
        }
    });
}
