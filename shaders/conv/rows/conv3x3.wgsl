// A frozen 3x3 convolution with stride 1 and padding 1 as an implicit matrix product: its weight lies as the product
// takes it, its depth is split where that keeps a device busy.
#import snippets/tile.wgsl
#import stored

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
    base: vec4i, // where the image starts in x
    y: vec4i,
    x: vec4i,
    inside: vec4<bool>,
}
fn pixels(first: u32) -> Pixels {
    let p = first + vec4u(0u, RIGHT, 2u * RIGHT, 3u * RIGHT);
    let image = p / (params.h * params.w);
    let rest = p - image * (params.h * params.w);
    let row = rest / params.w;
    return Pixels(vec4i(image * params.cin * params.h * params.w), vec4i(row), vec4i(rest - row * params.w), image < vec4u(params.n));
}

// The next tiles' numbers come from memory while the present ones are multiplied.
fn fetch_left(lane: u32, m0: u32, k0: u32, left: ptr<function, LeftLoads>) {
    let quads = (params.cout + 3u) / 4u;
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        let at = lane + i * THREADS;
        let quad = m0 / 4u + at % LEFT;
        // A thread without a quad of this tile fetches the last line's.
        let k = k0 + min(at / LEFT, DEPTH - 1u);
        let inside = quad < quads;
        (*left)[i] = select(vec4f(0.0), stored(weight[k * quads + select(0u, quad, inside)]), inside);
    }
}
fn fetch_right(lane: u32, at: Pixels, k0: u32, right: ptr<function, RightLoads>) {
    let size = vec2i(i32(params.h), i32(params.w));
    // DEPTH divides cin_padded: all of this depth is of one tap.
    let tap = k0 / params.cin_padded;
    let c0 = k0 - tap * params.cin_padded;
    let iy = at.y + i32(tap / 3u) - 1;
    let ix = at.x + i32(tap % 3u) - 1;
    let inside = at.inside & (iy >= vec4i(0)) & (iy < vec4i(size.x)) & (ix >= vec4i(0)) & (ix < vec4i(size.y));
    let source = at.base + iy * size.y + ix;
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let c = c0 + (lane + i * THREADS) / RIGHT;
        let ok = inside & vec4<bool>(c < params.cin);
        let j = vec4u(select(vec4i(0), source + i32(c) * size.x * size.y, ok));
        (*right)[i] = select(vec4f(0.0), vec4f(x[j.x], x[j.y], x[j.z], x[j.w]), ok);
    }
}

// Sums of depth start..end for the tile at output channel m0 and pixel p0.
fn product(lane: u32, m0: u32, p0: u32, start: u32, end: u32, sums: ptr<function, Accumulators>) {
    let at = pixels(p0 + lane % RIGHT);
    var left: LeftLoads;
    var right: RightLoads;
    fetch_left(lane, m0, start, &left);
    fetch_right(lane, at, start, &right);
    for (var k0 = start; k0 < end; k0 += DEPTH) {
        put_tiles(lane, &left, &right);
        workgroupBarrier();
        if k0 + DEPTH < end {
            fetch_left(lane, m0, k0 + DEPTH, &left);
            fetch_right(lane, at, k0 + DEPTH, &right);
        }
        multiply_tiles(lane, sums);
        workgroupBarrier();
    }
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
