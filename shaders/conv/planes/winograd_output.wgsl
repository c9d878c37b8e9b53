// Winograd's output transform with bias, ReLU and, where POOL, the 2x2 max-pool.
#import snippets/packed.wgsl
#import transforms
#import mask
#import conv/planes/winograd_params.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup
#const POOL: bool

@group(0) @binding(1) var m: texture_storage_2d<rgba32float, read>; // texel (tile * 2 + quad % 2, (position * out_quads + quad) / 2)
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>; // texel (image * (size_out + 2) + column + 1, quad * (size_out + 2) + row + 1)
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;

const HALF: u32 = M / 2;

// The largest of a 2x2 window after ReLU, by bits: those of numbers from 0 on are in their order, and NaN is above them,
// as PyTorch takes it. `max` of floats need not be.
fn largest(a: vec4f, b: vec4f, c: vec4f, d: vec4f) -> vec4u {
    return max(max(bitcast<vec4u>(a), bitcast<vec4u>(b)), max(bitcast<vec4u>(c), bitcast<vec4u>(d)));
}

// Whether the value at (row, column) of a window is its largest, the first of equal ones, as PyTorch takes it.
fn first_largest(row: u32, column: u32, a: vec4f, b: vec4f, c: vec4f, d: vec4f) -> vec4<bool> {
    let top = largest(a, b, c, d);
    let is_a = bitcast<vec4u>(a) == top;
    let is_b = bitcast<vec4u>(b) == top;
    let is_c = bitcast<vec4u>(c) == top;
    if row == 0u && column == 0u {
        return is_a;
    }
    if row == 0u {
        return is_b & !is_a;
    }
    if column == 0u {
        return is_c & !(is_a | is_b);
    }
    return !(is_a | is_b | is_c);
}

// One workgroup finishes one quad of channels of LANES tiles.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let local = group.x * LANES + lane;
    let quad = group.y;
    let tile = local + params.first;
    let image = tile / params.tiles_image;
    let rest = tile - image * params.tiles_image;
    let ty = rest / params.tiles_w;
    let tx = rest - ty * params.tiles_w;
    var half: array<Value, MA>; // [M][A]
    // unroll
    for (var j = 0u; j < A; j++) {
        var line: array<Value, A>;
        // unroll
        for (var i = 0u; i < A; i++) {
            line[i] = textureLoad(m, vec2u(local * 2u + quad % 2u, (quad + (i * A + j) * params.out_quads) / 2u));
        }
        let t = transform_output(line);
        // unroll
        for (var i = 0u; i < M; i++) {
            half[i * A + j] = t[i];
        }
    }
    let b = bias[quad];
    let low = vec4i(params.floor);
    var result: array<Value, MM>;
    // unroll
    for (var i = 0u; i < M; i++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[i * A + j];
        }
        let t = transform_output(line);
        // unroll
        for (var j = 0u; j < M; j++) {
            let value = t[j] + b;
            result[i * M + j] = select(value, vec4f(0.0), bitcast<vec4i>(value) < low);
        }
    }
    let corner = vec2u(image, quad) * (params.size_out + 2u) + 1u;
    let origin = corner.x + corner.y * params.pitch;
    if tile >= params.tiles {
        return;
    }
    if MASK {
        let mask_row = (image * params.channel_quads + quad) * params.size + ty * M;
        // unroll
        for (var i = 0u; i < M; i++) {
            var bits = 0u;
            // unroll
            for (var j = 0u; j < M; j++) {
                var through = bitcast<vec4u>(result[i * M + j]) != vec4u(0u);
                if POOL {
                    through = through & first_largest(i % 2u, j % 2u, result[(i & ~1u) * M + (j & ~1u)], result[(i & ~1u) * M + (j | 1u)], result[(i | 1u) * M + (j & ~1u)], result[(i | 1u) * M + (j | 1u)]);
                    through = through & vec4<bool>(all(vec2u(tx * M + j, ty * M + i) / 2u < vec2u(params.size_out)));
                }
                let four = select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), through);
                bits |= (four.x | four.y | four.z | four.w) << (j * 4u);
            }
            if ty * M + i < params.size {
                keep((mask_row + i) * params.tiles_w + tx, bits);
            }
        }
    }
    if POOL {
        // unroll
        for (var i = 0u; i < HALF; i++) {
            let row = origin + tx * HALF + (ty * HALF + i) * params.pitch;
            // unroll
            for (var j = 0u; j < HALF; j++) {
                let at = vec2u(tx * HALF + j, ty * HALF + i);
                let top = (i * 2u) * M + j * 2u;
                let four = largest(result[top], result[top + 1u], result[top + M], result[top + M + 1u]);
                if all(at < vec2u(params.size_out)) {
                    y[row + j] = packed(bitcast<vec4f>(four));
                }
            }
        }
    } else {
        // unroll
        for (var i = 0u; i < M; i++) {
            let row = origin + tx * M + (ty * M + i) * params.pitch;
            // unroll
            for (var j = 0u; j < M; j++) {
                let at = vec2u(tx * M + j, ty * M + i);
                if all(at < vec2u(params.size_out)) {
                    y[row + j] = packed(result[i * M + j]);
                }
            }
        }
    }
}
