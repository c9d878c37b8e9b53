// The import `memory` of adam_outer.wgsl on software devices: images of IMAGE_WIDTH texels a row; a workgroup is one
// subgroup.
#import snippets/packed.wgsl
#import optim/adam_core.wgsl
#const IMAGE_WIDTH: u32 // texels of a row of an image

@group(0) @binding(1) var p_image: texture_storage_2d<rgba32float, read>; // [rows, columns]
@group(0) @binding(2) var right_image: texture_storage_2d<rgba32float, read>; // [N, columns]
@group(0) @binding(3) var<storage, read> left: array<f32>; // [N, rows]
@group(0) @binding(4) var m_image: texture_storage_2d<rgba32float, read>; // the memory of m
@group(0) @binding(5) var v_image: texture_storage_2d<rgba32float, read>; // the memory of v
@group(0) @binding(6) var<storage, read_write> m: array<vec2<u64>>;
@group(0) @binding(7) var<storage, read_write> v: array<vec2<u64>>;
@group(0) @binding(8) var<storage, read_write> p_next: array<vec2<u64>>;
@group(0) @binding(9) var<storage, read_write> lost: atomic<u32>; // raised where a new number is not finite

fn at(i: u32) -> vec2u {
    return vec2u(i % IMAGE_WIDTH, i / IMAGE_WIDTH);
}
fn p_at(i: u32) -> vec4f {
    return textureLoad(p_image, at(i));
}
fn m_at(i: u32) -> vec4f {
    return textureLoad(m_image, at(i));
}
fn v_at(i: u32) -> vec4f {
    return textureLoad(v_image, at(i));
}
fn right_at(i: u32) -> vec4f {
    return textureLoad(right_image, at(i));
}
fn store(i: u32, next: Moved) {
    p_next[i] = packed(next.p);
    m[i] = packed(next.m);
    v[i] = packed(next.v);
}
