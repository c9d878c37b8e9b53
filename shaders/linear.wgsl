// y = alpha * x w^T for few rows x and a long, streamed w, and its gradients. One part of w's rows at a
// time: `out` of them, from row `out_start` of `out_total`.
struct Params {
    n: u32, // rows of x
    k: u32, // columns of x and w
    out: u32,
    out_start: u32,
    out_total: u32,
    span: u32, // forward: columns that one split sums
    first: u32, // backward_x: the row of this part that `out_start` stands for
    accumulate: u32, // backward_x: add to what dx holds
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: x [n, k]; backward: dy [n, out_total]
@group(0) @binding(2) var<storage, read> right: array<f32>; // forward, backward_x: w [out, k]; backward_w: x [n, k]
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // y [splits, n, out_total]; dx [n, k]; dw [out, k]

// Rows of x that one workgroup takes. The sum behind an element is the same whatever it is.
override ROWS: u32 = 8u;
// Rows of w that one workgroup of `forward` takes.
const OUTS: u32 = 4u;
const LANES: u32 = 64u;

var<workgroup> partial: array<f32, 2080>; // [ROWS * OUTS][LANES + 1]

// One workgroup sums one split of ROWS x OUTS elements of y: lanes along k, then over the lanes.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let out_groups = (params.out + OUTS - 1u) / OUTS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let o0 = ((id / row_groups) % out_groups) * OUTS;
    let split = id / (row_groups * out_groups);
    let start = split * params.span;
    if start >= params.k {
        return;
    }
    let end = min(start + params.span, params.k);
    var sums: array<vec4f, 8>;
    for (var k = start + lane; k < end; k += LANES) {
        // Rows past the end repeat the last one; their sums are not stored.
        var w: vec4f;
        for (var o = 0u; o < OUTS; o++) {
            w[o] = right[min(o0 + o, params.out - 1u) * params.k + k];
        }
        for (var n = 0u; n < ROWS; n++) {
            sums[n] += left[min(n0 + n, params.n - 1u) * params.k + k] * w;
        }
    }
    for (var n = 0u; n < ROWS; n++) {
        for (var o = 0u; o < OUTS; o++) {
            partial[(n * OUTS + o) * (LANES + 1u) + lane] = sums[n][o];
        }
    }
    workgroupBarrier();
    let n = n0 + lane / OUTS;
    let o = o0 + lane % OUTS;
    if lane < ROWS * OUTS && n < params.n && o < params.out {
        var total = 0.0;
        for (var i = 0u; i < LANES; i++) {
            total += partial[lane * (LANES + 1u) + i];
        }
        result[(split * params.n + n) * params.out_total + params.out_start + o] = params.alpha * total;
    }
}

// One workgroup adds ROWS x 64 elements of dx over `out` rows of w.
@compute @workgroup_size(64)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let k = (id / row_groups) * LANES + lane;
    if k >= params.k {
        return;
    }
    var sums: array<f32, 8>;
    for (var o = 0u; o < params.out; o++) {
        let w = right[(params.first + o) * params.k + k];
        for (var n = 0u; n < ROWS; n++) {
            sums[n] += left[min(n0 + n, params.n - 1u) * params.out_total + params.out_start + o] * w;
        }
    }
    for (var n = 0u; n < ROWS; n++) {
        if n0 + n < params.n {
            let i = (n0 + n) * params.k + k;
            result[i] = params.alpha * sums[n] + select(0.0, result[i], params.accumulate != 0u);
        }
    }
}

// One workgroup computes 8 rows x 64 columns of dw: an outer product summed over the rows of x.
@compute @workgroup_size(64)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
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
