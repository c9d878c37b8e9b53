// The largest value of each window, NaN where one is in it; no padding.
struct Params {
    planes: u32, // batch * channels
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    kernel: u32,
    stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [planes, h, w]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // forward: y [planes, oh, ow], backward: dx [planes, h, w]
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [planes, oh, ow]; backward only

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// The index in x of the first largest value of a window, or of its last NaN, as PyTorch takes it.
fn argmax(plane: u32, oy: u32, ox: u32) -> u32 {
    let corner = (plane * params.h + oy * params.stride) * params.w + ox * params.stride;
    var best = corner;
    for (var r = 0u; r < params.kernel; r++) {
        for (var s = 0u; s < params.kernel; s++) {
            let i = corner + r * params.w + s;
            best = select(best, i, (x[i] > x[best]) | is_nan(x[i]));
        }
    }
    return best;
}

// One workgroup computes 256 elements of y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.planes * params.oh * params.ow {
        let row = i / params.ow;
        out[i] = x[argmax(row / params.oh, row % params.oh, i % params.ow)];
    }
}

// One workgroup computes 256 elements of dx, each from the windows that hold it.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i >= params.planes * params.h * params.w {
        return;
    }
    let plane = i / (params.h * params.w);
    let iy = (i / params.w) % params.h;
    let ix = i % params.w;
    let first = (max(vec2u(iy, ix) + 1u, vec2u(params.kernel)) - params.kernel + params.stride - 1u) / params.stride;
    let last = min(vec2u(iy, ix) / params.stride, vec2u(params.oh, params.ow) - 1u);
    var total = 0.0;
    for (var oy = first.x; oy <= last.x; oy++) {
        for (var ox = first.y; ox <= last.y; ox++) {
            if argmax(plane, oy, ox) == i {
                total += dy[(plane * params.oh + oy) * params.ow + ox];
            }
        }
    }
    out[i] = total;
}
