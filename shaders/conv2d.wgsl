// 2-D convolution as an implicit matrix product: nothing is unrolled in memory. Follows tile.wgsl.
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
    span: u32, // backward_w: pixels that one split sums
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>; // forward, backward_x: weight [cout, cin, kernel_h, kernel_w]; backward_w: dy
@group(0) @binding(2) var<storage, read> right: array<f32>; // forward, backward_w: x [n, cin, h, w]; backward_x: dy [n, cout, oh, ow]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // y [n, cout, oh, ow]; dx [n, cin, h, w]; dw [splits, cout, cin, kernel_h, kernel_w]

// The common 3x3, stride 1, padding 1 with its divisions known to the compiler.
override FIXED_3X3: bool = false;

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

fn load_left(index: u32, inside: bool) -> f32 {
    return select(0.0, left[select(0u, index, inside)], inside);
}
fn load_right(index: vec4i, inside: vec4<bool>) -> vec4f {
    let i = vec4u(select(vec4i(0), index, inside));
    return select(vec4f(0.0), vec4f(right[i.x], right[i.y], right[i.z], right[i.w]), inside);
}

// Four consecutive pixels of a batch of planes: image, row, column.
struct Pixels {
    image: vec4u,
    y: vec4i,
    x: vec4i,
    inside: vec4<bool>,
}
fn pixels(first: u32, h: u32, w: u32) -> Pixels {
    let p = vec4u(first, first + 1u, first + 2u, first + 3u);
    let image = p / (h * w);
    let rest = p - image * (h * w);
    let y = rest / w;
    return Pixels(image, vec4i(y), vec4i(rest - y * w), image < vec4u(params.n));
}

fn store_pixels(lane: u32, m0: u32, p0: u32, channels: u32, plane: u32, sums: ptr<function, array<vec4f, 16>>) {
    for (var i = 0u; i < 16u; i++) {
        let m = m0 + tile_row(lane, i / 2u);
        let p = p0 + tile_column(lane, i);
        for (var j = 0u; j < 4u; j++) {
            let image = (p + j) / plane;
            if m < channels && image < params.n {
                out[(image * channels + m) * plane + (p + j) - image * plane] = (*sums)[i][j];
            }
        }
    }
}

// One workgroup computes y for 64 output channels x 64 pixels.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.oh * params.ow;
    let tiles_m = (params.cout + TILE - 1u) / TILE;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * TILE;
    let p0 = (id / tiles_m) * TILE;
    if p0 >= params.n * plane {
        return;
    }
    let depth = params.cin * kernel_size();
    let at = pixels(p0 + (lane % 16u) * 4u, params.oh, params.ow);
    let base = vec4i(at.image * params.cin * params.h * params.w);
    let y0 = at.y * stride() - padding();
    let x0 = at.x * stride() - padding();
    var sums: array<vec4f, 16>;
    for (var k0 = 0u; k0 < depth; k0 += DEPTH) {
        for (var i = 0u; i < 4u; i++) {
            let quad = lane / 16u + i * 4u;
            let ka = k0 + lane % 16u;
            let m = m0 + quad * 4u;
            let w = m * depth + ka;
            let ok = vec4<bool>(m < params.cout, m + 1u < params.cout, m + 2u < params.cout, m + 3u < params.cout) & vec4<bool>(ka < depth);
            tile_a[(lane % 16u) * LINE + quad] = vec4f(
                load_left(w, ok.x),
                load_left(w + depth, ok.y),
                load_left(w + 2u * depth, ok.z),
                load_left(w + 3u * depth, ok.w),
            );
            let row = lane / 16u + i * 4u;
            let kb = k0 + row;
            let c = kb / kernel_size();
            let tap = kb - c * kernel_size();
            let iy = y0 + i32(tap / kernel_w());
            let ix = x0 + i32(tap % kernel_w());
            let inside = at.inside & (iy >= vec4i(0)) & (iy < vec4i(i32(params.h))) & (ix >= vec4i(0)) & (ix < vec4i(i32(params.w))) & vec4<bool>(kb < depth);
            tile_b[row * LINE + lane % 16u] = load_right(base + (i32(c * params.h) + iy) * i32(params.w) + ix, inside);
        }
        workgroupBarrier();
        multiply_tiles(lane, &sums);
        workgroupBarrier();
    }
    store_pixels(lane, m0, p0, params.cout, plane, &sums);
}

// One workgroup computes dx for 64 input channels x 64 pixels.
@compute @workgroup_size(64)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = params.h * params.w;
    let tiles_m = (params.cin + TILE - 1u) / TILE;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * TILE;
    let p0 = (id / tiles_m) * TILE;
    if p0 >= params.n * plane {
        return;
    }
    let taps = kernel_size();
    let depth = params.cout * taps;
    let at = pixels(p0 + (lane % 16u) * 4u, params.h, params.w);
    let base = vec4i(at.image * params.cout * params.oh * params.ow);
    let y0 = at.y + padding();
    let x0 = at.x + padding();
    var sums: array<vec4f, 16>;
    for (var k0 = 0u; k0 < depth; k0 += DEPTH) {
        for (var i = 0u; i < 4u; i++) {
            let quad = lane / 16u + i * 4u;
            let ka = k0 + lane % 16u;
            let co = ka / taps;
            let m = m0 + quad * 4u;
            let w = (co * params.cin + m) * taps + ka - co * taps;
            let ok = vec4<bool>(m < params.cin, m + 1u < params.cin, m + 2u < params.cin, m + 3u < params.cin) & vec4<bool>(ka < depth);
            tile_a[(lane % 16u) * LINE + quad] = vec4f(
                load_left(w, ok.x),
                load_left(w + taps, ok.y),
                load_left(w + 2u * taps, ok.z),
                load_left(w + 3u * taps, ok.w),
            );
            let row = lane / 16u + i * 4u;
            let kb = k0 + row;
            let c = kb / taps;
            let tap = kb - c * taps;
            // The output pixel that saw this input pixel through this tap, where the stride meets it.
            let sy = y0 - i32(tap / kernel_w());
            let sx = x0 - i32(tap % kernel_w());
            let oy = sy / stride();
            let ox = sx / stride();
            let inside = at.inside & (sy >= vec4i(0)) & (sx >= vec4i(0)) & (oy * stride() == sy) & (ox * stride() == sx)
                & (oy < vec4i(i32(params.oh))) & (ox < vec4i(i32(params.ow))) & vec4<bool>(kb < depth);
            tile_b[row * LINE + lane % 16u] = load_right(base + (i32(c * params.oh) + oy) * i32(params.ow) + ox, inside);
        }
        workgroupBarrier();
        multiply_tiles(lane, &sums);
        workgroupBarrier();
    }
    store_pixels(lane, m0, p0, params.cin, plane, &sums);
}

// One workgroup sums `span` output pixels into one split of dw, 64 output channels x 64 (channel, tap)s.
@compute @workgroup_size(64)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let columns = params.cin * kernel_size();
    let tiles_m = (params.cout + TILE - 1u) / TILE;
    let tiles_n = (columns + TILE - 1u) / TILE;
    let plane = params.oh * params.ow;
    let depth = params.n * plane;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * TILE;
    let n0 = ((id / tiles_m) % tiles_n) * TILE;
    let split = id / (tiles_m * tiles_n);
    let start = split * params.span;
    let end = min(start + params.span, depth);
    if start >= depth {
        return;
    }
    // Four (channel, tap) columns: where their pixel lies relative to the window's corner.
    let column = vec4u(n0 + (lane % 16u) * 4u) + vec4u(0u, 1u, 2u, 3u);
    let c = column / kernel_size();
    let tap = column - c * kernel_size();
    let r = vec4i(tap / kernel_w()) - padding();
    let s = vec4i(tap % kernel_w()) - padding();
    let valid = column < vec4u(columns);
    var sums: array<vec4f, 16>;
    for (var k0 = start; k0 < end; k0 += DEPTH) {
        for (var i = 0u; i < 4u; i++) {
            let quad = lane / 16u + i * 4u;
            let pa = k0 + lane % 16u;
            let image = pa / plane;
            let m = m0 + quad * 4u;
            let g = (image * params.cout + m) * plane + pa - image * plane;
            let ok = vec4<bool>(m < params.cout, m + 1u < params.cout, m + 2u < params.cout, m + 3u < params.cout) & vec4<bool>(pa < end);
            tile_a[(lane % 16u) * LINE + quad] = vec4f(
                load_left(g, ok.x),
                load_left(g + plane, ok.y),
                load_left(g + 2u * plane, ok.z),
                load_left(g + 3u * plane, ok.w),
            );
            let row = lane / 16u + i * 4u;
            let pb = k0 + row;
            let source = pb / plane;
            let rest = pb - source * plane;
            let iy = i32(rest / params.ow) * stride() + r;
            let ix = i32(rest % params.ow) * stride() + s;
            let inside = valid & (iy >= vec4i(0)) & (iy < vec4i(i32(params.h))) & (ix >= vec4i(0)) & (ix < vec4i(i32(params.w))) & vec4<bool>(pb < end);
            tile_b[row * LINE + lane % 16u] = load_right((vec4i(vec4u(source * params.cin) + c) * i32(params.h) + iy) * i32(params.w) + ix, inside);
        }
        workgroupBarrier();
        multiply_tiles(lane, &sums);
        workgroupBarrier();
    }
    for (var i = 0u; i < 16u; i++) {
        let m = m0 + tile_row(lane, i / 2u);
        let n = n0 + tile_column(lane, i);
        for (var j = 0u; j < 4u; j++) {
            if m < params.cout && n + j < columns {
                out[(split * params.cout + m) * columns + n + j] = sums[i][j];
            }
        }
    }
}
