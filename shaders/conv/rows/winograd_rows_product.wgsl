// Winograd's products in rows, one matrix product for each position: m = u^T v.
#import snippets/tile_frozen.wgsl

struct Params {
    positions: u32,
    depth: u32, // input channels, a multiple of DEPTH: those past the last are zeros
    out_quads: u32,
    tile_quads: u32, // four tiles each
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<Stored>; // [positions, depth, out_quads]
@group(0) @binding(2) var<storage, read> v: array<vec4f>; // [positions, depth, tile_quads]
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>; // [positions, out_quads * 4, tile_quads]

// The next tiles' numbers come from memory while the present ones are multiplied.
fn fetch(at: vec2u, left: ptr<function, LeftLoads>, right: ptr<function, RightLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        (*left)[i] = u[at.x + i * (LEFT_LINES * params.out_quads)];
    }
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        (*right)[i] = v[at.y + i * (RIGHT_LINES * params.tile_quads)];
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
    // Quads past the last repeat it; what they give is not stored.
    let first = position * params.depth;
    var at = vec2u(
        (first + left_line(lane)) * params.out_quads + min(m0 + lane % LEFT, params.out_quads - 1u),
        (first + right_line(lane)) * params.tile_quads + min(t0 + lane % RIGHT, params.tile_quads - 1u),
    );
    let step = DEPTH * vec2u(params.out_quads, params.tile_quads);
    var accumulators: Accumulators;
    var left: LeftLoads;
    var right: RightLoads;
    fetch(at, &left, &right);
    for (var k0 = DEPTH; k0 < params.depth; k0 += DEPTH) {
        put_tiles(lane, &left, &right);
        workgroupBarrier();
        at += step;
        fetch(at, &left, &right);
        multiply_tiles(lane, &accumulators);
        workgroupBarrier();
    }
    put_tiles(lane, &left, &right);
    workgroupBarrier();
    multiply_tiles(lane, &accumulators);
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
