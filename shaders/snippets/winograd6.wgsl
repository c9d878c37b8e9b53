// The one-dimensional transforms of Winograd's F(6, 3), interpolating at 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
// winograd4.wgsl is the other import `transforms`.
#import value

const M: u32 = 6u; // outputs of a tile's line
const A: u32 = 8u; // inputs of a tile's line
const AA: u32 = A * A;
const MA: u32 = M * A;
const MM: u32 = M * M;

fn transform_input(d: array<Value, 8>) -> array<Value, 8> {
    let even1 = d[2] + d[6] - 4.25 * d[4];
    let odd1 = d[1] + d[5] - 4.25 * d[3];
    let even2 = d[6] + 0.25 * d[2] - 1.25 * d[4];
    let odd2 = 0.5 * d[1] - 2.5 * d[3] + 2.0 * d[5];
    let even3 = d[6] + 4.0 * d[2] - 5.0 * d[4];
    let odd3 = 2.0 * d[1] - 2.5 * d[3] + 0.5 * d[5];
    return array<Value, 8>(
        d[0] - d[6] + 5.25 * (d[4] - d[2]),
        even1 + odd1,
        even1 - odd1,
        even2 + odd2,
        even2 - odd2,
        even3 + odd3,
        even3 - odd3,
        d[7] - d[1] + 5.25 * (d[3] - d[5]),
    );
}

fn transform_output(m: array<Value, 8>) -> array<Value, 6> {
    let sum1 = m[1] + m[2];
    let dif1 = m[1] - m[2];
    let sum2 = m[3] + m[4];
    let dif2 = m[3] - m[4];
    let sum3 = m[5] + m[6];
    let dif3 = m[5] - m[6];
    return array<Value, 6>(
        m[0] + sum1 + sum2 + sum3,
        dif1 + 2.0 * dif2 + 0.5 * dif3,
        sum1 + 4.0 * sum2 + 0.25 * sum3,
        dif1 + 8.0 * dif2 + 0.125 * dif3,
        sum1 + 16.0 * sum2 + 0.0625 * sum3,
        dif1 + 32.0 * dif2 + 0.03125 * dif3 + m[7],
    );
}

// The weights' transform of the middle tap of three.
fn transform_middle(i: u32) -> f32 {
    var middle = array<f32, 8>(0.0, -2.0 / 9.0, 2.0 / 9.0, 1.0 / 45.0, -1.0 / 45.0, 16.0 / 45.0, -16.0 / 45.0, 0.0);
    return middle[i];
}
