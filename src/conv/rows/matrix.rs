//! Whether a device's cooperative matrices can be trusted: checked against f32 before they are used.

use super::choice::Site;
use super::direct::Direct;
use crate::error::Result;
use crate::gpu::{Gpu, Tile};
use crate::ops::relu::Floor;
use crate::random::Stream;
use crate::tensor::{Precision, Tensor};

/// The largest difference, relative to the largest value, that counts as agreement: the activations' rounding to f16 is
/// 2^-11 of each, 5e-4, and the weights are the same; a wrong layout differs by about 1.
const AGREES: f64 = 4e-3;

/// The tiles on the device's cooperative matrices that agree with f32.
pub(super) fn usable(gpu: &Gpu) -> Vec<Tile> {
    let mut tiles = gpu.matrix_tiles();
    tiles.retain(|&tile| match difference(gpu, tile) {
        Ok(error) if agrees(error) => true,
        Ok(error) => {
            tracing::warn!(
                "{tile} is not used: it differs from f32 by {error:.1e} of the largest value"
            );
            false
        }
        // What the device cannot compile or run is as good as wrong.
        Err(error) => {
            tracing::warn!("{tile} is not used: {error}");
            false
        }
    });
    tiles
}

fn agrees(error: f64) -> bool {
    error <= AGREES
}

/// The largest difference between a convolution on `tile` and on registers.
fn difference(gpu: &Gpu, tile: Tile) -> Result<f64> {
    let site = Site {
        cin: 64,
        cout: 72,
        side: 11,
        precision: Precision::F16,
        gradient: false,
        pooled: false,
    };
    let noise = |name, n, deviation| Stream::new(0, name).normals(n, deviation);
    let layer = Direct::new(gpu, site, &noise("weight", 72 * 64 * 9, 1.0 / 24.0))?;
    let x = Tensor::from_slice(gpu, [2, 64, 11, 13], &noise("x", 2 * 64 * 11 * 13, 1.0))?;
    let bias = Tensor::from_slice(gpu, [72], &noise("bias", 72, 1.0))?;
    let run = |tile: Tile| layer.run(&x, &bias, Floor::NONE, tile, 1)?.to_vec();
    let expected: Vec<f64> = run(Tile::MIDDLE)?.into_iter().map(f64::from).collect();
    Ok(crate::check::relative_error(&run(tile)?, &expected))
}

#[cfg(test)]
mod tests {
    use super::agrees;

    #[test]
    fn rounding_agrees_and_a_wrong_layout_does_not() {
        assert!(agrees(8e-4));
        assert!(!agrees(0.9));
        assert!(!agrees(f64::INFINITY));
        assert!(!agrees(f64::NAN));
    }
}
