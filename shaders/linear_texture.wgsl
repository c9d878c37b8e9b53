// y = x w^T + bias for few rows x, with ReLU: lanes along the columns, so that w streams. Follows a header with LANES and
// ROWS (of x at a time; the sum behind an element is the same whatever it is).
const OUTS: u32 = 4u; // rows of w that one workgroup takes
const SUMS: u32 = OUTS * ROWS;

struct Params {
    quads: u32, // of columns
    rows: u32,
    floor: f32, // 0 for ReLU, else the lowest f32
    pitch: u32, // texels from one row of y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (column / 4, row)
@group(0) @binding(2) var w: texture_storage_2d<rgba32float, read>; // texel (column / 4, out)
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>; // texel (out / 4, row)
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

// One workgroup computes OUTS elements of ROWS rows.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let out = group.x * OUTS;
    let row = group.y * ROWS;
    var sums: array<vec4f, SUMS>; // [OUTS][ROWS]
    for (var quad = lane; quad < params.quads; quad += LANES) {
        var four: array<vec4f, ROWS>;
        // unroll
        for (var n = 0u; n < ROWS; n++) {
            four[n] = textureLoad(x, vec2u(quad, min(row + n, params.rows - 1u)));
        }
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            let weights = textureLoad(w, vec2u(quad, out + o));
            // unroll
            for (var n = 0u; n < ROWS; n++) {
                sums[o * ROWS + n] = fma(weights, four[n], sums[o * ROWS + n]);
            }
        }
    }
    // unroll
    for (var n = 0u; n < ROWS; n++) {
        var result: vec4f;
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            result[o] = subgroupAdd(dot(sums[o * ROWS + n], vec4f(1.0)));
        }
        if lane == 0u && row + n < params.rows {
            y[group.x + (row + n) * params.pitch] = max(result + bias[group.x], vec4f(params.floor));
        }
    }
}
