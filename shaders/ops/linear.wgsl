// y = alpha * x w^T for few rows x and a long, streamed w, and its gradients. One part of w's rows at a time:
// `out` of them, from row `out_start` of `out_total`.
#import stored
#import ops/linear_params.wgsl
#const ROWS: u32 // of x that a workgroup takes
#const OUTS: u32 // rows of w that a workgroup takes

@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: x [n, k]; backward: dy [n, out_total]
@group(0) @binding(2) var<storage, read> right: array<f32>; // w [out, k]
@group(0) @binding(1) var<storage, read> left4: array<vec4f>; // forward_quads
@group(0) @binding(2) var<storage, read> weight: array<Stored>; // forward_quads, backward_x_quads: w [out, k]
@group(0) @binding(3) var<storage, read_write> result4: array<vec4f>; // backward_x_quads: dx
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // y [splits, n, out_total]; dx [splits, n, k]

const LANES: u32 = 64u;
const SUMS: u32 = ROWS * OUTS;
const LINE: u32 = LANES + 1u;
const PARTIALS: u32 = SUMS * LINE;

var<workgroup> partial: array<f32, PARTIALS>; // [ROWS * OUTS][LINE]

// The order of a sum is the same whatever ROWS and OUTS are: over a lane's columns, then over the lanes.
fn finish(lane: u32, split: u32, n0: u32, o0: u32) {
    for (var i = lane; i < SUMS; i += LANES) {
        let n = n0 + i / OUTS;
        let o = o0 + i % OUTS;
        if n < params.n && o < params.out {
            var total = 0.0;
            for (var j = 0u; j < LANES; j++) {
                total += partial[i * LINE + j];
            }
            result[(split * params.n + n) * params.out_total + params.out_start + o] = params.alpha * total;
        }
    }
}

// One workgroup sums one split of ROWS x OUTS elements of y.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let out_groups = (params.out + OUTS - 1u) / OUTS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let o0 = ((id / row_groups) % out_groups) * OUTS;
    let split = id / (row_groups * out_groups);
    let columns = params.k;
    let start = split * (params.span);
    if start >= columns {
        return;
    }
    let end = min(start + params.span, columns);
    var sums: array<f32, SUMS>; // [ROWS][OUTS]
    for (var k = start + lane; k < end; k += LANES) {
        var four: array<f32, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            // Rows past the end repeat the last one; their sums are not stored.
            four[n] = left[min(n0 + n, params.n - 1u) * columns + k];
        }
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            let w = right[min(o0 + o, params.out - 1u) * columns + k];
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                sums[n * OUTS + o] += four[n] * w;
            }
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        partial[i * LINE + lane] = sums[i];
    }
    workgroupBarrier();
    finish(lane, split, n0, o0);
}

// The same four columns at a time, where k is a multiple of 4.
@compute @workgroup_size(64)
fn forward_quads(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let out_groups = (params.out + OUTS - 1u) / OUTS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let o0 = ((id / row_groups) % out_groups) * OUTS;
    let split = id / (row_groups * out_groups);
    let columns = params.k / 4u;
    let start = split * (params.span / 4u);
    if start >= columns {
        return;
    }
    let end = min(start + params.span / 4u, columns);
    // Where the rows start; those past the end repeat the last one, and their sums are not stored.
    var rows: array<u32, ROWS>;
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        rows[n] = min(n0 + n, params.n - 1u) * columns;
    }
    var outs: array<u32, OUTS>;
    // unroll
    for (var o = 0u; o < OUTS; o++) {
        outs[o] = min(o0 + o, params.out - 1u) * columns;
    }
    var sums: array<f32, SUMS>; // [ROWS][OUTS]
    for (var k = start + lane; k < end; k += LANES) {
        var four: array<vec4f, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            four[n] = left4[rows[n] + k];
        }
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            let w = stored(weight[outs[o] + k]);
            // Four multiply-adds, which dot() is not.
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                sums[n * OUTS + o] += four[n].x * w.x;
                sums[n * OUTS + o] += four[n].y * w.y;
                sums[n * OUTS + o] += four[n].z * w.z;
                sums[n * OUTS + o] += four[n].w * w.w;
            }
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        partial[i * LINE + lane] = sums[i];
    }
    workgroupBarrier();
    finish(lane, split, n0, o0);
}

// Where a workgroup of backward_x is: its first row of x, its lane's column of w, and the rows of w of its split.
struct Place {
    n0: u32,
    k: u32,
    split: u32,
    start: u32,
    end: u32,
}
fn place(id: u32, lane: u32, columns: u32) -> Place {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let column_groups = (columns + LANES - 1u) / LANES;
    let split = id / (row_groups * column_groups);
    let start = min(split * params.span, params.out);
    return Place(
        (id % row_groups) * ROWS,
        ((id / row_groups) % column_groups) * LANES + lane,
        params.split + split,
        start,
        min(start + params.span, params.out),
    );
}

// One workgroup sums ROWS x 64 elements of one split of dx over the split's rows of w.
@compute @workgroup_size(64)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let at = place(group.x + group.y * groups.x, lane, params.k);
    if at.k >= params.k || at.start == at.end {
        return;
    }
    var sums: array<f32, ROWS>;
    for (var o = at.start; o < at.end; o++) {
        let w = right[(params.first + o) * params.k + at.k];
        for (var n = 0u; n < ROWS; n++) {
            sums[n] += left[min(at.n0 + n, params.n - 1u) * params.out_total + params.out_start + o] * w;
        }
    }
    for (var n = 0u; n < ROWS; n++) {
        if at.n0 + n < params.n {
            let i = (at.split * params.n + at.n0 + n) * params.k + at.k;
            result[i] = params.alpha * sums[n] + select(0.0, result[i], params.accumulate != 0u);
        }
    }
}

// The same four columns a thread, where k is a multiple of 4: ROWS x 256 elements of a split of dx. Four rows of w at a time,
// so that what a row of dy has for them is read at once.
@compute @workgroup_size(64)
fn backward_x_quads(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let columns = params.k / 4u;
    let at = place(group.x + group.y * groups.x, lane, columns);
    if at.k >= columns || at.start == at.end {
        return;
    }
    var rows: array<u32, ROWS>; // where those of dy start
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        rows[n] = min(at.n0 + n, params.n - 1u) * params.out_total + params.out_start;
    }
    var w_at = (params.first + at.start) * columns + at.k;
    var sums: array<vec4f, ROWS>;
    var o = at.start;
    for (; o + 4u <= at.end; o += 4u) {
        let w0 = stored(weight[w_at]);
        let w1 = stored(weight[w_at + columns]);
        let w2 = stored(weight[w_at + 2u * columns]);
        let w3 = stored(weight[w_at + 3u * columns]);
        w_at += 4u * columns;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            let i = rows[n] + o;
            sums[n] += left[i] * w0;
            sums[n] += left[i + 1u] * w1;
            sums[n] += left[i + 2u] * w2;
            sums[n] += left[i + 3u] * w3;
        }
    }
    for (; o < at.end; o++) {
        let w = stored(weight[w_at]);
        w_at += columns;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            sums[n] += left[rows[n] + o] * w;
        }
    }
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        if at.n0 + n < params.n {
            let i = (at.split * params.n + at.n0 + n) * columns + at.k;
            result4[i] = params.alpha * sums[n] + select(vec4f(0.0), result4[i], params.accumulate != 0u);
        }
    }
}
