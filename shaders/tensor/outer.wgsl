// y = alpha * left^T right: the gradient of a weight, an outer product summed over the rows of a batch. One part of y's rows
// at a time: `out` of them, from row `out_start` of `out_total`.
struct Params {
    n: u32, // rows of left and right
    k: u32, // columns of right and y
    out: u32,
    out_start: u32,
    out_total: u32,
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // [n, out_total]
@group(0) @binding(2) var<storage, read> right: array<f32>; // [n, k]
@group(0) @binding(2) var<storage, read> right4: array<vec4f>; // quads
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // y [out, k]
@group(0) @binding(3) var<storage, read_write> result4: array<vec4f>; // quads

const LANES: u32 = 64u;

// One workgroup computes 8 rows x 64 columns of y: an outer product summed over the rows of x.
@compute @workgroup_size(64)
fn wide(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let out_groups = (params.out + 7u) / 8u;
    let id = group.x + group.y * groups.x;
    let o0 = (id % out_groups) * 8u;
    let k = (id / out_groups) * LANES + lane;
    if k >= params.k {
        return;
    }
    var sums: array<f32, 8>;
    for (var n = 0u; n < params.n; n++) {
        let x = right[n * params.k + k];
        for (var o = 0u; o < 8u; o++) {
            sums[o] += left[n * params.out_total + params.out_start + min(o0 + o, params.out - 1u)] * x;
        }
    }
    for (var o = 0u; o < 8u; o++) {
        if o0 + o < params.out {
            result[(o0 + o) * params.k + k] = params.alpha * sums[o];
        }
    }
}

// The same with four columns a thread, where k is a multiple of 4: 8 rows x 256 columns of y.
@compute @workgroup_size(64)
fn quads(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let out_groups = (params.out + 7u) / 8u;
    let id = group.x + group.y * groups.x;
    let o0 = (id % out_groups) * 8u;
    let columns = params.k / 4u;
    let k = (id / out_groups) * LANES + lane;
    if k >= columns {
        return;
    }
    var sums: array<vec4f, 8>;
    for (var n = 0u; n < params.n; n++) {
        let x = right4[n * columns + k];
        // unroll
        for (var o = 0u; o < 8u; o++) {
            sums[o] += left[n * params.out_total + params.out_start + min(o0 + o, params.out - 1u)] * x;
        }
    }
    // unroll
    for (var o = 0u; o < 8u; o++) {
        if o0 + o < params.out {
            result4[(o0 + o) * columns + k] = params.alpha * sums[o];
        }
    }
}

// One thread computes one element of y.
@compute @workgroup_size(64)
fn narrow(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * LANES + lane;
    if i >= params.out * params.k {
        return;
    }
    let o = i / params.k;
    let k = i % params.k;
    var sum = 0.0;
    for (var n = 0u; n < params.n; n++) {
        sum += left[n * params.out + o] * right[n * params.k + k];
    }
    result[i] = params.alpha * sum;
}
