// adam_outer.wgsl for a parameter of few columns.
#import optim/adam_core.wgsl
#const N: u32 // rows of left and right
#const K: u32 // columns

@group(0) @binding(1) var<storage, read> p: array<f32>; // [rows, K]
@group(0) @binding(2) var<storage, read> right: array<f32>; // [N, K]
@group(0) @binding(3) var<storage, read> left: array<f32>; // [N, rows]
@group(0) @binding(4) var<storage, read_write> m: array<f32>; // as p, updated in place
@group(0) @binding(5) var<storage, read_write> v: array<f32>; // as p, updated in place
@group(0) @binding(6) var<storage, read_write> p_next: array<f32>; // as p
@group(0) @binding(7) var<storage, read_write> lost: atomic<u32>; // raised where a new number is not finite

// One thread updates a row: what it reads of right is the same for all.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = (group.x + group.y * groups.x) * 64u + lane;
    if row >= params.rows {
        return;
    }
    var some_lost = false;
    var coefficients: array<f32, N>;
    // unroll
    for (var n = 0u; n < N; n++) {
        coefficients[n] = params.alpha * left[n * params.rows + row];
    }
    // unroll
    for (var k = 0u; k < K; k++) {
        var gradient = 0.0;
        // unroll
        for (var n = 0u; n < N; n++) {
            gradient += coefficients[n] * right[n * K + k];
        }
        let i = row * K + k;
        let next = moved(vec4f(p[i]), vec4f(gradient), vec4f(m[i]), vec4f(v[i]));
        p_next[i] = next.p.x;
        m[i] = next.m.x;
        v[i] = next.v.x;
        some_lost = some_lost | is_lost(next.p);
    }
    if some_lost {
        atomicStore(&lost, 1u);
    }
}
