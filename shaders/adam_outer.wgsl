// Adam with a gradient that is never stored: alpha left^T right, of left [N, rows] and right [N, 4 columns]. Follows
// adam_core.wgsl and a header with N, LANES, RUN (quads of a thread), what is bound from binding 1 on, and p_at, m_at,
// v_at, right_at, store: in buffers for GPUs, in images for software devices.

// One workgroup updates RUN * LANES quads of one row; neighbours do the same quads of the next row, while right's are
// still in the cache.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let row = id % params.rows;
    let first = (id / params.rows) * RUN * LANES;
    var coefficients: array<f32, N>;
    // unroll
    for (var n = 0u; n < N; n++) {
        coefficients[n] = params.alpha * left[n * params.rows + row];
    }
    let end = min(first + RUN * LANES, params.columns);
    for (var column = first + lane; column < end; column += LANES) {
        var gradient = vec4f(0.0);
        // unroll
        for (var n = 0u; n < N; n++) {
            gradient += coefficients[n] * right_at(n * params.columns + column);
        }
        let i = row * params.columns + column;
        store(i, moved(p_at(i), gradient, m_at(i), v_at(i)));
    }
}
