// The import `share` of winograd_rows_output.wgsl: what a LoRA adds, share B hidden.
@group(0) @binding(4) var<storage, read> hidden: array<Run>; // [n, rank, h, w]
@group(0) @binding(5) var<storage, read> b: array<f32>; // [channels, rank]
@group(0) @binding(6) var<storage, read_write> winners: array<Half>; // forward_kept: [n, channels, h / 2, w / 2]

// A tile's line from column at.x of row at.y on; past the last row and column it is whatever is there, and not stored.
fn with_share(line: array<Value, M>, image: u32, channel: u32, at: vec2u) -> array<Value, M> {
    var total: array<Value, M>;
    let row = image * params.rank * params.h + min(at.y, params.h - 1u);
    for (var r = 0u; r < params.rank; r++) {
        let w = b[channel * params.rank + r];
        let start = (row + r * params.h) * params.w;
        // unroll
        for (var j = 0u; j < RUNS; j++) {
            let some = four_of(hidden[(start + min(at.x + j * RUN, params.w - RUN)) / RUN]);
            // unroll
            for (var k = 0u; k < RUN; k++) {
                total[j * RUN + k] += w * some[k];
            }
        }
    }
    var sum = line;
    // unroll
    for (var j = 0u; j < M; j++) {
        sum[j] += params.share * total[j];
    }
    return sum;
}
