// What ends an adapted convolution, in one go over its planes: relu(y + scale B hidden), and of each 2 x 2 pixels the largest
// where it is pooled; and back through both, with what B makes of the gradient.
struct Params {
    n: u32, // batch
    cout: u32,
    h: u32,
    w: u32,
    rank: u32,
    span: u32, // backward: output channels that one split sums
    scale: f32,
    floor: i32, // numbers whose bits lie below become 0: the negative ones (see relu.wgsl)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: y [n, cout, h, w]; backward: the gradient of the result
@group(0) @binding(2) var<storage, read> right: array<f32>; // forward: hidden [n, rank, h, w]; backward: the result, or where it is pooled the winners
@group(0) @binding(3) var<storage, read> b: array<f32>; // [cout, rank]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // forward: the result [n, cout, h, w] or [n, cout, h / 2, w / 2]; backward: dy [n, cout, h, w]
@group(0) @binding(5) var<storage, read_write> more: array<f32>; // pooled: the winners [n, cout, h / 2, w / 2]; backward: dhidden [splits, n, rank, h, w]

// Which of its pixels, 0 to 3, a window's largest number came from; NOBODY where it is 0, which hands no gradient down.
const NOBODY: f32 = 4.0;
// Ranks that one workgroup of backward sums.
const RANKS: u32 = 8u;

fn finished(value: vec4f) -> vec4f {
    return select(value, vec4f(0.0), bitcast<vec4i>(value) < vec4i(params.floor));
}

// Four channels from m on, the last one again where there are fewer.
fn channels(m: u32) -> vec4u {
    return min(m + vec4u(0u, 1u, 2u, 3u), vec4u(params.cout - 1u));
}
fn weights(m: vec4u, r: u32) -> vec4f {
    let at = m * params.rank + r;
    return vec4f(b[at.x], b[at.y], b[at.z], b[at.w]);
}
fn frozen(at: vec4u) -> vec4f {
    return vec4f(left[at.x], left[at.y], left[at.z], left[at.w]);
}

// One workgroup computes 64 pixels of four channels.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.h * params.w;
    let pixels = params.n * plane;
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let m0 = i / pixels * 4u;
    if m0 >= params.cout {
        return;
    }
    let image = i % pixels / plane;
    let pixel = i % plane;
    let m = channels(m0);
    var total = vec4f(0.0);
    for (var r = 0u; r < params.rank; r++) {
        total += weights(m, r) * right[(image * params.rank + r) * plane + pixel];
    }
    let at = (image * params.cout + m) * plane + pixel;
    let y = finished(frozen(at) + params.scale * total);
    // unroll
    for (var j = 0u; j < 4u; j++) {
        if m0 + j < params.cout {
            out[at[j]] = y[j];
        }
    }
}

fn is_nan(value: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(value) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

// One workgroup computes 64 windows of four channels.
@compute @workgroup_size(64)
fn forward_pooled(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.h * params.w;
    let side = vec2u(params.h, params.w) / 2u;
    let windows = side.x * side.y;
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let m0 = i / (params.n * windows) * 4u;
    if m0 >= params.cout {
        return;
    }
    let image = i % (params.n * windows) / windows;
    let window = i % windows;
    let corner = window / side.y * 2u * params.w + window % side.y * 2u;
    let m = channels(m0);
    var total: array<vec4f, 4>;
    for (var r = 0u; r < params.rank; r++) {
        let w = weights(m, r);
        // unroll
        for (var j = 0u; j < 4u; j++) {
            total[j] += w * right[(image * params.rank + r) * plane + corner + j / 2u * params.w + j % 2u];
        }
    }
    // The first of the largest or the last NaN, as in max_pool2d.wgsl; what ReLU gives is larger than -1 or NaN.
    var best = vec4f(-1.0);
    var winner = vec4f(0.0);
    // unroll
    for (var j = 0u; j < 4u; j++) {
        let at = (image * params.cout + m) * plane + corner + j / 2u * params.w + j % 2u;
        let y = finished(frozen(at) + params.scale * total[j]);
        let better = (y > best) | is_nan(y);
        best = select(best, y, better);
        winner = select(winner, vec4f(f32(j)), better);
    }
    winner = select(winner, vec4f(NOBODY), bitcast<vec4u>(best) == vec4u(0u));
    let to = (image * params.cout + m) * windows + window;
    // unroll
    for (var j = 0u; j < 4u; j++) {
        if m0 + j < params.cout {
            out[to[j]] = best[j];
            more[to[j]] = winner[j];
        }
    }
}

// What ReLU and the pool hand down to a pixel of one image's channel.
fn through(pooled: bool, channel: u32, pixel: u32) -> f32 {
    if !pooled {
        let at = channel * params.h * params.w + pixel;
        return select(0.0, left[at], bitcast<u32>(right[at]) != 0u);
    }
    let side = vec2u(params.h, params.w) / 2u;
    let place = vec2u(pixel / params.w, pixel % params.w);
    let window = place / 2u;
    if any(window >= side) {
        return 0.0;
    }
    let at = (channel * side.x + window.x) * side.y + window.y;
    return select(0.0, left[at], right[at] == f32(place.x % 2u * 2u + place.y % 2u));
}

fn back(pooled: bool, id: u32, lane: u32) {
    let plane = params.h * params.w;
    let tiles = (params.n * plane + 63u) / 64u;
    let splits = (params.cout + params.span - 1u) / params.span;
    let p = id % tiles * 64u + lane;
    let split = id / tiles % splits;
    let r0 = id / (tiles * splits) * RANKS;
    if p >= params.n * plane || r0 >= params.rank {
        return;
    }
    let image = p / plane;
    let pixel = p % plane;
    var total: array<vec4f, 2>; // of RANKS
    for (var m = split * params.span; m < min((split + 1u) * params.span, params.cout); m++) {
        let channel = image * params.cout + m;
        let d = through(pooled, channel, pixel);
        if r0 == 0u {
            out[channel * plane + pixel] = d;
        }
        // unroll
        for (var j = 0u; j < 2u; j++) {
            // The last rank again where there are fewer.
            let r = m * params.rank + min(r0 + j * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(params.rank - 1u));
            total[j] += d * vec4f(b[r.x], b[r.y], b[r.z], b[r.w]);
        }
    }
    // unroll
    for (var j = 0u; j < 2u; j++) {
        // unroll
        for (var k = 0u; k < 4u; k++) {
            let r = r0 + j * 4u + k;
            if r < params.rank {
                more[((split * params.n + image) * params.rank + r) * plane + pixel] = params.scale * total[j][k];
            }
        }
    }
}

// One workgroup computes dy for 64 pixels of one split of the channels, and that split's share of dhidden for RANKS ranks.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    back(false, group.x + group.y * groups.x, lane);
}

// The same of a pooled result.
@compute @workgroup_size(64)
fn backward_pooled(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    back(true, group.x + group.y * groups.x, lane);
}
