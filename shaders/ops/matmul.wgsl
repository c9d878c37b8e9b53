// C = A B for any strides, so that one kernel serves A B, A B^T and A^T B.
#import snippets/tile.wgsl

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

// The four columns of a quad are RIGHT apart, so that neighbouring lanes meet neighbouring columns.
fn load_right(k: u32, n: u32) -> vec4f {
    return vec4f(load_b(k, n), load_b(k, n + RIGHT), load_b(k, n + 2u * RIGHT), load_b(k, n + 3u * RIGHT));
}

// One workgroup computes one split of ROWS x COLUMNS elements of C. `span` is a multiple of DEPTH.
@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (params.m + ROWS - 1u) / ROWS;
    let tiles_n = (params.n + COLUMNS - 1u) / COLUMNS;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * ROWS;
    let n0 = ((id / tiles_m) % tiles_n) * COLUMNS;
    let split = id / (tiles_m * tiles_n);
    let start = split * params.span;
    if start >= params.k {
        return;
    }
    var accumulators: Accumulators;
    for (var k0 = start; k0 < min(start + params.span, params.k); k0 += DEPTH) {
        // Neighbouring lanes read neighbouring elements: along k where that is contiguous.
        for (var i = lane; i < DEPTH * LEFT; i += THREADS) {
            let at = select(vec2u(i % DEPTH, i / DEPTH), vec2u(i / LEFT, i % LEFT), params.a_row == 1u);
            let k = k0 + at.x;
            let m = m0 + at.y * 4u;
            put_left(at.x, at.y, vec4f(load_a(m, k), load_a(m + 1u, k), load_a(m + 2u, k), load_a(m + 3u, k)));
        }
        for (var i = lane; i < DEPTH * RIGHT; i += THREADS) {
            let at = select(vec2u(i % DEPTH, i / DEPTH), vec2u(i / RIGHT, i % RIGHT), params.b_column == 1u);
            put_right(at.x, at.y, load_right(k0 + at.x, n0 + at.y));
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
            if m < params.m && n < params.n {
                c[(split * params.m + m) * params.n + n] = sums[i][j];
            }
        }
    }
}
