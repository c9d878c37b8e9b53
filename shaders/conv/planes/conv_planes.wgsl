// A 3x3 (padding 1) or 1x1 convolution, stride 1, as an implicit matrix product with bias and ReLU: for few channels on
// one side, where Winograd does not pay.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const OUTS: u32 // channels of y that a workgroup computes
#const GROUPS: u32 // pixels that a lane computes
#const CHANNELS: u32 // of a quad of x, 1 to 4
#const SIDE: u32 // of the kernel

const OUT_GROUPS: u32 = OUTS / LANES;
const OUT_QUADS: u32 = OUTS / 4;
const SUMS: u32 = OUTS * GROUPS;
const OFFSET: u32 = 1 - SIDE / 2;

struct Params {
    pixels: u32, // of the whole batch
    in_quads: u32,
    out_quads: u32,
    size: u32, // side of the plane
    zero: u32, // 0, not known to the compiler
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
    pitch: u32, // texels from one row of y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var w: texture_storage_2d<rgba32float, read>; // texel ((quad * SIDE * SIDE + tap) * OUTS + out % OUTS, out / OUTS)
@group(0) @binding(3) var<storage, read_write> y: array<vec2<u64>>; // as x
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

// One workgroup computes OUTS channels of GROUPS * LANES pixels.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let padded = params.size + 2u;
    let plane = params.size * params.size;
    var corner: array<vec2u, GROUPS>; // of each pixel's window, in x
    var inside: array<bool, GROUPS>;
    // unroll
    for (var b = 0u; b < GROUPS; b++) {
        let pixel = (column_of(group, groups) * GROUPS + b) * LANES + lane;
        inside[b] = pixel < params.pixels;
        let safe = min(pixel, params.pixels - 1u);
        let image = safe / plane;
        let rest = safe - image * plane;
        let row = rest / params.size;
        corner[b] = vec2u(image * padded + rest - row * params.size, row);
    }
    var sums: array<f32, SUMS>; // [OUTS][GROUPS]
    var w_column = lane;
    for (var quad = 0u; quad < params.in_quads; quad++) {
        for (var dy = 0u; dy < SIDE; dy++) {
            for (var dx = 0u; dx < SIDE; dx++) {
                var weights: array<vec4f, OUT_GROUPS>;
                // unroll
                for (var q = 0u; q < OUT_GROUPS; q++) {
                    weights[q] = textureLoad(w, vec2u(w_column + q * LANES, group.y));
                }
                var pixels: array<vec4f, GROUPS>;
                // unroll
                for (var b = 0u; b < GROUPS; b++) {
                    pixels[b] = textureLoad(x, corner[b] + vec2u(dx + OFFSET, quad * padded + dy + OFFSET));
                }
                // unroll
                for (var o = 0u; o < OUTS; o++) {
                    // unroll
                    for (var c = 0u; c < CHANNELS; c++) {
                        let weight = subgroupShuffle(weights[o / LANES][c], params.zero + o % LANES);
                        // unroll
                        for (var b = 0u; b < GROUPS; b++) {
                            sums[o * GROUPS + b] = fma(weight, pixels[b][c], sums[o * GROUPS + b]);
                        }
                    }
                }
                w_column += OUTS;
            }
        }
    }
    let low = vec4i(params.floor);
    // unroll
    for (var b = 0u; b < GROUPS; b++) {
        if inside[b] {
            var to = corner[b].x + 1u + (corner[b].y + group.y * OUT_QUADS * padded + 1u) * params.pitch;
            // unroll
            for (var q = 0u; q < OUT_QUADS; q++) {
                let quad = group.y * OUT_QUADS + q;
                let sum = vec4f(
                    sums[(q * 4u) * GROUPS + b],
                    sums[(q * 4u + 1u) * GROUPS + b],
                    sums[(q * 4u + 2u) * GROUPS + b],
                    sums[(q * 4u + 3u) * GROUPS + b],
                );
                if quad < params.out_quads {
                    let four = sum + bias[quad];
                    y[to] = packed(select(four, vec4f(0.0), bitcast<vec4i>(four) < low));
                }
                to += padded * params.pitch;
            }
        }
    }
}
