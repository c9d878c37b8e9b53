// The matrix products' tiles: their shape (tile_shape.wgsl), their core (the import `tile_core`: tile_registers.wgsl or
// tile_matrix.wgsl), and what a thread fetches for them. For the kernels that fill the tiles.
#import snippets/tile_shape.wgsl
#import tile_core

// A thread fetches one column of quads of each tile: line `left_line` (`right_line`) and on from there every so many lines.
// The tiles divide evenly, but that a shallow one may have fewer lines than there are threads for.
const LEFT_LINES: u32 = THREADS / LEFT;
const RIGHT_LINES: u32 = THREADS / RIGHT;
const LEFT_ROUND: u32 = DEPTH + LEFT_LINES - 1;
const RIGHT_ROUND: u32 = DEPTH + RIGHT_LINES - 1;
const LEFT_LOADS: u32 = LEFT_ROUND / LEFT_LINES;
const RIGHT_LOADS: u32 = RIGHT_ROUND / RIGHT_LINES;

// The first line that a thread fetches; one without a line fetches the last one's.
fn left_line(lane: u32) -> u32 {
    return min(lane / LEFT, DEPTH - 1u);
}
fn right_line(lane: u32) -> u32 {
    return min(lane / RIGHT, DEPTH - 1u);
}
