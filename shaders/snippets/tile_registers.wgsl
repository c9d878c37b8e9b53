// The import `tile_core` in registers, the same on every device.
#import snippets/tile_shape.wgsl

// A quad of padding, so that neighbouring lines meet different banks.
const LEFT_LINE: u32 = LEFT + 1;
const RIGHT_LINE: u32 = RIGHT + 1;
const TILE_A: u32 = DEPTH * LEFT_LINE;
const TILE_B: u32 = DEPTH * RIGHT_LINE;

var<workgroup> tile_a: array<vec4f, TILE_A>; // [DEPTH][LEFT_LINE]
var<workgroup> tile_b: array<vec4f, TILE_B>; // [DEPTH][RIGHT_LINE]

// What a thread adds up while tiles are multiplied.
alias Accumulators = Sums;

// Four rows (columns) of the left (right) tile at one depth.
fn put_left(k: u32, quad: u32, value: vec4f) {
    tile_a[k * LEFT_LINE + quad] = value;
}
fn put_right(k: u32, quad: u32, value: vec4f) {
    tile_b[k * RIGHT_LINE + quad] = value;
}

// Between two barriers: adds the product of the tiles.
fn multiply_tiles(lane: u32, sums: ptr<function, Accumulators>) {
    let tx = lane % THREAD_COLUMNS;
    let ty = lane / THREAD_COLUMNS;
    // unroll
    for (var k = 0u; k < DEPTH; k++) {
        var b: array<vec4f, COLUMN_QUADS>;
        // unroll
        for (var j = 0u; j < COLUMN_QUADS; j++) {
            b[j] = tile_b[k * RIGHT_LINE + tx + j * THREAD_COLUMNS];
        }
        // unroll
        for (var i = 0u; i < ROW_QUADS; i++) {
            let a = tile_a[k * LEFT_LINE + ty + i * THREAD_ROWS];
            // unroll
            for (var row = 0u; row < 4u; row++) {
                // unroll
                for (var j = 0u; j < COLUMN_QUADS; j++) {
                    (*sums)[(i * 4u + row) * COLUMN_QUADS + j] += a[row] * b[j];
                }
            }
        }
    }
}

// After the last product: this thread's sums. Every loop over them is written out, here and in the kernels: one index that
// is not a constant puts the array into memory, which on an NVIDIA device made the convolutions ten times slower.
fn finish_tiles(lane: u32, accumulators: ptr<function, Accumulators>, sums: ptr<function, Sums>) {
    // unroll
    for (var i = 0u; i < SUMS; i++) {
        (*sums)[i] = (*accumulators)[i];
    }
}
