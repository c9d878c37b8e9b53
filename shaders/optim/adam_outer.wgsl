// Adam with a gradient that is never stored: alpha left^T right, of left [N, rows] and right [N, 4 columns]. What
// is bound from binding 1 on, and p_at, m_at, v_at, right_at, store, lost, are the import `memory`'s: buffers for GPUs, images
// for software devices.
#import optim/adam_core.wgsl
#import memory
#const LANES: u32 // threads of a workgroup
#const N: u32 // rows of left and right
#const ROWS: u32 // of the parameter at a time
#const RUN: u32 // quads of a thread

const COEFFICIENTS: u32 = N * ROWS;

// One workgroup updates RUN * LANES quads of ROWS rows: right is read once for all of them.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let blocks = (params.rows + ROWS - 1u) / ROWS;
    let row0 = (id % blocks) * ROWS;
    let first = (id / blocks) * RUN * LANES;
    var coefficients: array<f32, COEFFICIENTS>; // [N][ROWS]
    // unroll
    for (var n = 0u; n < N; n++) {
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            coefficients[n * ROWS + r] = params.alpha * left[n * params.rows + min(row0 + r, params.rows - 1u)];
        }
    }
    var some_lost = false;
    let end = min(first + RUN * LANES, params.columns);
    for (var column = first + lane; column < end; column += LANES) {
        var x: array<vec4f, N>;
        // unroll
        for (var n = 0u; n < N; n++) {
            x[n] = right_at(n * params.columns + column);
        }
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            if row0 + r < params.rows {
                var gradient = vec4f(0.0);
                // unroll
                for (var n = 0u; n < N; n++) {
                    gradient += coefficients[n * ROWS + r] * x[n];
                }
                let i = (row0 + r) * params.columns + column;
                let next = moved(p_at(i), gradient, m_at(i), v_at(i));
                store(i, next);
                some_lost = some_lost | is_lost(next.p);
            }
        }
    }
    if some_lost {
        atomicStore(&lost, 1u);
    }
}
