// One step of gradient descent with momentum and PyTorch's arithmetic, no dampening.
#import optim/lost.wgsl
struct Params {
    n: u32,
    lr: f32,
    momentum: f32,
    nesterov: u32, // 1: look ahead along the momentum
    weight_decay: f32, // added to the gradient
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> dp: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> velocity: array<f32>; // [n], updated in place
@group(0) @binding(4) var<storage, read_write> p_next: array<f32>; // [n]
@group(0) @binding(5) var<storage, read_write> lost: atomic<u32>; // raised where a new number is not finite

// One workgroup updates 64 elements.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        let gradient = dp[i] + params.weight_decay * p[i];
        let next = params.momentum * velocity[i] + gradient;
        let direction = select(next, gradient + params.momentum * next, params.nesterov == 1u);
        let moved = p[i] - params.lr * direction;
        velocity[i] = next;
        p_next[i] = moved;
        if is_lost(vec4f(moved)) {
            atomicStore(&lost, 1u);
        }
    }
}
