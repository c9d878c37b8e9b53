// The transformed weights of a convolution turned round, for the gradient of its input, from those of F(4x4, 3x3) that the
// layer itself has.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

const A: u32 = 6u; // positions along a tile's side
// The positions of points 0, 1, -1 and infinity, from which those of a turned kernel follow.
const KNOWN = array<u32, 4>(0u, 1u, 2u, 5u);

struct Params {
    from_outs: u32, // output channels of a workgroup of the layer's product
    from_blocks: u32, // of output channels, in the layer
    outs: u32, // the same of the turned one
    blocks: u32,
    channels: u32, // that the turned one gives: the layer's input
    pitch: u32, // texels from one row of u to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var w: texture_storage_2d<rgba32float, read>; // texel (quad * from_outs + out % from_outs, position * from_blocks + out / from_outs)
@group(0) @binding(2) var<storage, read_write> u: array<vec2<u64>>; // texel (quad * outs + out % outs, position * blocks + out / outs)

// G of three taps read backwards, from G of the taps (see winograd4.wgsl): the first is a quarter of the value at 0, the
// last that at infinity, and the middle one three times the difference of those at -1 and 1, which stay as they are.
fn turned(at: array<vec4f, 4>) -> array<vec4f, 6> {
    let even = at[3] / 24.0 + at[0] / 1.5;
    let odd = 0.25 * (at[2] - at[1]);
    return array<vec4f, 6>(0.25 * at[3], at[1], at[2], even + odd, even - odd, 4.0 * at[0]);
}

// One workgroup computes four input channels, which are the layer's output, of LANES output channels at every position.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let out = group.x * LANES + lane;
    // Past the last channel anything will do that is finite: nobody reads what comes of it.
    let channel = min(out, params.channels - 1u);
    let first = group.y * 4u;
    let origin = vec2u(channel / 4u * params.from_outs + first % params.from_outs, first / params.from_outs);
    var lines: array<array<vec4f, 6>, 4>;
    // unroll
    for (var i = 0u; i < 4u; i++) {
        var at: array<vec4f, 4>;
        // unroll
        for (var j = 0u; j < 4u; j++) {
            let texel = origin + vec2u(0u, (KNOWN[i] * A + KNOWN[j]) * params.from_blocks);
            at[j] = vec4f(
                textureLoad(w, texel)[channel % 4u],
                textureLoad(w, texel + vec2u(1u, 0u))[channel % 4u],
                textureLoad(w, texel + vec2u(2u, 0u))[channel % 4u],
                textureLoad(w, texel + vec2u(3u, 0u))[channel % 4u],
            );
        }
        lines[i] = turned(at);
    }
    let to = group.y * params.outs + out % params.outs + out / params.outs * params.pitch;
    let rows = params.blocks * params.pitch;
    // unroll
    for (var j = 0u; j < A; j++) {
        let column = turned(array<vec4f, 4>(lines[0][j], lines[1][j], lines[2][j], lines[3][j]));
        // unroll
        for (var i = 0u; i < A; i++) {
            u[to + (i * A + j) * rows] = packed(column[i]);
        }
    }
}
