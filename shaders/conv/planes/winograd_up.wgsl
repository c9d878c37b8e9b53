// Winograd's weights of a 1x1 convolution, beside those of the 3x3 one whose result it adds to: the factor B of a LoRA is
// the middle tap of a kernel of zeros.
#import snippets/packed.wgsl
#import transforms
#const LANES: u32 // of a workgroup, which is one subgroup

struct Params {
    outs: u32, // output channels of a workgroup of the product
    cout: u32,
    cin: u32,
    first: u32, // quad of the weights that the first quad of b goes to
    blocks: u32, // of output channels
    pitch: u32, // texels from one row of u to the next
    scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> b: array<f32>; // [cout, cin]
@group(0) @binding(2) var<storage, read_write> u: array<vec2<u64>>; // texel (quad * outs + out % outs, position * blocks + out / outs)

// One workgroup computes one quad of LANES output channels at every position.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let out = group.x * LANES + lane;
    if out >= params.blocks * params.outs {
        return;
    }
    var four = vec4f(0.0);
    for (var c = 0u; c < 4u; c++) {
        let channel = group.y * 4u + c;
        if out < params.cout && channel < params.cin {
            four[c] = params.scale * b[out * params.cin + channel];
        }
    }
    let column = (params.first + group.y) * params.outs + out % params.outs;
    for (var i = 0u; i < A; i++) {
        for (var j = 0u; j < A; j++) {
            let row = (i * A + j) * params.blocks + out / params.outs;
            u[column + row * params.pitch] = packed(four * (transform_middle(i) * transform_middle(j)));
        }
    }
}
