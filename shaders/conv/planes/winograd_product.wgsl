// The products of transformed tiles and weights: one matrix product for each of A * A positions.
#import snippets/packed.wgsl
#import conv/planes/winograd_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const OUTS: u32 // output channels of a workgroup
#const GROUPS: u32 // of LANES tiles each

const OUT_GROUPS: u32 = OUTS / LANES;
const OUT_QUADS: u32 = OUTS / 4;
const OUT_PAIRS: u32 = OUT_QUADS / 2;
const SUMS: u32 = OUTS * GROUPS;
const WIDTH: u32 = GROUPS * LANES;
// Output channels whose weights are passed on together: a tile's numbers, fetched once, serve so many.
const BLOCK: u32 = 4u;
const BLOCKS: u32 = OUTS / BLOCK;

@group(0) @binding(1) var v: texture_storage_2d<rgba32float, read>; // texel ((quad * WIDTH + tile % WIDTH) * 2 + position % 2, position / 2 * blocks + tile / WIDTH)
@group(0) @binding(2) var u: texture_storage_2d<rgba32float, read>; // texel (quad * OUTS + out % OUTS, position * out blocks + out / OUTS)
@group(0) @binding(3) var<storage, read_write> m: array<vec4<u64>>; // texel (tile * 2 + out / 4 % 2, (position * out_quads + out / 4) / 2), two an element

// One workgroup multiplies OUTS output channels by GROUPS * LANES tiles at one position: a lane holds one tile of each
// group and one channel's weights of each OUTS / LANES, which it passes to the others.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let v_row = group.z / 2u * params.blocks + group.x;
    let u_row = group.z * (params.out_quads / OUT_QUADS) + group.y;
    var v_column = lane * 2u + group.z % 2u;
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
            x[b] = textureLoad(v, vec2u(v_column + b * LANES * 2u, v_row));
        }
        // unroll
        for (var block = 0u; block < BLOCKS; block++) {
            var passed: array<vec4f, BLOCK>;
            // unroll
            for (var i = 0u; i < BLOCK; i++) {
                // A shuffle by a lane that the compiler does not know is one instruction; a broadcast is two.
                let source = params.zero + (block * BLOCK + i) % LANES;
                let held = w[(block * BLOCK + i) / LANES];
                passed[i] = vec4f(
                    subgroupShuffle(held.x, source),
                    subgroupShuffle(held.y, source),
                    subgroupShuffle(held.z, source),
                    subgroupShuffle(held.w, source),
                );
            }
            // unroll
            for (var b = 0u; b < GROUPS; b++) {
                // unroll
                for (var i = 0u; i < BLOCK; i++) {
                    sums[(block * BLOCK + i) * GROUPS + b] = fma(passed[i].w, x[b].w, fma(passed[i].z, x[b].z, fma(passed[i].y, x[b].y, fma(passed[i].x, x[b].x, sums[(block * BLOCK + i) * GROUPS + b]))));
                }
            }
        }
        u_column += OUTS;
        v_column += WIDTH * 2u;
    }
    var to = group.x * WIDTH + lane + (group.z * params.out_quads + group.y * OUT_QUADS) / 2u * params.pitch;
    // unroll
    for (var q = 0u; q < OUT_PAIRS; q++) {
        // unroll
        for (var b = 0u; b < GROUPS; b++) {
            let first = vec4f(
                sums[(q * 8u) * GROUPS + b],
                sums[(q * 8u + 1u) * GROUPS + b],
                sums[(q * 8u + 2u) * GROUPS + b],
                sums[(q * 8u + 3u) * GROUPS + b],
            );
            let second = vec4f(
                sums[(q * 8u + 4u) * GROUPS + b],
                sums[(q * 8u + 5u) * GROUPS + b],
                sums[(q * 8u + 6u) * GROUPS + b],
                sums[(q * 8u + 7u) * GROUPS + b],
            );
            m[to + b * LANES] = vec4<u64>(packed(first), packed(second));
        }
        to += params.pitch;
    }
}
