// tile_registers.wgsl on cooperative matrices: operands rounded to f16 in workgroup memory, sums in f32. Four subgroups
// share the tile, each with 2 x 2 blocks of SIDE x SIDE: ROWS = COLUMNS = 4 SIDE. Follows a header that enables f16 and
// wgpu_cooperative_matrix and has SIDE, LANES of a subgroup, the aliases LeftMatrix, RightMatrix and SumMatrix, and
// tile.wgsl.
// Eight numbers of padding, so that neighbouring lines meet different banks and keep 16 bytes' alignment.
const LINE: u32 = ROWS + 8;
const TILE: u32 = DEPTH * LINE;
const SUM_LINE: u32 = COLUMNS + 4;
const SUM_TILE: u32 = ROWS * SUM_LINE;

var<workgroup> tile_a: array<f16, TILE>; // [DEPTH][LINE]
var<workgroup> tile_b: array<f16, TILE>; // [DEPTH][LINE]
var<workgroup> tile_c: array<f32, SUM_TILE>; // [ROWS][SUM_LINE]
// This subgroup's sums: block row, block column.
var<private> sum00: SumMatrix;
var<private> sum01: SumMatrix;
var<private> sum10: SumMatrix;
var<private> sum11: SumMatrix;

// Four rows (columns) of the left (right) tile at one depth.
fn put_left(k: u32, quad: u32, value: vec4f) {
    let at = k * LINE + quad * 4u;
    tile_a[at] = f16(value.x);
    tile_a[at + 1u] = f16(value.y);
    tile_a[at + 2u] = f16(value.z);
    tile_a[at + 3u] = f16(value.w);
}
fn put_right(k: u32, quad: u32, value: vec4f) {
    let at = k * LINE + quad * 4u;
    tile_b[at] = f16(value.x);
    tile_b[at + 1u] = f16(value.y);
    tile_b[at + 2u] = f16(value.z);
    tile_b[at + 3u] = f16(value.w);
}

// The corner of the subgroup's blocks. Subgroups are taken to be runs of LANES threads, which the check of this file
// against tile.wgsl at the start of a run would show where it is not so.
fn block(lane: u32) -> vec2u {
    let subgroup = lane / LANES;
    return vec2u(subgroup / 2u, subgroup % 2u) * (2u * SIDE);
}

// Between two barriers: adds the product of the tiles.
fn multiply_tiles(lane: u32, sums: ptr<function, Sums>) {
    let corner = block(lane);
    for (var k = 0u; k < DEPTH; k += SIDE) {
        let a = k * LINE + corner.x;
        let b = k * LINE + corner.y;
        let a0 = coopLoad<LeftMatrix>(&tile_a[a], LINE);
        let a1 = coopLoad<LeftMatrix>(&tile_a[a + SIDE], LINE);
        let b0 = coopLoadT<RightMatrix>(&tile_b[b], LINE);
        let b1 = coopLoadT<RightMatrix>(&tile_b[b + SIDE], LINE);
        sum00 = coopMultiplyAdd(a0, b0, sum00);
        sum01 = coopMultiplyAdd(a0, b1, sum01);
        sum10 = coopMultiplyAdd(a1, b0, sum10);
        sum11 = coopMultiplyAdd(a1, b1, sum11);
    }
}

// After the last product: `sums` is complete.
fn finish_tiles(lane: u32, sums: ptr<function, Sums>) {
    let corner = block(lane);
    let at = corner.x * SUM_LINE + corner.y;
    coopStoreT(sum00, &tile_c[at], SUM_LINE);
    coopStoreT(sum01, &tile_c[at + SIDE], SUM_LINE);
    coopStoreT(sum10, &tile_c[at + SIDE * SUM_LINE], SUM_LINE);
    coopStoreT(sum11, &tile_c[at + SIDE * SUM_LINE + SIDE], SUM_LINE);
    workgroupBarrier();
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        let source = sum_row(lane, i) * SUM_LINE + sum_quad(lane, i) * 4u;
        (*sums)[i] = vec4f(tile_c[source], tile_c[source + 1u], tile_c[source + 2u], tile_c[source + 3u]);
    }
}
