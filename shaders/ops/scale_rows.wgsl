// y[r, i] = f[r] * x[r, i].
struct Params {
    n: u32, // elements
    columns: u32, // of one row
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, columns]; backward: dy
@group(0) @binding(2) var<storage, read> f: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, columns]; backward: dx

// One workgroup computes 256 elements.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        y[i] = f[i / params.columns] * x[i];
    }
}
