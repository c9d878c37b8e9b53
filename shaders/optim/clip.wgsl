// The norm of all gradients together, and what they are scaled by to keep it below a limit. Every sum has a fixed order, and
// nothing leaves the device.
struct Params {
    n: u32, // squares, scale: elements; factor: partial sums
    first: u32, // squares: the place of the first partial sum
    most: f32, // factor: the largest norm
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // squares, scale: [n]; factor: the partial sums
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // squares: the partial sums of all gradients
@group(0) @binding(2) var<storage, read_write> norm: array<f32>; // factor: the norm, and the factor
@group(0) @binding(2) var<storage, read> given: array<f32>; // scale: the same
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // scale: [n]

const RUN: u32 = 64u; // elements of a thread
const INFINITE: u32 = 0x7f800000u;

var<workgroup> partial: array<f32, 64>;

// The sum of one value a lane, in partial[0].
fn total(lane: u32, value: f32) {
    partial[lane] = value;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if lane < width {
            partial[lane] += partial[lane + width];
        }
        workgroupBarrier();
    }
}

// One workgroup sums the squares of 64 * RUN elements.
@compute @workgroup_size(64)
fn squares(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let first = id * 64u * RUN;
    if first >= params.n {
        return;
    }
    var sum = 0.0;
    let end = min(first + 64u * RUN, params.n);
    for (var i = first + lane; i < end; i += 64u) {
        sum += x[i] * x[i];
    }
    total(lane, sum);
    if lane == 0u {
        sums[params.first + id] = partial[0];
    }
}

// One workgroup makes the norm of all partial sums, and the factor: most / (norm + 1e-6) where that is less than 1.
@compute @workgroup_size(64)
fn factor(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.n; i += 64u) {
        sum += x[i];
    }
    total(lane, sum);
    if lane == 0u {
        let length = sqrt(partial[0]);
        let scale = params.most / (length + 1e-6);
        let nan = (bitcast<u32>(partial[0]) & 0x7fffffffu) > INFINITE;
        norm[0] = length;
        // By bits: what a comparison makes of NaN is not the same on every device.
        norm[1] = bitcast<f32>(select(bitcast<u32>(select(scale, 1.0, scale > 1.0)), 0x7fc00000u, nan));
    }
}

// One workgroup scales 256 elements by the factor.
@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        y[i] = given[1] * x[i];
    }
}
