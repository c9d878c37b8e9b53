// loss = mean (x - y)^2.
struct Params {
    n: u32,
    scale: f32, // backward: 2 / n, negative for dy
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // forward: sums of 4096 [ceil(n / 4096)]; backward: dx [n]
@group(0) @binding(4) var<storage, read> dloss: array<f32>; // [1]; backward only

var<workgroup> partial: array<f32, 256>;

// One workgroup sums the squared differences of 4096 elements.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let id = group.x + group.y * groups.x;
    let start = id * 4096u;
    if start >= params.n {
        return;
    }
    var total = 0.0;
    for (var i = start + lane; i < min(start + 4096u, params.n); i += 256u) {
        let difference = x[i] - y[i];
        total += difference * difference;
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
        out[id] = partial[0];
    }
}

// One workgroup computes 256 elements of scale * dloss * (x - y).
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 256u + lane;
    if i < params.n {
        out[i] = params.scale * dloss[0] * (x[i] - y[i]);
    }
}
