// loss = scale * sum over rows of sum_c t[c] * (log sum exp z - z[c]); t is a class index or probabilities, where wanted
// mixed with an even spread and weighed by class. A row whose largest logit is not finite has no softmax: all of it is NaN,
// as in PyTorch.
struct Params {
    n: u32,
    c: u32,
    indices: u32, // 1: targets are class indices [n]; 0: probabilities [n, c]
    mixed: u32, // 1: t becomes certain * t + spread
    weighed: u32, // 1: and that times the weight of its class
    certain: f32,
    spread: f32,
    scale: f32, // of dz: 1 over what the sum over the rows is divided by
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>; // [n, c]
@group(0) @binding(2) var<storage, read> targets: array<u32>; // indices, or the bits of f32 probabilities
@group(0) @binding(3) var<storage, read> weights: array<f32>; // weighed: [c]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // row losses [n]
@group(0) @binding(5) var<storage, read_write> dz: array<f32>; // [n, c], of the loss

var<workgroup> partial: array<f32, 64>;

fn target_of(row: u32, c: u32) -> f32 {
    var t = 0.0;
    if params.indices == 1u {
        t = select(0.0, 1.0, targets[row] == c);
    } else {
        t = bitcast<f32>(targets[row * params.c + c]);
    }
    if params.mixed == 1u {
        t = params.certain * t + params.spread;
    }
    if params.weighed == 1u {
        t *= weights[c];
    }
    return t;
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

const INFINITE: u32 = 0x7f800000u;

// The larger one, NaN where one is.
fn larger(a: f32, b: f32) -> f32 {
    return select(a, b, (b > a) | ((bitcast<u32>(b) & 0x7fffffffu) > INFINITE));
}

// NaN where a row is lost, else the value. By bits: what exp and log make of NaN is not the same on every device.
fn or_nan(lost: bool, value: f32) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(value), 0x7fc00000u, lost));
}

// The largest logit of a row, for all lanes.
fn row_max(lane: u32, row: u32) -> f32 {
    var best = z[row * params.c];
    for (var c = lane; c < params.c; c += 64u) {
        best = larger(best, z[row * params.c + c]);
    }
    partial[lane] = best;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if lane < width {
            partial[lane] = larger(partial[lane], partial[lane + width]);
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

// One workgroup computes the loss of one row and its dz = (softmax(z) * sum t - t) * scale.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group.x + group.y * groups.x;
    if row >= params.n {
        return;
    }
    let largest = row_max(lane, row);
    let lost = (bitcast<u32>(largest) & INFINITE) == INFINITE;
    let sum = sum_exp(lane, row, largest);
    let log_sum = log(sum);
    var loss = 0.0;
    var mass = 0.0;
    for (var c = lane; c < params.c; c += 64u) {
        let t = target_of(row, c);
        let value = t * (log_sum - (z[row * params.c + c] - largest));
        // Of a class alone, not 0 * infinity of the others.
        loss += select(value, 0.0, t == 0.0 && params.indices == 1u);
        mass += t;
    }
    loss = total(lane, loss);
    mass = total(lane, mass);
    if lane == 0u {
        out[row] = or_nan(lost, loss);
    }
    for (var c = lane; c < params.c; c += 64u) {
        let i = row * params.c + c;
        dz[i] = or_nan(lost, (exp(z[i] - largest) / sum * mass - target_of(row, c)) * params.scale);
    }
}
