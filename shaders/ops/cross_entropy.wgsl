// loss = mean over rows of sum_c t[c] * (log sum exp z - z[c]); t is a class index or probabilities.
struct Params {
    n: u32,
    c: u32,
    indices: u32, // 1: targets are class indices [n]; 0: probabilities [n, c]
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>; // [n, c]
@group(0) @binding(2) var<storage, read> targets: array<u32>; // indices, or the bits of f32 probabilities
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // row losses [n]
@group(0) @binding(4) var<storage, read_write> dz: array<f32>; // [n, c], of the mean loss

var<workgroup> partial: array<f32, 64>;

fn target_of(row: u32, c: u32) -> f32 {
    if params.indices == 1u {
        return select(0.0, 1.0, targets[row] == c);
    }
    return bitcast<f32>(targets[row * params.c + c]);
}

// The sum of one value a lane, the same for all lanes; the order is fixed.
fn total(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if lane < width {
            partial[lane] += partial[lane + width];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

// The largest logit of a row, for all lanes.
fn row_max(lane: u32, row: u32) -> f32 {
    var best = z[row * params.c];
    for (var c = lane; c < params.c; c += 64u) {
        best = max(best, z[row * params.c + c]);
    }
    partial[lane] = best;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if lane < width {
            partial[lane] = max(partial[lane], partial[lane + width]);
        }
        workgroupBarrier();
    }
    best = partial[0];
    workgroupBarrier();
    return best;
}

fn sum_exp(lane: u32, row: u32, largest: f32) -> f32 {
    var sum = 0.0;
    for (var c = lane; c < params.c; c += 64u) {
        sum += exp(z[row * params.c + c] - largest);
    }
    return total(lane, sum);
}

// One workgroup computes the loss of one row and its dz = (softmax(z) * sum t - t) / n.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group.x + group.y * groups.x;
    if row >= params.n {
        return;
    }
    let largest = row_max(lane, row);
    let sum = sum_exp(lane, row, largest);
    let log_sum = log(sum);
    var loss = 0.0;
    var mass = 0.0;
    for (var c = lane; c < params.c; c += 64u) {
        let t = target_of(row, c);
        // Not t * x alone: 0 * inf would make a loss of a diverged logit that no target names.
        loss += select(0.0, t * (log_sum - (z[row * params.c + c] - largest)), t != 0.0);
        mass += t;
    }
    loss = total(lane, loss);
    mass = total(lane, mass);
    if lane == 0u {
        out[row] = loss;
    }
    let scale = 1.0 / f32(params.n);
    for (var c = lane; c < params.c; c += 64u) {
        let i = row * params.c + c;
        dz[i] = (exp(z[i] - largest) / sum * mass - target_of(row, c)) * scale;
    }
}
