// y[n, c] = a[n, c] for the first columns, b[n, c - those] for the rest.
struct Params {
    n: u32, // rows
    left: u32, // columns of a
    right: u32, // columns of b
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // a [n, left]; backward: dy [n, left + right]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n, left + right]; backward: da or db
@group(0) @binding(3) var<storage, read> z: array<f32>; // b [n, right]; forward only

// One workgroup computes 256 elements of y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    let columns = params.left + params.right;
    if i >= params.n * columns {
        return;
    }
    let row = i / columns;
    let column = i % columns;
    if column < params.left {
        y[i] = x[row * params.left + column];
    } else {
        y[i] = z[row * params.right + column - params.left];
    }
}

// One workgroup takes 256 elements of a's columns out of dy.
@compute @workgroup_size(256)
fn backward_left(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n * params.left {
        y[i] = x[i / params.left * (params.left + params.right) + i % params.left];
    }
}

// One workgroup takes 256 elements of b's columns out of dy.
@compute @workgroup_size(256)
fn backward_right(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n * params.right {
        y[i] = x[i / params.right * (params.left + params.right) + params.left + i % params.right];
    }
}
