// The mean of each of oh x ow windows that together cover the plane; windows overlap where h % oh > 0.
struct Params {
    planes: u32, // batch * channels
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [planes, h, w]; backward: dy [planes, oh, ow]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [planes, oh, ow]; backward: dx [planes, h, w]

// First element and end of the windows at `cell`, as PyTorch places them.
fn window_start(cell: vec2u) -> vec2u {
    return cell * vec2u(params.h, params.w) / vec2u(params.oh, params.ow);
}
fn window_end(cell: vec2u) -> vec2u {
    return ((cell + 1u) * vec2u(params.h, params.w) + vec2u(params.oh, params.ow) - 1u) / vec2u(params.oh, params.ow);
}

// One workgroup computes 256 elements of y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i >= params.planes * params.oh * params.ow {
        return;
    }
    let plane = i / (params.oh * params.ow);
    let cell = vec2u((i / params.ow) % params.oh, i % params.ow);
    let start = window_start(cell);
    let end = window_end(cell);
    var total = 0.0;
    for (var iy = start.x; iy < end.x; iy++) {
        for (var ix = start.y; ix < end.y; ix++) {
            total += x[(plane * params.h + iy) * params.w + ix];
        }
    }
    y[i] = total / f32((end.x - start.x) * (end.y - start.y));
}

// One workgroup computes 256 elements of dx, each from the windows that hold it.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i >= params.planes * params.h * params.w {
        return;
    }
    let plane = i / (params.h * params.w);
    let at = vec2u((i / params.w) % params.h, i % params.w);
    let sizes = vec2u(params.h, params.w);
    let cells = vec2u(params.oh, params.ow);
    let first = at * cells / sizes;
    let end = ((at + 1u) * cells + sizes - 1u) / sizes;
    var total = 0.0;
    for (var oy = first.x; oy < end.x; oy++) {
        for (var ox = first.y; ox < end.y; ox++) {
            let window = window_end(vec2u(oy, ox)) - window_start(vec2u(oy, ox));
            total += x[(plane * params.oh + oy) * params.ow + ox] / f32(window.x * window.y);
        }
    }
    y[i] = total;
}
