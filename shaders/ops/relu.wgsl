// y = x where that is positive or NaN, else 0, as PyTorch's ReLU. Not max(x, 0), which may make 0 of NaN, nor a comparison
// of floats, of which compilers make that again: the bits of the negative numbers, from -0 to -infinity, are the lowest as
// i32, and those of a NaN with a sign come after them. Every kernel that ends with ReLU does it so.
const FLOOR: i32 = -0x7fffff;

struct Params {
    n: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]; backward: y, the forward result
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n]; forward: y, backward: dx
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [n]; backward only

// One workgroup computes 256 elements of y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        out[i] = select(x[i], 0.0, bitcast<i32>(x[i]) < FLOOR);
    }
}

// One workgroup computes 256 elements of dx = dy where y is not 0.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        out[i] = select(0.0, dy[i], bitcast<u32>(x[i]) != 0u);
    }
}
