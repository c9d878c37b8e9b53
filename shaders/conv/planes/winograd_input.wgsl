// Winograd's input transform: tiles of A x A pixels, M apart, to A * A positions. Follows a header with LANES,
// and winograd4.wgsl or winograd6.wgsl.
struct Params {
    first: u32, // first tile of this chunk
    tiles: u32, // of the whole batch
    tiles_w: u32, // of a row
    tiles_image: u32,
    in_quads: u32, // four channels each
    out_quads: u32,
    blocks: u32, // of `width` tiles in this chunk
    size: u32, // side of the plane
    size_out: u32, // side of the result, after the pool where there is one
    zero: u32, // 0, not known to the compiler
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
    channel_quads: u32, // of the result
    width: u32, // tiles of a block
    pitch: u32, // texels from one row of the result to the next
    quad: u32, // of the result, for the first quad of x
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var<storage, read_write> v: array<vec2<u64>>; // texel (quad * width + tile % width, position * blocks + tile / width)

// One workgroup transforms one quad of channels of LANES tiles.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let local = group.x * LANES + lane;
    let quad = group.y;
    let padded = params.size + 2u;
    // Lanes past the last tile repeat it; what they store is not used.
    let tile = min(local + params.first, params.tiles - 1u);
    let image = tile / params.tiles_image;
    let rest = tile - image * params.tiles_image;
    let ty = rest / params.tiles_w;
    let tx = rest - ty * params.tiles_w;
    let corner = vec2u(tx * M, ty * M);
    let origin = vec2u(image, quad) * padded;
    var half: array<Value, AA>;
    // unroll
    for (var j = 0u; j < A; j++) {
        var line: array<Value, A>;
        // unroll
        for (var i = 0u; i < A; i++) {
            let at = corner + vec2u(j, i);
            // A ragged last tile reaches past the border, into the next image or quad.
            let inside = all(at < vec2u(padded));
            line[i] = select(vec4f(0.0), textureLoad(x, origin + min(at, vec2u(padded - 1u))), inside);
        }
        let t = transform_input(line);
        // unroll
        for (var i = 0u; i < A; i++) {
            half[i * A + j] = t[i];
        }
    }
    let to = (quad + params.quad) * params.width + local % params.width + local / params.width * params.pitch;
    // unroll
    for (var i = 0u; i < A; i++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[i * A + j];
        }
        let t = transform_input(line);
        // unroll
        for (var j = 0u; j < A; j++) {
            v[to + (i * A + j) * params.blocks * params.pitch] = packed(t[j]);
        }
    }
}
