// Adam with the gradient in memory.
#import optim/adam_core.wgsl

@group(0) @binding(1) var<storage, read> p: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> dp: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> m: array<f32>; // [n], updated in place
@group(0) @binding(4) var<storage, read_write> v: array<f32>; // [n], updated in place
@group(0) @binding(5) var<storage, read_write> p_next: array<f32>; // [n]
@group(0) @binding(6) var<storage, read_write> lost: atomic<u32>; // raised where a new number is not finite
// The same for forward_quads.
@group(0) @binding(1) var<storage, read> p4: array<vec4f>;
@group(0) @binding(2) var<storage, read> dp4: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m4: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> v4: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> p4_next: array<vec4f>;
// One workgroup updates 64 elements.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        let next = moved(vec4f(p[i]), vec4f(dp[i]), vec4f(m[i]), vec4f(v[i]));
        p_next[i] = next.p.x;
        m[i] = next.m.x;
        v[i] = next.v.x;
        if is_lost(next.p) {
            atomicStore(&lost, 1u);
        }
    }
}

// One workgroup updates 64 quads, where the number of elements is a multiple of 4.
@compute @workgroup_size(64)
fn forward_quads(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i < params.n {
        let next = moved(p4[i], dp4[i], m4[i], v4[i]);
        p4_next[i] = next.p;
        m4[i] = next.m;
        v4[i] = next.v;
        if is_lost(next.p) {
            atomicStore(&lost, 1u);
        }
    }
}
