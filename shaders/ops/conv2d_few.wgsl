// conv2d.wgsl for few channels on one side, as a low-rank factor has, in one dispatch where its tiles would need a second to
// add up splits. Windows are 3 x 3 with padding 1, or a pixel; the stride is 1.
#const TAPS: u32 // of a window: 9 or 1
#const FEW: u32 // of the few channels that a workgroup takes

struct Params {
    n: u32, // batch
    few: u32, // channels
    many: u32,
    h: u32,
    w: u32,
    span: u32, // backward_w: pixels that one split sums
    few_step: u32, // backward_w: numbers of the result from one of the few channels to the next
    many_step: u32,
    alpha: f32, // backward_w: what is summed is multiplied by it
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward: weight [few, many, TAPS]; backward_w: [n, few, h, w]
@group(0) @binding(2) var<storage, read> right: array<f32>; // [n, many, h, w], through the window
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // forward: y [n, few, h, w]; backward_w: [splits, ...], TAPS numbers of each pair of channels

const LANES: u32 = 64u;
const SUMS: u32 = FEW * TAPS;
const LINE: u32 = LANES + 1u;
const PARTIALS: u32 = SUMS * LINE;
var<workgroup> partial: array<f32, PARTIALS>; // backward_w: [FEW * TAPS][LINE]

// Of forward: a thread's four pixels of a row, and the shares that its threads have of the many channels.
const QUADS: u32 = 4u;
const SHARES: u32 = 32u;
const ROUND: u32 = QUADS * SHARES;
const FOURS: u32 = FEW * 4;
const SHARED: u32 = FOURS * ROUND;
var<workgroup> shares: array<f32, SHARED>; // [FEW * 4][SHARES][QUADS]

// One workgroup computes four quads of pixels of FEW of the few channels, from windows of 3 x 3: a thread's channels first,
// then the shares.
@compute @workgroup_size(128)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let quads_w = (params.w + 3u) / 4u;
    let quads = params.n * params.h * quads_w;
    let tiles = (quads + QUADS - 1u) / QUADS;
    let r0 = id / tiles * FEW;
    // Quads past the last repeat it; what they give is not stored.
    let own = id % tiles * QUADS + lane % QUADS;
    let quad = min(own, quads - 1u);
    let line = quad / quads_w;
    let image = line / params.h;
    let row = line - image * params.h;
    let column = (quad - line * quads_w) * 4u;
    let plane = params.h * params.w;
    var total: array<vec4f, FEW>;
    for (var c = lane / QUADS; c < params.many; c += SHARES) {
        let start = (image * params.many + c) * plane;
        // unroll
        for (var tap = 0u; tap < 3u; tap++) {
            let y = row + tap - 1u;
            var seen: array<f32, 6>;
            // unroll
            for (var j = 0u; j < 6u; j++) {
                // What is before the first is past the last, as a number without sign.
                let x = column + j - 1u;
                let inside = y < params.h && x < params.w;
                seen[j] = select(0.0, right[select(start, start + y * params.w + x, inside)], inside);
            }
            // unroll
            for (var r = 0u; r < FEW; r++) {
                // The last of the few again where there are fewer.
                let at = (min(r0 + r, params.few - 1u) * params.many + c) * 9u + tap * 3u;
                total[r] += left[at] * vec4f(seen[0], seen[1], seen[2], seen[3]);
                total[r] += left[at + 1u] * vec4f(seen[1], seen[2], seen[3], seen[4]);
                total[r] += left[at + 2u] * vec4f(seen[2], seen[3], seen[4], seen[5]);
            }
        }
    }
    // unroll
    for (var i = 0u; i < FOURS; i++) {
        shares[i * ROUND + lane] = total[i / 4u][i % 4u];
    }
    workgroupBarrier();
    // What is left for a thread: a pixel of its quad, of one of the few channels.
    let r = r0 + lane / QUADS / 4u;
    let x = column + lane / QUADS % 4u;
    if lane >= FOURS * QUADS || r >= params.few || x >= params.w || own >= quads {
        return;
    }
    var sum = 0.0;
    // unroll
    for (var share = 0u; share < SHARES; share++) {
        sum += shares[(lane / QUADS * SHARES + share) * QUADS + lane % QUADS];
    }
    out[(image * params.few + r) * plane + row * params.w + x] = sum;
}

// What a window sees at a pixel of the plane that starts at `plane`.
fn window(plane: u32, row: u32, column: u32) -> array<f32, TAPS> {
    var seen: array<f32, TAPS>;
    // unroll
    for (var tap = 0u; tap < TAPS; tap++) {
        // A window of a pixel has its middle alone.
        let y = row + select(tap / 3u, 1u, TAPS == 1u) - 1u;
        let x = column + select(tap % 3u, 1u, TAPS == 1u) - 1u;
        // What is before the first is past the last, as a number without sign.
        let inside = y < params.h && x < params.w;
        seen[tap] = select(0.0, right[select(plane, plane + y * params.w + x, inside)], inside);
    }
    return seen;
}

// One workgroup sums one split of the gradient for one of the many channels and FEW of the few: a lane's pixels, then the
// lanes.
@compute @workgroup_size(64)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let few_groups = (params.few + FEW - 1u) / FEW;
    let c = id % params.many;
    let r0 = id / params.many % few_groups * FEW;
    let split = id / (params.many * few_groups);
    let plane = params.h * params.w;
    let pixels = params.n * plane;
    let start = split * params.span;
    if start >= pixels {
        return;
    }
    let end = min(start + params.span, pixels);
    // Where a lane's pixel is, and how far on its next one: no division in the loop.
    let first = start + lane;
    var image = first / plane;
    var row = (first - image * plane) / params.w;
    var column = first - image * plane - row * params.w;
    let images = LANES / plane;
    let rows = (LANES - images * plane) / params.w;
    let columns = LANES - images * plane - rows * params.w;
    var sums: array<f32, SUMS>; // [FEW][TAPS]
    for (var p = first; p < end; p += LANES) {
        let seen = window((image * params.many + c) * plane, row, column);
        let at = image * params.few * plane + row * params.w + column;
        // unroll
        for (var r = 0u; r < FEW; r++) {
            // The last of the few again where there are fewer.
            let g = left[at + min(r0 + r, params.few - 1u) * plane];
            // unroll
            for (var tap = 0u; tap < TAPS; tap++) {
                sums[r * TAPS + tap] += g * seen[tap];
            }
        }
        column += columns;
        row += rows;
        image += images;
        if column >= params.w {
            column -= params.w;
            row++;
        }
        if row >= params.h {
            row -= params.h;
            image++;
        }
    }
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        partial[i * LINE + lane] = sums[i];
    }
    workgroupBarrier();
    for (var i = lane; i < SUMS; i += LANES) {
        if r0 + i / TAPS < params.few {
            var total = 0.0;
            for (var j = 0u; j < LANES; j++) {
                total += partial[i * LINE + j];
            }
            let to = (split * params.few * params.many) * TAPS + (r0 + i / TAPS) * params.few_step + c * params.many_step;
            out[to + i % TAPS] = params.alpha * total;
        }
    }
}
