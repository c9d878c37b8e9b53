// The products of transformed tiles and weights: one matrix product for each of A * A positions.
#import snippets/packed.wgsl
#import conv/planes/winograd_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const OUTS: u32 // output channels of a workgroup
#const GROUPS: u32 // of LANES tiles each

const OUT_GROUPS: u32 = OUTS / LANES;
const OUT_QUADS: u32 = OUTS / 4;
const SUMS: u32 = OUTS * GROUPS;
const WIDTH: u32 = GROUPS * LANES;

@group(0) @binding(1) var v: texture_storage_2d<rgba32float, read>; // texel (quad * WIDTH + tile % WIDTH, position * blocks + tile / WIDTH)
@group(0) @binding(2) var u: texture_storage_2d<rgba32float, read>; // texel (quad * OUTS + out % OUTS, position * out blocks + out / OUTS)
@group(0) @binding(3) var<storage, read_write> m: array<vec2<u64>>; // texel (tile, position * out_quads + out / 4)

// One workgroup multiplies OUTS output channels by GROUPS * LANES tiles at one position: a lane holds one tile of each
// group and one channel's weights of each OUTS / LANES, which it passes to the others.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let v_row = group.z * params.blocks + group.x;
    let u_row = group.z * (params.out_quads / OUT_QUADS) + group.y;
    var v_column = lane;
    var u_column = lane;
    var sums: array<f32, SUMS>; // [OUTS][GROUPS]
    for (var quad = 0u; quad < params.in_quads; quad++) {
        var w: array<vec4f, OUT_GROUPS>;
        // unroll
        for (var q = 0u; q < OUT_GROUPS; q++) {
            w[q] = textureLoad(u, vec2u(u_column + q * LANES, u_row));
        }
        var x: array<vec4f, GROUPS>;
        // unroll
        for (var b = 0u; b < GROUPS; b++) {
            x[b] = textureLoad(v, vec2u(v_column + b * LANES, v_row));
        }
        // unroll
        for (var o = 0u; o < OUTS; o++) {
            // A shuffle by a lane that the compiler does not know is one instruction; a broadcast is two.
            let source = params.zero + o % LANES;
            let w0 = subgroupShuffle(w[o / LANES].x, source);
            let w1 = subgroupShuffle(w[o / LANES].y, source);
            let w2 = subgroupShuffle(w[o / LANES].z, source);
            let w3 = subgroupShuffle(w[o / LANES].w, source);
            // unroll
            for (var b = 0u; b < GROUPS; b++) {
                sums[o * GROUPS + b] = fma(w3, x[b].w, fma(w2, x[b].z, fma(w1, x[b].y, fma(w0, x[b].x, sums[o * GROUPS + b]))));
            }
        }
        u_column += OUTS;
        v_column += WIDTH;
    }
    let to = group.x * WIDTH + lane + (group.z * params.out_quads + group.y * OUT_QUADS) * params.pitch;
    // unroll
    for (var b = 0u; b < GROUPS; b++) {
        // unroll
        for (var q = 0u; q < OUT_QUADS; q++) {
            let four = vec4f(
                sums[(q * 4u) * GROUPS + b],
                sums[(q * 4u + 1u) * GROUPS + b],
                sums[(q * 4u + 2u) * GROUPS + b],
                sums[(q * 4u + 3u) * GROUPS + b],
            );
            m[to + b * LANES + q * params.pitch] = packed(four);
        }
    }
}
