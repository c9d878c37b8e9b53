// One step of Adam (Kingma & Ba 2015) with PyTorch's arithmetic.
struct Params {
    n: u32,
    step_size: f32, // lr / (1 - beta1^t)
    rest1: f32, // 1 - beta1, rounded once
    beta2: f32,
    rest2: f32, // 1 - beta2, rounded once
    root_correction2: f32, // sqrt(1 - beta2^t)
    eps: f32,
    weight_decay: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> dp: array<f32>; // [n]
@group(0) @binding(3) var<storage, read> m: array<f32>; // [n]
@group(0) @binding(4) var<storage, read> v: array<f32>; // [n]
@group(0) @binding(5) var<storage, read_write> p_next: array<f32>; // [n]
@group(0) @binding(6) var<storage, read_write> m_next: array<f32>; // [n]
@group(0) @binding(7) var<storage, read_write> v_next: array<f32>; // [n]

// One workgroup updates 256 elements.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i >= params.n {
        return;
    }
    let gradient = dp[i] + params.weight_decay * p[i];
    let mean = m[i] + (gradient - m[i]) * params.rest1;
    let square = v[i] * params.beta2 + params.rest2 * gradient * gradient;
    m_next[i] = mean;
    v_next[i] = square;
    p_next[i] = p[i] - params.step_size * (mean / (sqrt(square) / params.root_correction2 + params.eps));
}
