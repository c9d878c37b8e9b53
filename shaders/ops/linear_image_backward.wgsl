// linear.wgsl's backward_x for software devices: w is an image of IMAGE_WIDTH texels a row, a workgroup is one subgroup.
#import snippets/packed.wgsl
#import ops/linear_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const ROWS: u32 // of dy that a workgroup takes
#const GROUPS: u32 // of LANES quads of columns
#const IMAGE_WIDTH: u32 // texels of a row of an image

const SUMS: u32 = ROWS * GROUPS;

@group(0) @binding(1) var<storage, read> dy: array<f32>; // [n, out_total]
@group(0) @binding(2) var w: texture_storage_2d<rgba32float, read>; // [out, k]
@group(0) @binding(3) var<storage, read_write> dx: array<vec2<u64>>; // [parts, n, k]

// Where quad i of a tensor lies in its image.
fn at(i: u32) -> vec2u {
    return vec2u(i % IMAGE_WIDTH, i / IMAGE_WIDTH);
}

// One workgroup sums ROWS rows x GROUPS * LANES quads of dx over this part: a lane holds one element of dy a row, which
// it passes to the others, and walks down its columns of w.
@compute @workgroup_size(LANES)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row_groups = (params.n + ROWS - 1u) / ROWS;
    let id = group.x + group.y * groups.x;
    let n0 = (id % row_groups) * ROWS;
    let columns = params.k / 4u;
    let first = (id / row_groups) * GROUPS * LANES + lane;
    var sums: array<vec4f, SUMS>; // [ROWS][GROUPS]
    for (var o = 0u; o < params.out; o += LANES) {
        var d: array<f32, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            // Rows past the end repeat the last one; their sums are not stored.
            let row = min(n0 + n, params.n - 1u) * params.out_total + params.out_start;
            d[n] = select(0.0, dy[row + min(o + lane, params.out - 1u)], o + lane < params.out);
        }
        // unroll
        for (var j = 0u; j < LANES; j++) {
            let line = min(o + j, params.out - 1u) * columns;
            var four: array<vec4f, GROUPS>;
            // unroll
            for (var g = 0u; g < GROUPS; g++) {
                four[g] = textureLoad(w, at(line + min(first + g * LANES, columns - 1u)));
            }
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                let s = subgroupBroadcast(d[n], j);
                // unroll
                for (var g = 0u; g < GROUPS; g++) {
                    sums[n * GROUPS + g] += s * four[g];
                }
            }
        }
    }
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        // unroll
        for (var g = 0u; g < GROUPS; g++) {
            let column = first + g * LANES;
            if n0 + n < params.n && column < columns {
                dx[(params.split * params.n + n0 + n) * columns + column] = packed(params.alpha * sums[n * GROUPS + g]);
            }
        }
    }
}
