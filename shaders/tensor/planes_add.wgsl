// z = alpha * x + y and alpha * x for planes, borders and all.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

struct Params {
    width: u32,
    pitch: u32, // texels from one row of z to the next
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var y: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read_write> z: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> scaled: array<vec2<u64>>; // scale: alpha * x

// One workgroup computes LANES texels of one row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let at = vec2u(group.x * LANES + lane, group.y);
    if at.x < params.width {
        z[at.x + at.y * params.pitch] = packed(params.alpha * textureLoad(x, at) + textureLoad(y, at));
    }
}

// The same of alpha * x.
@compute @workgroup_size(LANES)
fn scale(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let at = vec2u(group.x * LANES + lane, group.y);
    if at.x < params.width {
        scaled[at.x + at.y * params.pitch] = packed(params.alpha * textureLoad(x, at));
    }
}
