// What a device can do at most: multiply-adds in registers, copying, and reading alone.
#const LANES: u32 // threads of a workgroup that reads

struct Params {
    n: u32, // copy: quads
    rounds: u32, // multiply_add: 16 vec4 multiply-adds each
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>; // [n]
@group(0) @binding(1) var image: texture_storage_2d<rgba32float, read>; // read_image: x, IMAGE_WIDTH texels a row
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>; // [n]

// One workgroup keeps 64 threads busy with 16 independent chains each.
@compute @workgroup_size(64)
fn multiply_add(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let scale = x[lane];
    var sums: array<vec4f, 16>;
    // unroll
    for (var k = 0u; k < 16u; k++) {
        sums[k] = scale + f32(k);
    }
    for (var round = 0u; round < params.rounds; round++) {
        // unroll
        for (var k = 0u; k < 16u; k++) {
            sums[k] = fma(sums[k], scale, scale);
        }
    }
    var total = vec4f(0.0);
    // unroll
    for (var k = 0u; k < 16u; k++) {
        total += sums[k];
    }
    y[i] = total;
}

// One workgroup copies 64 quads.
@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        y[i] = x[i];
    }
}

const IMAGE_WIDTH: u32 = 1024u;
const RUN: u32 = 256u; // quads that a thread reads

fn total(sums: ptr<function, array<vec4f, 8>>) -> vec4f {
    var total = vec4f(0.0);
    // unroll
    for (var k = 0u; k < 8u; k++) {
        total += (*sums)[k];
    }
    return total;
}

// One workgroup adds up RUN * LANES quads.
@compute @workgroup_size(LANES)
fn read_buffer(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    var sums: array<vec4f, 8>;
    for (var i = id * RUN * LANES + lane; i < (id + 1u) * RUN * LANES; i += 8u * LANES) {
        // unroll
        for (var k = 0u; k < 8u; k++) {
            sums[k] += x[i + k * LANES];
        }
    }
    y[id * LANES + lane] = total(&sums);
}

// The same where memory is an image.
@compute @workgroup_size(LANES)
fn read_image(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    var sums: array<vec4f, 8>;
    for (var i = id * RUN * LANES + lane; i < (id + 1u) * RUN * LANES; i += 8u * LANES) {
        // unroll
        for (var k = 0u; k < 8u; k++) {
            let at = i + k * LANES;
            sums[k] += textureLoad(image, vec2u(at % IMAGE_WIDTH, at / IMAGE_WIDTH));
        }
    }
    y[id * LANES + lane] = total(&sums);
}
