// The matrix products' tiles: their shape (tile_shape.wgsl), their core (the import `tile_core`: tile_registers.wgsl or
// tile_matrix.wgsl), and what a thread fetches for them. For the kernels that fill the tiles.
#import snippets/tile_shape.wgsl
#import tile_core

// Quads of the tiles that a thread fetches, rounded up.
const LEFT_QUADS: u32 = DEPTH * LEFT;
const RIGHT_QUADS: u32 = DEPTH * RIGHT;
const LEFT_ROUND: u32 = LEFT_QUADS + THREADS - 1;
const RIGHT_ROUND: u32 = RIGHT_QUADS + THREADS - 1;
const LEFT_LOADS: u32 = LEFT_ROUND / THREADS;
const RIGHT_LOADS: u32 = RIGHT_ROUND / THREADS;

alias LeftLoads = array<vec4f, LEFT_LOADS>;
alias RightLoads = array<vec4f, RIGHT_LOADS>;

// What was fetched becomes the tiles.
fn put_tiles(lane: u32, left: ptr<function, LeftLoads>, right: ptr<function, RightLoads>) {
    // unroll
    for (var i = 0u; i < LEFT_LOADS; i++) {
        let at = lane + i * THREADS;
        if at < LEFT_QUADS {
            put_left(at / LEFT, at % LEFT, (*left)[i]);
        }
    }
    // unroll
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let at = lane + i * THREADS;
        if at < RIGHT_QUADS {
            put_right(at / RIGHT, at % RIGHT, (*right)[i]);
        }
    }
}
