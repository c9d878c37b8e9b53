// y = ln(1 + e^x), which PyTorch calls softplus.
struct Params {
    n: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n]; forward: y, backward: dx
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [n]; backward only

// One workgroup computes 64 elements of y.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        // e^-|x| never overflows.
        let y = max(x[i], 0.0) + log(1.0 + exp(-abs(x[i])));
        // What max, exp and log make of NaN is not the same on every device.
        let nan = (bitcast<u32>(x[i]) & 0x7fffffffu) > 0x7f800000u;
        out[i] = select(y, x[i], nan);
    }
}

// One workgroup computes 64 elements of dx = dy / (1 + e^-x).
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        out[i] = dy[i] / (1.0 + exp(-x[i]));
    }
}
