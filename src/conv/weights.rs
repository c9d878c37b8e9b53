//! What both kernel families do to a frozen 3x3 weight, once: turned for the gradient, and Winograd's transform in f64
//! (Lavin & Gray, "Fast algorithms for convolutional neural networks", 2015).

/// The weights' transform G of F(4, 3) and F(6, 3), a row a position.
pub(crate) const G4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
pub(crate) const G6: [[f64; 3]; 8] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
    [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
    [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
    [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
    [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
    [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
    [0.0, 0.0, 1.0],
];

/// G w G^T of one 3x3 kernel: position (row, column) at row * A + column.
pub(crate) fn transform<const A: usize>(
    g: &[[f64; 3]; A],
    w: &[f32],
    mut put: impl FnMut(usize, f32),
) {
    for (i, row) in g.iter().enumerate() {
        let half = [0, 1, 2].map(|j| {
            (0..3)
                .map(|k| row[k] * f64::from(w[k * 3 + j]))
                .sum::<f64>()
        });
        for (j, column) in g.iter().enumerate() {
            let value: f64 = (0..3).map(|k| half[k] * column[k]).sum();
            put(i * A + j, value as f32);
        }
    }
}

/// Weights [M, C, 3, 3] rotated and transposed: [C, M, 3, 3].
pub(crate) fn turn(weight: &[f32], [cout, cin]: [usize; 2]) -> Vec<f32> {
    let mut turned = vec![0.0; weight.len()];
    for (index, &value) in weight.iter().enumerate() {
        let (out, channel, tap) = (index / (cin * 9), index / 9 % cin, index % 9);
        turned[(channel * cout + out) * 9 + 8 - tap] = value;
    }
    turned
}

/// The transforms of F(m x m, 3x3) as shaders import them.
pub(super) fn transforms_file(m: usize) -> &'static str {
    match m {
        4 => "snippets/winograd4.wgsl",
        _ => "snippets/winograd6.wgsl",
    }
}
