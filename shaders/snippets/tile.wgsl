// The shape of the matrix products' tiles: one workgroup multiplies a tile of ROWS rows by a tile of COLUMNS columns,
// DEPTH deep; a thread's sums are ROW_QUADS x COLUMN_QUADS blocks of 4 x 4. Follows a header with these two and
// THREAD_ROWS, THREAD_COLUMNS, DEPTH; put in front of tile_registers.wgsl or tile_matrix.wgsl, and these in front of the
// kernels that fill the tiles.
const THREADS: u32 = THREAD_ROWS * THREAD_COLUMNS;
const LEFT: u32 = THREAD_ROWS * ROW_QUADS; // quads of rows
const RIGHT: u32 = THREAD_COLUMNS * COLUMN_QUADS; // quads of columns
const ROWS: u32 = LEFT * 4;
const COLUMNS: u32 = RIGHT * 4;
const SUMS: u32 = ROW_QUADS * 4 * COLUMN_QUADS;
// Quads of the tiles that a thread fetches, rounded up.
const LEFT_QUADS: u32 = DEPTH * LEFT;
const RIGHT_QUADS: u32 = DEPTH * RIGHT;
const LEFT_ROUND: u32 = LEFT_QUADS + THREADS - 1;
const RIGHT_ROUND: u32 = RIGHT_QUADS + THREADS - 1;
const LEFT_LOADS: u32 = LEFT_ROUND / THREADS;
const RIGHT_LOADS: u32 = RIGHT_ROUND / THREADS;

alias LeftLoads = array<vec4f, LEFT_LOADS>;
alias RightLoads = array<vec4f, RIGHT_LOADS>;

alias Sums = array<vec4f, SUMS>; // [rows of the thread][COLUMN_QUADS]

// The row in the tile of sums[i], and the quad of its columns.
fn sum_row(lane: u32, i: u32) -> u32 {
    let row = i / COLUMN_QUADS;
    return (lane / THREAD_COLUMNS + (row / 4u) * THREAD_ROWS) * 4u + row % 4u;
}
fn sum_quad(lane: u32, i: u32) -> u32 {
    return lane % THREAD_COLUMNS + (i % COLUMN_QUADS) * THREAD_COLUMNS;
}

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
