// The matrix products' tiles: their shape (tile_shape.wgsl), their core (the import `tile_core`: tile_registers.wgsl or
// tile_matrix.wgsl), and what a thread fetches for them. For the kernels that fill the tiles.
#import snippets/tile_shape.wgsl
#import tile_core

// A thread fetches one column of quads of each tile, from line `lane / LEFT` (`lane / RIGHT`) on every so many lines. The
// tiles divide evenly: see the tests of `src/gpu/tile.rs`.
const LEFT_LINES: u32 = THREADS / LEFT;
const RIGHT_LINES: u32 = THREADS / RIGHT;
const LEFT_LOADS: u32 = DEPTH / LEFT_LINES;
const RIGHT_LOADS: u32 = DEPTH / RIGHT_LINES;

alias LeftLoads = array<vec4f, LEFT_LOADS>;
alias RightLoads = array<vec4f, RIGHT_LOADS>;

// What was fetched becomes the tiles.
fn put_tiles(lane: u32, left: ptr<function, LeftLoads>, right: ptr<function, RightLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        put_left(lane / LEFT + i * LEFT_LINES, lane % LEFT, (*left)[i]);
    }
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        put_right(lane / RIGHT + i * RIGHT_LINES, lane % RIGHT, (*right)[i]);
    }
}
