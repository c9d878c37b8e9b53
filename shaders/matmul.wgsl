// C = A B for any strides, so that one kernel serves A B, A B^T and A^T B. Follows tile.wgsl.
struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_row: u32, // elements between rows of A
    a_column: u32,
    b_row: u32,
    b_column: u32,
    span: u32, // depth that one split sums
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [m, k]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [k, n]
@group(0) @binding(3) var<storage, read_write> c: array<f32>; // [splits, m, n]

fn load_a(m: u32, k: u32) -> f32 {
    let inside = m < params.m && k < params.k;
    return select(0.0, a[select(0u, m * params.a_row + k * params.a_column, inside)], inside);
}
fn load_b(k: u32, n: u32) -> f32 {
    let inside = n < params.n && k < params.k;
    return select(0.0, b[select(0u, k * params.b_row + n * params.b_column, inside)], inside);
}

// One workgroup computes one split of 64 x 64 elements of C. `span` is a multiple of DEPTH.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * TILE;
    let n0 = ((id / tiles_m) % tiles_n) * TILE;
    let split = id / (tiles_m * tiles_n);
    let start = split * params.span;
    if start >= params.k {
        return;
    }
    var sums: array<vec4f, 16>;
    for (var k0 = start; k0 < min(start + params.span, params.k); k0 += DEPTH) {
        for (var i = 0u; i < 4u; i++) {
            // Neighbouring lanes read neighbouring elements: along k where that is contiguous.
            var k = lane % 16u;
            var quad = lane / 16u + i * 4u;
            if params.a_row == 1u {
                k = lane / 16u + i * 4u;
                quad = lane % 16u;
            }
            let m = m0 + quad * 4u;
            tile_a[k * LINE + quad] = vec4f(load_a(m, k0 + k), load_a(m + 1u, k0 + k), load_a(m + 2u, k0 + k), load_a(m + 3u, k0 + k));
            k = lane % 16u;
            quad = lane / 16u + i * 4u;
            if params.b_column == 1u {
                k = lane / 16u + i * 4u;
                quad = lane % 16u;
            }
            let n = n0 + quad * 4u;
            tile_b[k * LINE + quad] = vec4f(load_b(k0 + k, n), load_b(k0 + k, n + 1u), load_b(k0 + k, n + 2u), load_b(k0 + k, n + 3u));
        }
        workgroupBarrier();
        multiply_tiles(lane, &sums);
        workgroupBarrier();
    }
    for (var i = 0u; i < 16u; i++) {
        let m = m0 + tile_row(lane, i / 2u);
        let n = n0 + tile_column(lane, i);
        for (var j = 0u; j < 4u; j++) {
            if m < params.m && n + j < params.n {
                c[(split * params.m + m) * params.n + n + j] = sums[i][j];
            }
        }
    }
}
