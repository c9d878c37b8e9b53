// linear.wgsl's forward for software devices: x and w are images of IMAGE_WIDTH texels a row, a workgroup is one subgroup
// without a barrier.
#import ops/linear_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const ROWS: u32 // of x that a workgroup takes
#const OUTS: u32 // rows of w that a workgroup takes
#const IMAGE_WIDTH: u32 // texels of a row of an image

const SUMS: u32 = ROWS * OUTS;

@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // [n, k]
@group(0) @binding(2) var w: texture_storage_2d<rgba32float, read>; // [out, k]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [splits, n, out_total]

// Where quad i of a tensor lies in its image.
fn at(i: u32) -> vec2u {
    return vec2u(i % IMAGE_WIDTH, i / IMAGE_WIDTH);
}

// One workgroup sums one split of ROWS x OUTS elements of y: over a lane's columns, then over the lanes.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let out_groups = (params.out + OUTS - 1u) / OUTS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let o0 = ((id / row_groups) % out_groups) * OUTS;
    let split = id / (row_groups * out_groups);
    let columns = params.k / 4u;
    let start = split * (params.span / 4u);
    let end = min(start + params.span / 4u, columns);
    var sums: array<f32, SUMS>; // [ROWS][OUTS]
    for (var k = start + lane; k < end; k += LANES) {
        var four: array<vec4f, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            // Rows past the end repeat the last one; their sums are not stored.
            four[n] = textureLoad(x, at(min(n0 + n, params.n - 1u) * columns + k));
        }
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            let weights = textureLoad(w, at(min(o0 + o, params.out - 1u) * columns + k));
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                sums[n * OUTS + o] += dot(four[n], weights);
            }
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let total = subgroupAdd(sums[i]);
        let n = n0 + i / OUTS;
        let o = o0 + i % OUTS;
        if lane == 0u && n < params.n && o < params.out && start < columns {
            y[(split * params.n + n) * params.out_total + params.out_start + o] = params.alpha * total;
        }
    }
}
