// y = max(x, 0).
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
        out[i] = max(x[i], 0.0);
    }
}

// One workgroup computes 256 elements of dx = dy where y > 0.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        out[i] = select(0.0, dy[i], x[i] > 0.0);
    }
}
