// A frozen 3x3 convolution with stride 1 and padding 1 as an implicit matrix product: its weight lies as the product
// takes it, its depth is split where that keeps a device busy.
#import snippets/tile_frozen.wgsl
#const RAGGED: bool // cin is less than cin_padded

struct Params {
    n: u32, // batch
    cin: u32,
    cin_padded: u32, // to a multiple of DEPTH
    cout: u32,
    h: u32,
    w: u32,
    span: u32, // depth that one split sums, a multiple of DEPTH
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Stored>; // [9 taps, cin_padded, cout / 4 rounded up]
@group(0) @binding(2) var<storage, read> x: array<f32>; // [n, cin, h, w]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [cout]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [splits, n, cout, h, w]; without bias where there are several

// The four pixels of this thread's quad of columns, RIGHT apart so that neighbouring lanes meet neighbouring pixels.
struct Pixels {
    source: vec4i, // where they are in the first channel of x
    taps: vec4u, // a bit a tap: whether what it sees is inside
}
fn pixels(first: u32) -> Pixels {
    let plane = params.h * params.w;
    let size = vec2i(i32(params.h), i32(params.w));
    let p = first + vec4u(0u, RIGHT, 2u * RIGHT, 3u * RIGHT);
    let image = p / plane;
    let rest = p - image * plane;
    let row = rest / params.w;
    let column = rest - row * params.w;
    var taps = vec4u(0u);
    // unroll
    for (var tap = 0u; tap < 9u; tap++) {
        let y = vec4i(row) + i32(tap / 3u) - 1;
        let x = vec4i(column) + i32(tap % 3u) - 1;
        let inside = (y >= vec4i(0)) & (y < vec4i(size.x)) & (x >= vec4i(0)) & (x < vec4i(size.y));
        taps |= select(vec4u(0u), vec4u(1u << tap), inside & (image < vec4u(params.n)));
    }
    return Pixels(vec4i(image * params.cin * plane + rest), taps);
}

// What a tap sees of the pixels: where in the first channel of x, and whether that is inside.
struct Seen {
    source: vec4u,
    inside: vec4<bool>,
}
fn seen(at: Pixels, tap: u32) -> Seen {
    let inside = (at.taps & vec4u(1u << tap)) != vec4u(0u);
    let shift = (i32(tap / 3u) - 1) * i32(params.w) + i32(tap % 3u) - 1;
    return Seen(vec4u(select(vec4i(0), at.source + shift, inside)), inside);
}

// The next tiles' numbers come from memory while the present ones are multiplied.
fn fetch_left(at: u32, left: ptr<function, LeftLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        (*left)[i] = weight[at + i * (LEFT_LINES * ((params.cout + 3u) / 4u))];
    }
}
fn fetch_right(at: Seen, channel: u32, right: ptr<function, RightLoads>) {
    let plane = params.h * params.w;
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        var first = channel + i * (RIGHT_LINES * plane);
        var inside = at.inside;
        if RAGGED {
            // The weight's zeros for channels past the last would make NaN of an infinity.
            let last = (params.cin - 1u) * plane;
            inside = inside & vec4<bool>(first <= last);
            first = min(first, last);
        }
        let j = at.source + first;
        (*right)[i] = select(vec4f(0.0), vec4f(x[j.x], x[j.y], x[j.z], x[j.w]), inside);
    }
}

// Sums of depth start..end for the tile at output channel m0 and pixel p0.
fn product(lane: u32, m0: u32, p0: u32, start: u32, end: u32, sums: ptr<function, Accumulators>) {
    // Quads past the last repeat it; what they give is not stored.
    let quads = (params.cout + 3u) / 4u;
    var weight_at = (start + left_line(lane)) * quads + min(m0 / 4u + lane % LEFT, quads - 1u);
    let at = pixels(p0 + lane % RIGHT);
    // DEPTH divides cin_padded: all of a depth step is of one tap.
    var tap = start / params.cin_padded;
    var c0 = start - tap * params.cin_padded;
    var sees = seen(at, tap);
    // Where this thread's channels start.
    let first = right_line(lane) * params.h * params.w;
    let step = DEPTH * params.h * params.w;
    var channel = first + c0 * params.h * params.w;
    var left: LeftLoads;
    var right: RightLoads;
    fetch_left(weight_at, &left);
    fetch_right(sees, channel, &right);
    for (var k0 = start + DEPTH; k0 < end; k0 += DEPTH) {
        put_tiles(lane, &left, &right);
        workgroupBarrier();
        weight_at += DEPTH * quads;
        c0 += DEPTH;
        channel += step;
        if c0 == params.cin_padded {
            c0 = 0u;
            channel = first;
            tap++;
            sees = seen(at, tap);
        }
        fetch_left(weight_at, &left);
        fetch_right(sees, channel, &right);
        multiply_tiles(lane, sums);
        workgroupBarrier();
    }
    put_tiles(lane, &left, &right);
    workgroupBarrier();
    multiply_tiles(lane, sums);
}

// One workgroup computes one split of y for ROWS output channels x COLUMNS pixels. conv3x3_finish.wgsl adds splits.
@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.h * params.w;
    let depth = 9u * params.cin_padded;
    let tiles_m = (params.cout + ROWS - 1u) / ROWS;
    let tiles_p = (params.n * plane + COLUMNS - 1u) / COLUMNS;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * ROWS;
    let p0 = ((id / tiles_m) % tiles_p) * COLUMNS;
    let split = id / (tiles_m * tiles_p);
    let start = split * params.span;
    if start >= depth {
        return;
    }
    var accumulators: Accumulators;
    product(lane, m0, p0, start, min(start + params.span, depth), &accumulators);
    var sums: Sums;
    finish_tiles(lane, &accumulators, &sums);
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let m = m0 + sum_row(lane, i);
        let sum = sums[i] + bias[min(m, params.cout - 1u)];
        let finished = select(sum, vec4f(0.0), bitcast<vec4i>(sum) < vec4i(params.floor));
        let value = select(sums[i], finished, params.span == depth);
        // unroll
        for (var j = 0u; j < 4u; j++) {
            let p = p0 + sum_quad(lane, i) + j * RIGHT;
            let image = p / plane;
            if m < params.cout && image < params.n {
                y[((split * params.n + image) * params.cout + m) * plane + p - image * plane] = value[j];
            }
        }
    }
}
