// Winograd's input transform: tiles of A x A pixels, M apart, to A * A positions.
#import snippets/packed.wgsl
#import transforms
#import conv/planes/winograd_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

const HALF: u32 = A / 2;

@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // texel (image * (size + 2) + column + 1, quad * (size + 2) + row + 1)
@group(0) @binding(2) var<storage, read_write> v: array<vec4<u64>>; // texel ((quad * width + tile % width) * 2 + position % 2, position / 2 * blocks + tile / width), two an element

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
    var to = (quad + params.quad) * params.width + local % params.width + local / params.width * params.pitch;
    // unroll
    for (var i = 0u; i < A; i++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[i * A + j];
        }
        let t = transform_input(line);
        // unroll
        for (var j = 0u; j < HALF; j++) {
            v[to] = vec4<u64>(packed(t[j * 2u]), packed(t[j * 2u + 1u]));
            to += params.blocks * params.pitch;
        }
    }
}
