// What ends an adapted convolution, in one go over its planes: relu(y + scale B hidden), and of each 2 x 2 pixels the largest
// where it is pooled; and back through both, with what B makes of the gradient.
#import snippets/pool.wgsl

struct Params {
    n: u32, // batch
    cout: u32,
    h: u32,
    w: u32,
    rank: u32,
    scale: f32,
    floor: i32, // numbers whose bits lie below become 0: the negative ones (see relu.wgsl)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: y [n, cout, h, w]; backward: the gradient of the result
@group(0) @binding(2) var<storage, read> right: array<f32>; // forward: hidden [n, rank, h, w]; backward: the result, or where it is pooled the winners
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // forward: the result [n, cout, h, w] or [n, cout, h / 2, w / 2]; backward: dy [n, cout, h, w]
@group(0) @binding(4) var<storage, read> b: array<f32>; // [cout, rank]
@group(0) @binding(5) var<storage, read_write> more: array<f32>; // pooled: the winners [n, cout, h / 2, w / 2]; backward: dhidden [n, rank, h, w]

// Ranks that one workgroup of backward sums, its pixels, and the shares that its threads have of the channels.
const RANKS: u32 = 8u;
const PIXELS: u32 = 16u;
const SHARES: u32 = 16u;
const PARTIALS: u32 = RANKS * SHARES * PIXELS;

var<workgroup> partial: array<f32, PARTIALS>; // [RANKS][SHARES][PIXELS]

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
    var best: array<Window, 4>; // of the channels
    // unroll
    for (var k = 0u; k < 4u; k++) {
        best[k] = Window(LEAST, 0.0);
    }
    // unroll
    for (var j = 0u; j < 4u; j++) {
        let at = (image * params.cout + m) * plane + corner + j / 2u * params.w + j % 2u;
        let y = finished(frozen(at) + params.scale * total[j]);
        // unroll
        for (var k = 0u; k < 4u; k++) {
            best[k] = better(best[k], y[k], f32(j));
        }
    }
    let to = (image * params.cout + m) * windows + window;
    // unroll
    for (var k = 0u; k < 4u; k++) {
        if m0 + k < params.cout {
            out[to[k]] = best[k].best;
            more[to[k]] = winner_of(best[k]);
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

// A thread sums over its share of the channels, so that no second dispatch adds up what workgroups have.
fn back(pooled: bool, id: u32, lane: u32) {
    let plane = params.h * params.w;
    let pixels = params.n * plane;
    let tiles = (pixels + PIXELS - 1u) / PIXELS;
    let first = id % tiles * PIXELS;
    let r0 = id / tiles * RANKS;
    let p = first + lane % PIXELS;
    // Pixels past the last repeat it; what they give is not stored.
    let image = min(p, pixels - 1u) / plane;
    let pixel = min(p, pixels - 1u) - image * plane;
    var total: array<vec4f, 2>; // of RANKS
    for (var m = lane / PIXELS; m < params.cout; m += SHARES) {
        let channel = image * params.cout + m;
        let d = through(pooled, channel, pixel);
        if r0 == 0u && p < pixels {
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
    for (var j = 0u; j < RANKS; j++) {
        partial[j * SHARES * PIXELS + lane] = total[j / 4u][j % 4u];
    }
    workgroupBarrier();
    let r = r0 + lane / PIXELS;
    if lane >= RANKS * PIXELS || r >= params.rank || p >= pixels {
        return;
    }
    var sum = 0.0;
    // unroll
    for (var share = 0u; share < SHARES; share++) {
        sum += partial[(lane / PIXELS * SHARES + share) * PIXELS + lane % PIXELS];
    }
    more[(image * params.rank + r) * plane + pixel] = params.scale * sum;
}

// One workgroup computes dy for 16 pixels, and dhidden for RANKS ranks of them.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    back(false, group.x + group.y * groups.x, lane);
}

// The same of a pooled result.
@compute @workgroup_size(256)
fn backward_pooled(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    back(true, group.x + group.y * groups.x, lane);
}

// What a pool after ReLU hands down where there is no LoRA: one workgroup computes 256 pixels of dy.
@compute @workgroup_size(256)
fn backward_pool(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    let plane = params.h * params.w;
    if i < params.n * params.cout * plane {
        out[i] = through(true, i / plane, i % plane);
    }
}
