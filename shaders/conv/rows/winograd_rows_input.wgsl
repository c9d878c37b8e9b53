// Winograd's input transform in rows: tiles of A x A pixels, M apart, to A * A positions.
#import transforms
#import conv/rows/winograd_rows.wgsl

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, channels, h, w]
@group(0) @binding(2) var<storage, read_write> v: array<f32>; // [A * A, padded, count]

// One thread transforms one channel of one tile.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i >= params.padded * params.count {
        return;
    }
    let channel = i / params.count;
    let local = i - channel * params.count;
    // Tiles past the last repeat it; what they give is not used.
    let tile = min(params.first + local, params.tiles - 1u);
    let place = tile_at(tile);
    let corner = vec2i(place.zy * M) - 1;
    // Channels past the last are zeros: nothing is inside of their planes.
    let size = select(vec2i(0), vec2i(vec2u(params.w, params.h)), channel < params.channels);
    let plane = i32((place.x * params.channels + channel) * params.h * params.w);
    var half: array<Value, AA>;
    // unroll
    for (var j = 0u; j < A; j++) {
        var line: array<Value, A>;
        // unroll
        for (var i = 0u; i < A; i++) {
            let at = corner + vec2i(vec2u(j, i));
            let inside = all(at >= vec2i(0)) && all(at < size);
            line[i] = select(0.0, x[select(0, plane + at.y * size.x + at.x, inside)], inside);
        }
        let t = transform_input(line);
        // unroll
        for (var i = 0u; i < A; i++) {
            half[i * A + j] = t[i];
        }
    }
    let pitch = params.padded * params.count;
    // unroll
    for (var row = 0u; row < A; row++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[row * A + j];
        }
        let t = transform_input(line);
        // unroll
        for (var j = 0u; j < A; j++) {
            v[(row * A + j) * pitch + i] = t[j];
        }
    }
}
