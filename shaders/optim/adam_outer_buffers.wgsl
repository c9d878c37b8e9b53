// The import `memory` of adam_outer.wgsl where buffers are read fast.
#import optim/adam_core.wgsl

@group(0) @binding(1) var<storage, read> p: array<vec4f>; // [rows, columns]
@group(0) @binding(2) var<storage, read> right: array<vec4f>; // [N, columns]
@group(0) @binding(3) var<storage, read> left: array<f32>; // [N, rows]
@group(0) @binding(4) var<storage, read_write> m: array<vec4f>; // as p, updated in place
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>; // as p, updated in place
@group(0) @binding(6) var<storage, read_write> p_next: array<vec4f>; // as p
@group(0) @binding(7) var<storage, read_write> lost: atomic<u32>; // raised where a new number is not finite

fn p_at(i: u32) -> vec4f {
    return p[i];
}
fn m_at(i: u32) -> vec4f {
    return m[i];
}
fn v_at(i: u32) -> vec4f {
    return v[i];
}
fn right_at(i: u32) -> vec4f {
    return right[i];
}
fn store(i: u32, next: Moved) {
    p_next[i] = next.p;
    m[i] = next.m;
    v[i] = next.v;
}
