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

// Which quad of a tile a thread fetches first, its depth before, and how far on the next ones are: neighbouring lanes read
// neighbouring elements, along the depth where that is contiguous.
struct Turn {
    first: vec2u,
    step: vec2u,
}
fn turn(lane: u32, quads: u32, across: bool) -> Turn {
    if across {
        return Turn(vec2u(lane / quads, lane % quads), vec2u(THREADS / quads, 0u));
    }
    return Turn(vec2u(lane % DEPTH, lane / DEPTH), vec2u(0u, THREADS / DEPTH));
}

// Rows and columns past the last are read as whatever is there: what they give is not stored. Depth past the last is zero.
fn load_a(at: u32, inside: bool) -> f32 {
    let last = (params.m - 1u) * params.a_row + (params.k - 1u) * params.a_column;
    return select(0.0, a[min(at, last)], inside);
}
fn load_b(at: u32, inside: bool) -> f32 {
    let last = (params.k - 1u) * params.b_row + (params.n - 1u) * params.b_column;
    return select(0.0, b[min(at, last)], inside);
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
    let left = turn(lane, LEFT, params.a_row == 1u);
    let right = turn(lane, RIGHT, params.b_column == 1u);
    // The four columns of a quad are RIGHT apart, so that neighbouring lanes meet neighbouring columns.
    var a_at = (m0 + left.first.y * 4u) * params.a_row + (start + left.first.x) * params.a_column;
    var b_at = (start + right.first.x) * params.b_row + (n0 + right.first.y) * params.b_column;
    let a_step = left.step.x * params.a_column + left.step.y * 4u * params.a_row;
    let b_step = right.step.x * params.b_row + right.step.y * params.b_column;
    let apart = RIGHT * params.b_column;
    var accumulators: Accumulators;
    for (var k0 = start; k0 < min(start + params.span, params.k); k0 += DEPTH) {
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let at = left.first + i * left.step;
            let source = a_at + i * a_step;
            let inside = k0 + at.x < params.k;
            put_left(at.x, at.y, vec4f(
                load_a(source, inside),
                load_a(source + params.a_row, inside),
                load_a(source + 2u * params.a_row, inside),
                load_a(source + 3u * params.a_row, inside),
            ));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            let at = right.first + i * right.step;
            let source = b_at + i * b_step;
            let inside = k0 + at.x < params.k;
            put_right(at.x, at.y, vec4f(
                load_b(source, inside),
                load_b(source + apart, inside),
                load_b(source + 2u * apart, inside),
                load_b(source + 3u * apart, inside),
            ));
        }
        a_at += DEPTH * params.a_column;
        b_at += DEPTH * params.b_row;
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
