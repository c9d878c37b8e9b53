// Winograd's output transform in rows, with bias and ReLU.
#import transforms
#import run
#import conv/rows/winograd_rows.wgsl

@group(0) @binding(1) var<storage, read> m: array<f32>; // [A * A, padded, count]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [channels]
@group(0) @binding(3) var<storage, read_write> y: array<Run>; // [n, channels, h, w], whose w is a multiple of RUN

const RUNS: u32 = M / RUN; // of a tile's line

fn finished(value: f32, channel: u32) -> f32 {
    let y = params.scale * value + bias[channel];
    return select(y, 0.0, bitcast<i32>(y) < params.floor);
}

// One thread finishes one channel of one tile.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let channel = i / params.count;
    let local = i - channel * params.count;
    let tile = params.first + local;
    if channel >= params.channels || tile >= params.tiles {
        return;
    }
    let place = tile_at(tile);
    let pitch = params.padded * params.count;
    var half: array<Value, MA>; // [M][A]
    // unroll
    for (var j = 0u; j < A; j++) {
        var line: array<Value, A>;
        // unroll
        for (var row = 0u; row < A; row++) {
            line[row] = m[(row * A + j) * pitch + i];
        }
        let t = transform_output(line);
        // unroll
        for (var row = 0u; row < M; row++) {
            half[row * A + j] = t[row];
        }
    }
    let plane = (place.x * params.channels + channel) * params.h * params.w;
    // unroll
    for (var row = 0u; row < M; row++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[row * A + j];
        }
        let t = transform_output(line);
        // unroll
        for (var j = 0u; j < RUNS; j++) {
            let at = place.zy * M + vec2u(j * RUN, row);
            if at.x < params.w && at.y < params.h {
                y[(plane + at.y * params.w + at.x) / RUN] = run_of(
                    finished(t[j * RUN], channel),
                    finished(t[min(j * RUN + 1u, M - 1u)], channel),
                    finished(t[min(j * RUN + 2u, M - 1u)], channel),
                    finished(t[min(j * RUN + 3u, M - 1u)], channel),
                );
            }
        }
    }
}
