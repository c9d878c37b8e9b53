// The core of the matrix products: one workgroup of 64 threads multiplies a 64-row tile by a
// 64-column tile, 16 deep; each thread keeps 8 rows x 8 columns in registers. Put in front of
// conv2d.wgsl and matmul.wgsl, which fill the tiles.
const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
// A line of 16 quads and one quad of padding, so that neighbouring lines meet different banks.
const LINE: u32 = 17u;

var<workgroup> tile_a: array<vec4f, 272>; // [DEPTH][LINE]: four rows of the left tile a quad
var<workgroup> tile_b: array<vec4f, 272>; // [DEPTH][LINE]: four columns of the right tile a quad

// Thread (ty, tx) owns row quads ty, ty + 8 and column quads tx, tx + 8; sums[row * 2 + column half].
fn multiply_tiles(lane: u32, sums: ptr<function, array<vec4f, 16>>) {
    let tx = lane % 8u;
    let ty = lane / 8u;
    for (var k = 0u; k < DEPTH; k++) {
        let a0 = tile_a[k * LINE + ty];
        let a1 = tile_a[k * LINE + ty + 8u];
        let b0 = tile_b[k * LINE + tx];
        let b1 = tile_b[k * LINE + tx + 8u];
        for (var row = 0u; row < 4u; row++) {
            (*sums)[row * 2u] += a0[row] * b0;
            (*sums)[row * 2u + 1u] += a0[row] * b1;
            (*sums)[row * 2u + 8u] += a1[row] * b0;
            (*sums)[row * 2u + 9u] += a1[row] * b1;
        }
    }
}

// The row in the tile of sums[2 * row] and sums[2 * row + 1], and the first column of sums[i].
fn tile_row(lane: u32, row: u32) -> u32 {
    return (lane / 8u + (row / 4u) * 8u) * 4u + row % 4u;
}
fn tile_column(lane: u32, i: u32) -> u32 {
    return (lane % 8u + (i % 2u) * 8u) * 4u;
}
