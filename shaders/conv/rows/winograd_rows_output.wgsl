// Winograd's output transform in rows and all that follows it: bias, what a LoRA adds, ReLU, and the largest of each 2 x 2.
#import transforms
#import run
#import conv/rows/winograd_rows.wgsl
#import snippets/pool.wgsl
#import share

@group(0) @binding(1) var<storage, read> m: array<f32>; // [A * A, padded, count]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [channels]
@group(0) @binding(3) var<storage, read_write> y: array<Run>; // forward: [n, channels, h, w], whose w is a multiple of RUN
@group(0) @binding(3) var<storage, read_write> pooled: array<Half>; // else [n, channels, h / 2, w / 2]

const RUNS: u32 = M / RUN; // of a tile's line
const HALF_M: u32 = M / 2;
const HALVES: u32 = HALF_M / HALF; // of a pooled tile's line

// A thread's tile and channel.
struct Place {
    tile: vec3u, // image, row, column
    channel: u32,
    at: u32, // in m's first position
    inside: bool,
}
fn placed(i: u32) -> Place {
    let channel = i / params.count;
    let tile = params.first + i - channel * params.count;
    return Place(tile_at(tile), channel, i, channel < params.channels && tile < params.tiles);
}

// The transform of a tile's columns: [M][A].
fn columns_of(at: u32) -> array<Value, MA> {
    let pitch = params.padded * params.count;
    var half: array<Value, MA>;
    // unroll
    for (var j = 0u; j < A; j++) {
        var line: array<Value, A>;
        // unroll
        for (var row = 0u; row < A; row++) {
            line[row] = m[(row * A + j) * pitch + at];
        }
        let t = transform_output(line);
        // unroll
        for (var row = 0u; row < M; row++) {
            half[row * A + j] = t[row];
        }
    }
    return half;
}

// Line `row` of a tile from its `line` of the columns' transform.
fn finished(line: array<Value, A>, place: Place, row: u32) -> array<Value, M> {
    var t = transform_output(line);
    // unroll
    for (var j = 0u; j < M; j++) {
        t[j] = params.scale * t[j] + bias[place.channel];
    }
    t = with_share(t, place.tile.x, place.channel, place.tile.zy * M + vec2u(0u, row));
    // unroll
    for (var j = 0u; j < M; j++) {
        t[j] = select(t[j], 0.0, bitcast<i32>(t[j]) < params.floor);
    }
    return t;
}

// One thread finishes one channel of one tile.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let place = placed((group.x + group.y * groups.x) * 64u + lane);
    if !place.inside {
        return;
    }
    let half = columns_of(place.at);
    let plane = (place.tile.x * params.channels + place.channel) * params.h * params.w;
    // unroll
    for (var row = 0u; row < M; row++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[row * A + j];
        }
        let t = finished(line, place, row);
        // unroll
        for (var j = 0u; j < RUNS; j++) {
            let at = place.tile.zy * M + vec2u(j * RUN, row);
            if at.x < params.w && at.y < params.h {
                y[(plane + at.y * params.w + at.x) / RUN] = run_of(
                    t[j * RUN],
                    t[min(j * RUN + 1u, M - 1u)],
                    t[min(j * RUN + 2u, M - 1u)],
                    t[min(j * RUN + 3u, M - 1u)],
                );
            }
        }
    }
}

// A pooled tile: the largest of each window, and which pixel it came from.
struct Pooled {
    best: array<f32, HALF_MM>, // [M / 2][M / 2]
    winner: array<f32, HALF_MM>,
}
const HALF_MM: u32 = HALF_M * HALF_M;
fn pooled_tile(place: Place) -> Pooled {
    let half = columns_of(place.at);
    var windows: array<Window, HALF_MM>;
    // unroll
    for (var j = 0u; j < HALF_MM; j++) {
        windows[j] = Window(LEAST, 0.0);
    }
    // unroll
    for (var row = 0u; row < M; row++) {
        var line: array<Value, A>;
        // unroll
        for (var j = 0u; j < A; j++) {
            line[j] = half[row * A + j];
        }
        let t = finished(line, place, row);
        // unroll
        for (var j = 0u; j < M; j++) {
            let window = row / 2u * HALF_M + j / 2u;
            windows[window] = better(windows[window], t[j], f32(row % 2u * 2u + j % 2u));
        }
    }
    var result: Pooled;
    // unroll
    for (var j = 0u; j < HALF_MM; j++) {
        result.best[j] = windows[j].best;
        result.winner[j] = winner_of(windows[j]);
    }
    return result;
}

// Where run j of a pooled tile's line `row` is, or past all where it is outside.
fn pooled_at(place: Place, row: u32, j: u32) -> u32 {
    let side = vec2u(params.w, params.h) / 2u;
    let at = place.tile.zy * HALF_M + vec2u(j * HALF, row);
    let plane = (place.tile.x * params.channels + place.channel) * side.x * side.y;
    return select(0xffffffffu, (plane + at.y * side.x + at.x) / HALF, all(at < side));
}

// One thread finishes one channel of one tile; ReLU is before the pool.
@compute @workgroup_size(64)
fn forward_pooled(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let place = placed((group.x + group.y * groups.x) * 64u + lane);
    if !place.inside {
        return;
    }
    let result = pooled_tile(place);
    // unroll
    for (var row = 0u; row < HALF_M; row++) {
        // unroll
        for (var j = 0u; j < HALVES; j++) {
            let to = pooled_at(place, row, j);
            let first = row * HALF_M + j * HALF;
            if to != 0xffffffffu {
                pooled[to] = half_of(result.best[first], result.best[min(first + 1u, HALF_MM - 1u)]);
            }
        }
    }
}

// The same, and which pixel each came from, for the gradient.
@compute @workgroup_size(64)
fn forward_kept(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let place = placed((group.x + group.y * groups.x) * 64u + lane);
    if !place.inside {
        return;
    }
    let result = pooled_tile(place);
    // unroll
    for (var row = 0u; row < HALF_M; row++) {
        // unroll
        for (var j = 0u; j < HALVES; j++) {
            let to = pooled_at(place, row, j);
            let first = row * HALF_M + j * HALF;
            let second = min(first + 1u, HALF_MM - 1u);
            if to != 0xffffffffu {
                pooled[to] = half_of(result.best[first], result.best[second]);
                winners[to] = half_of(result.winner[first], result.winner[second]);
            }
        }
    }
}
