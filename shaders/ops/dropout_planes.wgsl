// dropout.wgsl on planes: the same elements of [N, C, S, S] are kept.
#import snippets/packed.wgsl
#import snippets/dropout_core.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>; // as x

// One workgroup computes one quad of channels of LANES pixels.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let pixel = column_of(group, groups) * LANES + lane;
    if pixel >= params.n {
        return;
    }
    let at = pixel_at(pixel, params.size);
    let padded = params.size + 2u;
    let texel = vec2u(at.x, group.y) * padded + 1u + at.zy;
    var four = textureLoad(x, texel);
    for (var c = 0u; c < 4u; c++) {
        let channel = (params.first + at.x) * params.channels + group.y * 4u + c;
        let element = (channel * params.size + at.y) * params.size + at.z;
        four[c] *= factor(element);
    }
    y[texel.x + texel.y * params.pitch] = packed(four);
}
