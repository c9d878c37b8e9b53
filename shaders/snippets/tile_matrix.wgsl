// The import `tile_core` on cooperative matrices: operands rounded to f16 in workgroup memory, sums in f32. GRID_ROWS x
// GRID_COLUMNS subgroups share the tile, each with BLOCK_ROWS x BLOCK_COLUMNS matrices of SIDE x SIDE.
enable f16;
enable wgpu_cooperative_matrix;
#import snippets/tile_shape.wgsl
#import matrices
#const LANES: u32 // of a subgroup
#const GRID_ROWS: u32
#const GRID_COLUMNS: u32
#const BLOCK_ROWS: u32
#const BLOCK_COLUMNS: u32

// Two quads of padding, so that neighbouring lines meet different banks and keep 16 bytes' alignment.
const LEFT_LINE: u32 = LEFT + 2;
const RIGHT_LINE: u32 = RIGHT + 2;
const TILE_A: u32 = DEPTH * LEFT_LINE;
const TILE_B: u32 = DEPTH * RIGHT_LINE;
const SIDE_QUADS: u32 = SIDE / 4;
const BLOCK_LEFT: u32 = BLOCK_ROWS * SIDE_QUADS; // quads of rows of a subgroup
const BLOCK_RIGHT: u32 = BLOCK_COLUMNS * SIDE_QUADS;
const MATRICES: u32 = BLOCK_ROWS * BLOCK_COLUMNS;
const STEPS: u32 = DEPTH / SIDE;
// Sums leave by way of memory, so many rows at a time: one quad of rows of each thread.
const BAND: u32 = THREAD_ROWS * 4;
const BAND_LINE: u32 = RIGHT + 1;
const TILE_C: u32 = BAND * BAND_LINE;

var<workgroup> tile_a: array<vec4<f16>, TILE_A>; // [DEPTH][LEFT_LINE]
var<workgroup> tile_b: array<vec4<f16>, TILE_B>; // [DEPTH][RIGHT_LINE]
var<workgroup> tile_c: array<vec4f, TILE_C>; // [BAND][BAND_LINE]

// What a subgroup adds up while tiles are multiplied. In a function's memory: as private variables of the module they
// went to memory and back at each step, at a twentieth of the speed.
alias Accumulators = array<SumMatrix, MATRICES>; // [BLOCK_ROWS][BLOCK_COLUMNS]

// Four rows (columns) of the left (right) tile at one depth.
fn put_left(k: u32, quad: u32, value: vec4f) {
    tile_a[k * LEFT_LINE + quad] = vec4<f16>(value);
}
fn put_right(k: u32, quad: u32, value: vec4f) {
    tile_b[k * RIGHT_LINE + quad] = vec4<f16>(value);
}

// The subgroup's row and column in the grid. Subgroups are taken to be runs of LANES threads, which the check of this file
// against tile_registers.wgsl at the start of a run would show where it is not so.
fn place(lane: u32) -> vec2u {
    let subgroup = lane / LANES;
    return vec2u(subgroup / GRID_COLUMNS, subgroup % GRID_COLUMNS);
}

// Between two barriers: adds the product of the tiles.
fn multiply_tiles(lane: u32, sums: ptr<function, Accumulators>) {
    let at = place(lane);
    // unroll
    for (var step = 0u; step < STEPS; step++) {
        let a = step * SIDE * LEFT_LINE + at.x * BLOCK_LEFT;
        let b = step * SIDE * RIGHT_LINE + at.y * BLOCK_RIGHT;
        var left: array<LeftMatrix, BLOCK_ROWS>;
        // unroll
        for (var i = 0u; i < BLOCK_ROWS; i++) {
            left[i] = coopLoad<LeftMatrix>(&tile_a[a + i * SIDE_QUADS], LEFT_LINE);
        }
        // unroll
        for (var j = 0u; j < BLOCK_COLUMNS; j++) {
            let right = coopLoadT<RightMatrix>(&tile_b[b + j * SIDE_QUADS], RIGHT_LINE);
            // unroll
            for (var i = 0u; i < BLOCK_ROWS; i++) {
                (*sums)[i * BLOCK_COLUMNS + j] = coopMultiplyAdd(left[i], right, (*sums)[i * BLOCK_COLUMNS + j]);
            }
        }
    }
}

// After the last product: this thread's sums.
fn finish_tiles(lane: u32, accumulators: ptr<function, Accumulators>, sums: ptr<function, Sums>) {
    let at = place(lane);
    // unroll
    for (var band = 0u; band < ROW_QUADS; band++) {
        // unroll
        for (var i = 0u; i < BLOCK_ROWS; i++) {
            let row = (at.x * BLOCK_ROWS + i) * SIDE;
            if row / BAND == band {
                // unroll
                for (var j = 0u; j < BLOCK_COLUMNS; j++) {
                    let to = (row - band * BAND) * BAND_LINE + at.y * BLOCK_RIGHT + j * SIDE_QUADS;
                    coopStoreT((*accumulators)[i * BLOCK_COLUMNS + j], &tile_c[to], BAND_LINE);
                }
            }
        }
        workgroupBarrier();
        // unroll
        for (var row = 0u; row < 4u; row++) {
            (*sums)[band * 4u + row] = tile_c[(lane / THREAD_COLUMNS * 4u + row) * BAND_LINE + lane % THREAD_COLUMNS];
        }
        workgroupBarrier();
    }
}
