// y[n, c, i] = x[n, c, i] + b[c], or ReLU of that.
struct Params {
    n: u32, // batch
    c: u32, // channels
    inner: u32, // elements of one channel
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, c, inner]; backward: dy
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n, c, inner]; backward: db [c]
@group(0) @binding(3) var<storage, read> b: array<f32>; // [c]; forward only

var<workgroup> partial: array<f32, 256>;

// One workgroup computes 256 elements of y.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n * params.c * params.inner {
        let sum = x[i] + b[(i / params.inner) % params.c];
        y[i] = select(sum, 0.0, bitcast<i32>(sum) < params.floor);
    }
}

// One workgroup sums one channel of dy into db.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let channel = group.x + group.y * groups.x;
    if channel >= params.c {
        return;
    }
    var total = 0.0;
    for (var i = lane; i < params.n * params.inner; i += 256u) {
        total += x[((i / params.inner) * params.c + channel) * params.inner + i % params.inner];
    }
    partial[lane] = total;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if lane < width {
            partial[lane] += partial[lane + width];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        y[channel] = partial[0];
    }
}
