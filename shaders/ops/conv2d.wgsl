// 2-D convolution as an implicit matrix product: nothing is unrolled in memory.
#import snippets/tile.wgsl
#const FIXED_3X3: bool // 3x3, stride 1, padding 1, the common case: its divisions are known to the compiler

struct Params {
    n: u32, // batch
    cin: u32,
    h: u32,
    w: u32,
    cout: u32,
    oh: u32,
    ow: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
    padding: u32,
    span: u32, // what one split sums: of the depth, backward_w: of the pixels
    accumulate: u32, // backward_x: not 0 where its sums are added to what is there
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward, backward_x: weight [cout, cin, kernel_h, kernel_w]; backward_w: dy
@group(0) @binding(2) var<storage, read> right: array<f32>; // forward, backward_w: x [n, cin, h, w]; backward_x: dy [n, cout, oh, ow]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // y [splits, n, cout, oh, ow]; dx [splits, n, cin, h, w]; dw [splits, cout, cin, kernel_h, kernel_w]

fn kernel_w() -> u32 {
    return select(params.kernel_w, 3u, FIXED_3X3);
}
fn kernel_size() -> u32 {
    return select(params.kernel_h * params.kernel_w, 9u, FIXED_3X3);
}
fn stride() -> i32 {
    return select(i32(params.stride), 1, FIXED_3X3);
}
fn padding() -> i32 {
    return select(i32(params.padding), 1, FIXED_3X3);
}

// A thread fetches one depth of the left tile, of a quad of rows and every so many on.
const LEFT_QUADS: u32 = THREADS / DEPTH;

fn load_left(index: u32, inside: bool) -> f32 {
    return select(0.0, left[select(0u, index, inside)], inside);
}
fn load_right(index: vec4i, inside: vec4<bool>) -> vec4f {
    let i = vec4u(select(vec4i(0), index, inside));
    return select(vec4f(0.0), vec4f(right[i.x], right[i.y], right[i.z], right[i.w]), inside);
}

// The four pixels of a quad of columns, RIGHT apart so that neighbouring lanes meet neighbouring pixels: image, row,
// column.
struct Pixels {
    image: vec4u,
    y: vec4i,
    x: vec4i,
    inside: vec4<bool>,
}
fn pixels(first: u32, h: u32, w: u32) -> Pixels {
    let p = first + vec4u(0u, RIGHT, 2u * RIGHT, 3u * RIGHT);
    let image = p / (h * w);
    let rest = p - image * (h * w);
    let y = rest / w;
    return Pixels(image, vec4i(y), vec4i(rest - y * w), image < vec4u(params.n));
}

// What windows of 3 x 3 see of the four pixels: where those are in the first channel, and a bit a tap, whether it is inside.
struct Windows {
    source: vec4i,
    taps: vec4u,
}
fn windows(at: Pixels, channels: u32) -> Windows {
    let size = vec2i(i32(params.h), i32(params.w));
    var taps = vec4u(0u);
    // unroll
    for (var tap = 0u; tap < 9u; tap++) {
        let y = at.y + i32(tap / 3u) - 1;
        let x = at.x + i32(tap % 3u) - 1;
        let inside = at.inside & (y >= vec4i(0)) & (y < vec4i(size.x)) & (x >= vec4i(0)) & (x < vec4i(size.y));
        taps |= select(vec4u(0u), vec4u(1u << tap), inside);
    }
    return Windows(vec4i(at.image * channels) * (size.x * size.y) + at.y * size.y + at.x, taps);
}
// A tap of channel c; nothing of those past the end.
fn seen(at: Windows, c: u32, tap: u32, inside: bool) -> vec4f {
    let bit = select(0u, 1u << tap, inside);
    let shift = i32((c * params.h + tap / 3u) * params.w + tap % 3u) - i32(params.w) - 1;
    return load_right(at.source + shift, (at.taps & vec4u(bit)) != vec4u(0u));
}

fn store_pixels(lane: u32, m0: u32, p0: u32, split: u32, channels: u32, plane: u32, sums: ptr<function, Sums>) {
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let m = m0 + sum_row(lane, i);
        // unroll
        for (var j = 0u; j < 4u; j++) {
            let p = p0 + sum_quad(lane, i) + j * RIGHT;
            let image = p / plane;
            if m < channels && image < params.n {
                let to = ((split * params.n + image) * channels + m) * plane + p - image * plane;
                out[to] = (*sums)[i][j] + select(0.0, out[to], params.accumulate != 0u);
            }
        }
    }
}

// One workgroup sums one split of y for ROWS output channels x COLUMNS pixels.
@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.oh * params.ow;
    let tiles_m = (params.cout + ROWS - 1u) / ROWS;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * ROWS;
    let tiles_p = (params.n * plane + COLUMNS - 1u) / COLUMNS;
    let p0 = ((id / tiles_m) % tiles_p) * COLUMNS;
    let split = id / (tiles_m * tiles_p);
    let depth = params.cin * kernel_size();
    let start = split * params.span;
    if start >= depth {
        return;
    }
    let end = min(start + params.span, depth);
    let at = pixels(p0 + lane % RIGHT, params.oh, params.ow);
    let base = vec4i(at.image * params.cin * params.h * params.w);
    let y0 = at.y * stride() - padding();
    let x0 = at.x * stride() - padding();
    let sees = windows(at, params.cin);
    var accumulators: Accumulators;
    for (var k0 = start; k0 < end; k0 += DEPTH) {
        let ka = k0 + lane % DEPTH;
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let quad = lane / DEPTH + i * LEFT_QUADS;
            let m = m0 + quad * 4u;
            let w = m * depth + ka;
            let ok = vec4<bool>(m < params.cout, m + 1u < params.cout, m + 2u < params.cout, m + 3u < params.cout) & vec4<bool>(ka < end);
            put_left(lane % DEPTH, quad, vec4f(
                load_left(w, ok.x),
                load_left(w + depth, ok.y),
                load_left(w + 2u * depth, ok.z),
                load_left(w + 3u * depth, ok.w),
            ));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            // THREADS is a multiple of RIGHT: a thread stays with its quad of columns.
            let row = lane / RIGHT + i * RIGHT_LINES;
            let kb = k0 + row;
            let c = kb / kernel_size();
            let tap = kb - c * kernel_size();
            if FIXED_3X3 {
                put_right(row, lane % RIGHT, seen(sees, c, tap, kb < end));
            } else {
                let iy = y0 + i32(tap / kernel_w());
                let ix = x0 + i32(tap % kernel_w());
                let inside = at.inside & (iy >= vec4i(0)) & (iy < vec4i(i32(params.h))) & (ix >= vec4i(0)) & (ix < vec4i(i32(params.w))) & vec4<bool>(kb < end);
                put_right(row, lane % RIGHT, load_right(base + (i32(c * params.h) + iy) * i32(params.w) + ix, inside));
            }
        }
        workgroupBarrier();
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    var sums: Sums;
    finish_tiles(lane, &accumulators, &sums);
    store_pixels(lane, m0, p0, split, params.cout, plane, &sums);
}

// One workgroup sums one split of dx for ROWS input channels x COLUMNS pixels.
@compute @workgroup_size(THREADS)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.h * params.w;
    let tiles_m = (params.cin + ROWS - 1u) / ROWS;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * ROWS;
    let tiles_p = (params.n * plane + COLUMNS - 1u) / COLUMNS;
    let p0 = ((id / tiles_m) % tiles_p) * COLUMNS;
    let split = id / (tiles_m * tiles_p);
    let taps = kernel_size();
    let depth = params.cout * taps;
    let start = split * params.span;
    if start >= depth {
        return;
    }
    let end = min(start + params.span, depth);
    let at = pixels(p0 + lane % RIGHT, params.h, params.w);
    let base = vec4i(at.image * params.cout * params.oh * params.ow);
    let y0 = at.y + padding();
    let x0 = at.x + padding();
    let sees = windows(at, params.cout);
    var accumulators: Accumulators;
    for (var k0 = start; k0 < end; k0 += DEPTH) {
        let ka = k0 + lane % DEPTH;
        let co = ka / taps;
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let quad = lane / DEPTH + i * LEFT_QUADS;
            let m = m0 + quad * 4u;
            let w = (co * params.cin + m) * taps + ka - co * taps;
            let ok = vec4<bool>(m < params.cin, m + 1u < params.cin, m + 2u < params.cin, m + 3u < params.cin) & vec4<bool>(ka < end);
            put_left(lane % DEPTH, quad, vec4f(
                load_left(w, ok.x),
                load_left(w + taps, ok.y),
                load_left(w + 2u * taps, ok.z),
                load_left(w + 3u * taps, ok.w),
            ));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            // THREADS is a multiple of RIGHT: a thread stays with its quad of columns.
            let row = lane / RIGHT + i * RIGHT_LINES;
            let kb = k0 + row;
            let c = kb / taps;
            let tap = kb - c * taps;
            if FIXED_3X3 {
                // A pixel was seen through the tap on the other side.
                put_right(row, lane % RIGHT, seen(sees, c, 8u - tap, kb < end));
            } else {
                // The output pixel that saw this input pixel through this tap, where the stride meets it.
                let sy = y0 - i32(tap / kernel_w());
                let sx = x0 - i32(tap % kernel_w());
                let oy = sy / stride();
                let ox = sx / stride();
                let inside = at.inside & (sy >= vec4i(0)) & (sx >= vec4i(0)) & (oy * stride() == sy) & (ox * stride() == sx)
                    & (oy < vec4i(i32(params.oh))) & (ox < vec4i(i32(params.ow))) & vec4<bool>(kb < end);
                put_right(row, lane % RIGHT, load_right(base + (i32(c * params.oh) + oy) * i32(params.ow) + ox, inside));
            }
        }
        workgroupBarrier();
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    var sums: Sums;
    finish_tiles(lane, &accumulators, &sums);
    store_pixels(lane, m0, p0, split, params.cin, plane, &sums);
}

// One workgroup sums `span` output pixels into one split of dw, ROWS output channels x COLUMNS (channel, tap)s.
@compute @workgroup_size(THREADS)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let columns = params.cin * kernel_size();
    let tiles_m = (params.cout + ROWS - 1u) / ROWS;
    let tiles_n = (columns + COLUMNS - 1u) / COLUMNS;
    let plane = params.oh * params.ow;
    let depth = params.n * plane;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * ROWS;
    let n0 = ((id / tiles_m) % tiles_n) * COLUMNS;
    let split = id / (tiles_m * tiles_n);
    let start = split * params.span;
    let end = min(start + params.span, depth);
    if start >= depth {
        return;
    }
    // Four (channel, tap) columns: where their pixel lies relative to the window's corner.
    let column = n0 + lane % RIGHT + vec4u(0u, RIGHT, 2u * RIGHT, 3u * RIGHT);
    let c = column / kernel_size();
    let tap = column - c * kernel_size();
    let r = vec4i(tap / kernel_w()) - padding();
    let s = vec4i(tap % kernel_w()) - padding();
    let valid = column < vec4u(columns);
    var accumulators: Accumulators;
    for (var k0 = start; k0 < end; k0 += DEPTH) {
        let pa = k0 + lane % DEPTH;
        let image = pa / plane;
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let quad = lane / DEPTH + i * LEFT_QUADS;
            let m = m0 + quad * 4u;
            let g = (image * params.cout + m) * plane + pa - image * plane;
            let ok = vec4<bool>(m < params.cout, m + 1u < params.cout, m + 2u < params.cout, m + 3u < params.cout) & vec4<bool>(pa < end);
            put_left(lane % DEPTH, quad, vec4f(
                load_left(g, ok.x),
                load_left(g + plane, ok.y),
                load_left(g + 2u * plane, ok.z),
                load_left(g + 3u * plane, ok.w),
            ));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            // THREADS is a multiple of RIGHT: a thread stays with its quad of columns.
            let row = lane / RIGHT + i * RIGHT_LINES;
            let pb = k0 + row;
            let source = pb / plane;
            let rest = pb - source * plane;
            let iy = i32(rest / params.ow) * stride() + r;
            let ix = i32(rest % params.ow) * stride() + s;
            let inside = valid & (iy >= vec4i(0)) & (iy < vec4i(i32(params.h))) & (ix >= vec4i(0)) & (ix < vec4i(i32(params.w))) & vec4<bool>(pb < end);
            put_right(row, lane % RIGHT, load_right((vec4i(vec4u(source * params.cin) + c) * i32(params.h) + iy) * i32(params.w) + ix, inside));
        }
        workgroupBarrier();
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    var sums: Sums;
    finish_tiles(lane, &accumulators, &sums);
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let m = m0 + sum_row(lane, i);
        // unroll
        for (var j = 0u; j < 4u; j++) {
            let n = n0 + sum_quad(lane, i) + j * RIGHT;
            if m < params.cout && n < columns {
                out[(split * params.cout + m) * columns + n] = sums[i][j];
            }
        }
    }
}
