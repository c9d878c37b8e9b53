// y = alpha * the sum of x over its first dimension, and its gradient.
struct Params {
    rows: u32,
    n: u32,
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, n]; backward: dy [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n]; backward: dx [rows, n]

// One workgroup sums 256 columns, each row after row.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i >= params.n {
        return;
    }
    var total = 0.0;
    // Eight are on their way at a time.
    let whole = params.rows / 8u * 8u;
    for (var row = 0u; row < whole; row += 8u) {
        var eight: array<f32, 8>;
        // unroll
        for (var j = 0u; j < 8u; j++) {
            eight[j] = x[(row + j) * params.n + i];
        }
        // unroll
        for (var j = 0u; j < 8u; j++) {
            total += eight[j];
        }
    }
    for (var row = whole; row < params.rows; row++) {
        total += x[row * params.n + i];
    }
    y[i] = params.alpha * total;
}

// One workgroup computes 256 elements of dx[row, i] = alpha * dy[i].
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.rows * params.n {
        y[i] = params.alpha * x[i % params.n];
    }
}
