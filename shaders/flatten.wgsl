// The last feature planes, averaged to `cells` x `cells` windows as adaptive_avg_pool2d does, as rows of the classifier's
// input: element c * cells^2 + row * cells + column. Follows a header with LANES.
struct Params {
    size: u32, // side of a plane
    cells: u32,
    length: u32, // elements of a row
    pitch: u32, // texels from one row of y to the next
    row: u32, // of y, for the first image
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>; // texel (element / 4, image)

fn element(image: u32, k: u32) -> f32 {
    if k >= params.length {
        return 0.0;
    }
    let cells = params.cells;
    let channel = k / (cells * cells);
    let row = (k / cells) % cells;
    let column = k % cells;
    let y0 = row * params.size / cells;
    let x0 = column * params.size / cells;
    let y1 = ((row + 1u) * params.size + cells - 1u) / cells;
    let x1 = ((column + 1u) * params.size + cells - 1u) / cells;
    let origin = vec2u(image, channel / 4u) * (params.size + 2u) + 1u;
    var sum = vec4f(0.0);
    for (var iy = y0; iy < y1; iy++) {
        for (var ix = x0; ix < x1; ix++) {
            sum += textureLoad(x, origin + vec2u(ix, iy));
        }
    }
    return sum[channel % 4u] / f32((y1 - y0) * (x1 - x0));
}

// One workgroup fills LANES texels of one image's row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let texel = group.x * LANES + lane;
    let k = texel * 4u;
    if k < params.length {
        let four = vec4f(element(group.y, k), element(group.y, k + 1u), element(group.y, k + 2u), element(group.y, k + 3u));
        y[texel + (group.y + params.row) * params.pitch] = four;
    }
}
