// z = alpha * x + y, and its gradient alpha * x.
struct Params {
    n: u32,
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> z: array<f32>; // [n]

// One workgroup computes 256 elements of alpha * x + y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        z[i] = params.alpha * x[i] + y[i];
    }
}
