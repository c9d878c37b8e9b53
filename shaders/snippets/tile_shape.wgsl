// The shape of the matrix products' tiles: one workgroup multiplies a tile of ROWS rows by a tile of COLUMNS columns,
// DEPTH deep; a thread's sums are ROW_QUADS x COLUMN_QUADS blocks of 4 x 4. `src/gpu/tile.rs` gives these numbers.
#const THREAD_ROWS: u32
#const THREAD_COLUMNS: u32
#const ROW_QUADS: u32
#const COLUMN_QUADS: u32
#const DEPTH: u32

const THREADS: u32 = THREAD_ROWS * THREAD_COLUMNS;
const LEFT: u32 = THREAD_ROWS * ROW_QUADS; // quads of rows
const RIGHT: u32 = THREAD_COLUMNS * COLUMN_QUADS; // quads of columns
const ROWS: u32 = LEFT * 4;
const COLUMNS: u32 = RIGHT * 4;
const SUMS: u32 = ROW_QUADS * 4 * COLUMN_QUADS;

alias Sums = array<vec4f, SUMS>; // [rows of the thread][COLUMN_QUADS]

// The row in the tile of sums[i], and the quad of its columns.
fn sum_row(lane: u32, i: u32) -> u32 {
    let row = i / COLUMN_QUADS;
    return (lane / THREAD_COLUMNS + (row / 4u) * THREAD_ROWS) * 4u + row % 4u;
}
fn sum_quad(lane: u32, i: u32) -> u32 {
    return lane % THREAD_COLUMNS + (i % COLUMN_QUADS) * THREAD_COLUMNS;
}
