// The gradient of ReLU and 2x2 pool: dz = dy of the pooled pixel where winograd_mask.wgsl's bit is set, else 0.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const M: u32 // pixels of a word
#const POOL: bool

struct Params {
    size: u32, // side of dz's planes
    size_out: u32, // side of dy's
    quads: u32, // of channels
    words: u32, // of a row of a plane
    pixels: u32, // of the whole batch
    pitch: u32, // texels from one row of dz to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>; // texel (image * (size_out + 2) + column + 1, quad * (size_out + 2) + row + 1)
@group(0) @binding(2) var<storage, read> mask: array<u32>; // [image, quad, row, word]
@group(0) @binding(3) var<storage, read_write> dz: array<vec2<u64>>; // as dy, with size

// One workgroup computes one quad of channels of LANES pixels.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let pixel = column_of(group, groups) * LANES + lane;
    if pixel >= params.pixels {
        return;
    }
    let place = pixel_at(pixel, params.size);
    let image = place.x;
    let quad = group.y;
    var at = place.zy;
    let word = mask[((image * params.quads + quad) * params.size + at.y) * params.words + at.x / M];
    let bits = vec4u(word) >> (vec4u(0u, 1u, 2u, 3u) + (at.x % M) * 4u);
    if POOL {
        // An odd last row or column is in no window: its bits are zero.
        at = min(at / 2u, vec2u(params.size_out - 1u));
    }
    let pooled = textureLoad(dy, vec2u(image, quad) * (params.size_out + 2u) + 1u + at);
    let padded = params.size + 2u;
    dz[image * padded + place.z + 1u + (quad * padded + place.y + 1u) * params.pitch] = packed(select(vec4f(0.0), pooled, (bits & vec4u(1u)) == vec4u(1u)));
}
