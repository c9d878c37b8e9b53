// Winograd's products in rows, one matrix product for each position: m = u^T v.
#import snippets/tile.wgsl
#import stored

struct Params {
    positions: u32,
    cin: u32,
    out_quads: u32,
    tile_quads: u32, // four tiles each
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<Stored>; // [positions, cin, out_quads]
@group(0) @binding(2) var<storage, read> v: array<vec4f>; // [positions, cin, tile_quads]
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>; // [positions, out_quads * 4, tile_quads]

// The next tiles' numbers come from memory while the present ones are multiplied.
fn fetch_left(lane: u32, first: u32, k0: u32, m0: u32, left: ptr<function, LeftLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        let at = lane + i * THREADS;
        let k = k0 + at / LEFT;
        let quad = m0 + at % LEFT;
        let inside = k < params.cin && quad < params.out_quads;
        (*left)[i] = select(vec4f(0.0), stored(u[select(0u, (first + k) * params.out_quads + quad, inside)]), inside);
    }
}
fn fetch_right(lane: u32, first: u32, k0: u32, t0: u32, right: ptr<function, RightLoads>) {
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let at = lane + i * THREADS;
        let k = k0 + at / RIGHT;
        let quad = t0 + at % RIGHT;
        let inside = k < params.cin && quad < params.tile_quads;
        (*right)[i] = select(vec4f(0.0), v[select(0u, (first + k) * params.tile_quads + quad, inside)], inside);
    }
}

// One workgroup computes ROWS output channels x COLUMNS tiles of one position.
@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tiles_m = (params.out_quads + LEFT - 1u) / LEFT;
    let tiles_t = (params.tile_quads + RIGHT - 1u) / RIGHT;
    let id = group.x + group.y * groups.x;
    let m0 = (id % tiles_m) * LEFT;
    let t0 = ((id / tiles_m) % tiles_t) * RIGHT;
    let position = id / (tiles_m * tiles_t);
    if position >= params.positions {
        return;
    }
    let first = position * params.cin;
    var accumulators: Accumulators;
    var left: LeftLoads;
    var right: RightLoads;
    fetch_left(lane, first, 0u, m0, &left);
    fetch_right(lane, first, 0u, t0, &right);
    for (var k0 = 0u; k0 < params.cin; k0 += DEPTH) {
        put_tiles(lane, &left, &right);
        workgroupBarrier();
        if k0 + DEPTH < params.cin {
            fetch_left(lane, first, k0 + DEPTH, m0, &left);
            fetch_right(lane, first, k0 + DEPTH, t0, &right);
        }
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    var sums: Sums;
    finish_tiles(lane, &accumulators, &sums);
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let out = m0 * 4u + sum_row(lane, i);
        let quad = t0 + sum_quad(lane, i);
        if out < params.out_quads * 4u && quad < params.tile_quads {
            m[(position * params.out_quads * 4u + out) * params.tile_quads + quad] = sums[i];
        }
    }
}
