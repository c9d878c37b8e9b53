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

// Where a thread reads: the first element of each of its quads, and from there on.
struct Source {
    at: u32,
    step: u32, // from one of its quads to the next
    apart: u32, // from one element of a quad to the next
    last: u32, // of the matrix
}

// A quad whose depth is `inside`. Rows and columns past the last are read as whatever is there, and what they give is not
// stored; depth past the last is zero.
fn checked_a(source: Source, i: u32, inside: bool) -> vec4f {
    let at = source.at + i * source.step;
    let j = min(at + source.apart * vec4u(0u, 1u, 2u, 3u), vec4u(source.last));
    return select(vec4f(0.0), vec4f(a[j.x], a[j.y], a[j.z], a[j.w]), inside);
}
fn checked_b(source: Source, i: u32, inside: bool) -> vec4f {
    let at = source.at + i * source.step;
    let j = min(at + source.apart * vec4u(0u, 1u, 2u, 3u), vec4u(source.last));
    return select(vec4f(0.0), vec4f(b[j.x], b[j.y], b[j.z], b[j.w]), inside);
}
fn whole_a(source: Source, i: u32) -> vec4f {
    let at = source.at + i * source.step;
    return vec4f(a[at], a[at + source.apart], a[at + 2u * source.apart], a[at + 3u * source.apart]);
}
fn whole_b(source: Source, i: u32) -> vec4f {
    let at = source.at + i * source.step;
    return vec4f(b[at], b[at + source.apart], b[at + 2u * source.apart], b[at + 3u * source.apart]);
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
    var from_a = Source(
        (m0 + left.first.y * 4u) * params.a_row + (start + left.first.x) * params.a_column,
        left.step.x * params.a_column + left.step.y * 4u * params.a_row,
        params.a_row,
        (params.m - 1u) * params.a_row + (params.k - 1u) * params.a_column,
    );
    var from_b = Source(
        (start + right.first.x) * params.b_row + (n0 + right.first.y) * params.b_column,
        right.step.x * params.b_row + right.step.y * params.b_column,
        RIGHT * params.b_column,
        (params.k - 1u) * params.b_row + (params.n - 1u) * params.b_column,
    );
    let end = min(start + params.span, params.k);
    var accumulators: Accumulators;
    // Steps that are within both matrices need no look at each element.
    let within = m0 + ROWS <= params.m && n0 + COLUMNS <= params.n;
    let whole = start + select(0u, (end - start) / DEPTH * DEPTH, within);
    for (var k0 = start; k0 < whole; k0 += DEPTH) {
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let at = left.first + i * left.step;
            put_left(at.x, at.y, whole_a(from_a, i));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            let at = right.first + i * right.step;
            put_right(at.x, at.y, whole_b(from_b, i));
        }
        from_a.at += DEPTH * params.a_column;
        from_b.at += DEPTH * params.b_row;
        workgroupBarrier();
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    for (var k0 = whole; k0 < end; k0 += DEPTH) {
        // unroll
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let at = left.first + i * left.step;
            put_left(at.x, at.y, checked_a(from_a, i, k0 + at.x < params.k));
        }
        // unroll
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            let at = right.first + i * right.step;
            put_right(at.x, at.y, checked_b(from_b, i, k0 + at.x < params.k));
        }
        from_a.at += DEPTH * params.a_column;
        from_b.at += DEPTH * params.b_row;
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
