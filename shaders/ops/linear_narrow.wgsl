// linear.wgsl for a w of few columns, such as a low-rank factor on the way up.
#const ROWS: u32 // of x that a thread or workgroup takes
#const K: u32 // columns of w

struct Params {
    n: u32, // rows of x
    out: u32,
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: x [n, K]; backward: dy [n, out]
@group(0) @binding(2) var<storage, read> right: array<f32>; // w [out, K]
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // y [n, out]; dx [n, K]
@group(0) @binding(4) var<storage, read> onto: array<f32>; // forward_onto: [n, out]

const LANES: u32 = 64u;
const SUMS: u32 = ROWS * K;
const LINE: u32 = LANES + 1u;
const PARTIALS: u32 = SUMS * LINE;

var<workgroup> partial: array<f32, PARTIALS>; // [ROWS * K][LINE]

// A thread's first row of y and its column.
fn place(id: u32, lane: u32) -> vec2u {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    return vec2u((id % row_groups) * ROWS, (id / row_groups) * LANES + lane);
}

// ROWS elements of y of one thread: its row of w is read once. Rows past the end repeat the last one.
fn product(n0: u32, o: u32) -> array<f32, ROWS> {
    var sums: array<f32, ROWS>;
    // unroll
    for (var k = 0u; k < K; k++) {
        let w = right[o * K + k];
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            sums[n] += left[min(n0 + n, params.n - 1u) * K + k] * w;
        }
    }
    return sums;
}

// One workgroup computes ROWS x 64 elements of y.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let at = place(group.x + group.y * groups.x, lane);
    if at.y >= params.out {
        return;
    }
    let sums = product(at.x, at.y);
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        if at.x + n < params.n {
            result[(at.x + n) * params.out + at.y] = params.alpha * sums[n];
        }
    }
}

// The same added to what is there.
@compute @workgroup_size(64)
fn forward_onto(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let at = place(group.x + group.y * groups.x, lane);
    if at.y >= params.out {
        return;
    }
    let sums = product(at.x, at.y);
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        if at.x + n < params.n {
            let i = (at.x + n) * params.out + at.y;
            result[i] = onto[i] + params.alpha * sums[n];
        }
    }
}

// One workgroup sums ROWS rows of dx over all rows of w: a lane's rows first, then the lanes.
@compute @workgroup_size(64)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let n0 = (group.x + group.y * groups.x) * ROWS;
    if n0 >= params.n {
        return;
    }
    var sums: array<f32, SUMS>; // [ROWS][K]
    for (var o = lane; o < params.out; o += LANES) {
        var dy: array<f32, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            dy[n] = left[min(n0 + n, params.n - 1u) * params.out + o];
        }
        // unroll
        for (var k = 0u; k < K; k++) {
            let w = right[o * K + k];
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                sums[n * K + k] += dy[n] * w;
            }
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        partial[i * LINE + lane] = sums[i];
    }
    workgroupBarrier();
    for (var i = lane; i < SUMS; i += LANES) {
        if n0 + i / K < params.n {
            var total = 0.0;
            for (var j = 0u; j < LANES; j++) {
                total += partial[i * LINE + j];
            }
            result[n0 * K + i] = params.alpha * total;
        }
    }
}
