// Rows to planes: the gradient of to_rows.wgsl, which for `cells` equal to a plane's side puts every element in its
// place.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

struct Params {
    size: u32, // side of a plane
    cells: u32,
    length: u32, // elements of a row
    pitch: u32, // texels from one row of y to the next
    pixels: u32, // of the whole batch
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, length]
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)

// The cells whose windows hold pixel `i` of a side: from .x to .y - 1.
fn windows(i: u32) -> vec2u {
    return vec2u(i * params.cells / params.size, ((i + 1u) * params.cells + params.size - 1u) / params.size);
}
// The pixels of cell `i`'s window along a side.
fn window_length(i: u32) -> u32 {
    return ((i + 1u) * params.size + params.cells - 1u) / params.cells - i * params.size / params.cells;
}

// One workgroup computes four channels of LANES pixels.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let pixel = column_of(group, groups) * LANES + lane;
    if pixel >= params.pixels {
        return;
    }
    let area = params.cells * params.cells;
    let at = pixel_at(pixel, params.size);
    let rows = windows(at.y);
    let columns = windows(at.z);
    let base = at.x * params.length;
    var sum = vec4f(0.0);
    for (var cy = rows.x; cy < rows.y; cy++) {
        for (var cx = columns.x; cx < columns.y; cx++) {
            let share = 1.0 / f32(window_length(cy) * window_length(cx));
            let first = group.y * 4u * area + cy * params.cells + cx;
            for (var c = 0u; c < 4u; c++) {
                let i = first + c * area;
                if i < params.length {
                    sum[c] += x[base + i] * share;
                }
            }
        }
    }
    let padded = params.size + 2u;
    y[at.x * padded + at.z + 1u + (group.y * padded + at.y + 1u) * params.pitch] = packed(sum);
}
