// The weight gradient of a convolution on planes, image by image: dw[o, c, r, s] = alpha sum over pixels of
// dy[o, y, x] * x[c, y + r - SIDE / 2, x + s - SIDE / 2].
#const LANES: u32 // of a workgroup, which is one subgroup
#const SIDE: u32 // of the kernel

const SUMS: u32 = SIDE * 4;

struct Params {
    cout: u32,
    cin: u32,
    size: u32, // side of the planes
    splits: u32, // of an image's pixels, each summed by itself
    span: u32, // pixels of a split
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var x: texture_storage_2d<rgba32float, read>; // as dy
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // [image, split, cout, cin, SIDE, SIDE]

// One workgroup computes one row of the kernels of four output and four input channels, for one split of one image: lanes
// take its pixels in turn.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let padded = params.size + 2u;
    let row = group.y % SIDE;
    let out_quad = group.y / SIDE;
    let image = group.z / params.splits;
    let dy_origin = vec2u(image, out_quad) * padded + 1u;
    let x_origin = vec2u(image, group.x) * padded + vec2u(1u - SIDE / 2u, 1u + row - SIDE / 2u);
    var sums: array<vec4f, SUMS>; // [SIDE][out], channels of x in a vector
    let first = (group.z % params.splits) * params.span;
    let end = min(first + params.span, params.size * params.size);
    for (var pixel = first + lane; pixel < end; pixel += LANES) {
        let py = pixel / params.size;
        let at = vec2u(pixel - py * params.size, py);
        let d = textureLoad(dy, dy_origin + at);
        // unroll
        for (var s = 0u; s < SIDE; s++) {
            let four = textureLoad(x, x_origin + at + vec2u(s, 0u));
            // unroll
            for (var o = 0u; o < 4u; o++) {
                sums[s * 4u + o] += d[o] * four;
            }
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let total = subgroupAdd(sums[i]);
        let out = out_quad * 4u + i % 4u;
        if lane == 0u && out < params.cout {
            for (var c = 0u; c < 4u; c++) {
                let channel = group.x * 4u + c;
                if channel < params.cin {
                    dw[(((group.z * params.cout + out) * params.cin + channel) * SIDE + row) * SIDE + i / 4u] = params.alpha * total[c];
                }
            }
        }
    }
}
