// The one-dimensional transforms of Winograd's F(4, 3) (Lavin & Gray, "Fast algorithms for convolutional neural
// networks", 2015), interpolating at 0, 1, -1, 2, -2 and infinity. winograd6.wgsl is the other import `transforms`.
#import value

const M: u32 = 4u; // outputs of a tile's line
const A: u32 = 6u; // inputs of a tile's line
const AA: u32 = A * A;
const MA: u32 = M * A;
const MM: u32 = M * M;

fn transform_input(d: array<Value, 6>) -> array<Value, 6> {
    let even1 = d[4] - 4.0 * d[2];
    let odd1 = d[3] - 4.0 * d[1];
    let even2 = d[4] - d[2];
    let odd2 = 2.0 * (d[3] - d[1]);
    return array<Value, 6>(
        4.0 * d[0] - 5.0 * d[2] + d[4],
        even1 + odd1,
        even1 - odd1,
        even2 + odd2,
        even2 - odd2,
        4.0 * d[1] - 5.0 * d[3] + d[5],
    );
}

fn transform_output(m: array<Value, 6>) -> array<Value, 4> {
    let sum1 = m[1] + m[2];
    let dif1 = m[1] - m[2];
    let sum2 = m[3] + m[4];
    let dif2 = m[3] - m[4];
    return array<Value, 4>(
        m[0] + sum1 + sum2,
        dif1 + 2.0 * dif2,
        sum1 + 4.0 * sum2,
        dif1 + 8.0 * dif2 + m[5],
    );
}

// The weights' transform of the middle tap of three.
fn transform_middle(i: u32) -> f32 {
    var middle = array<f32, 6>(0.0, -1.0 / 6.0, 1.0 / 6.0, 1.0 / 12.0, -1.0 / 12.0, 0.0);
    return middle[i];
}
