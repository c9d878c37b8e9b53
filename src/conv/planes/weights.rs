//! Winograd's transformed weights as this family's product reads them.

use rayon::prelude::*;

use crate::conv::weights::transform;

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
                let at = ((channel / 4) * outs + out % outs) * 4 + channel % 4;
                let kernel = &weight[(out * cin + channel) * 9..][..9];
                transform(g, kernel, |position, value| rows[position][at] = value);
            }
        }
    });
}
