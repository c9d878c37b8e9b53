// Planes to rows, averaged to `cells` x `cells` windows as adaptive_avg_pool2d does (the identity where a plane has that
// side): element c * cells^2 + row * cells + column of an image's row.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

struct Params {
    size: u32, // side of a plane
    cells: u32,
    length: u32, // elements of a row
    pixels: u32, // cells of the whole batch
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, length]

// One workgroup fills LANES cells of four channels.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let cells = params.cells;
    let area = cells * cells;
    let pixel = column_of(group, groups) * LANES + lane;
    if pixel >= params.pixels {
        return;
    }
    let place = pixel_at(pixel, cells);
    let row = place.y;
    let column = place.z;
    let y0 = row * params.size / cells;
    let x0 = column * params.size / cells;
    let y1 = ((row + 1u) * params.size + cells - 1u) / cells;
    let x1 = ((column + 1u) * params.size + cells - 1u) / cells;
    let origin = vec2u(place.x, group.y) * (params.size + 2u) + 1u;
    var sum = vec4f(0.0);
    for (var iy = y0; iy < y1; iy++) {
        for (var ix = x0; ix < x1; ix++) {
            sum += textureLoad(x, origin + vec2u(ix, iy));
        }
    }
    sum /= f32((y1 - y0) * (x1 - x0));
    let first = group.y * 4u * area + row * cells + column;
    let base = place.x * params.length;
    for (var c = 0u; c < 4u; c++) {
        if first + c * area < params.length {
            y[base + first + c * area] = sum[c];
        }
    }
}
