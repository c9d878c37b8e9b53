// What is left of a convolution whose depth was split: the splits added in order, bias, ReLU.
struct Params {
    count: u32, // numbers of y
    splits: u32,
    cout: u32,
    plane: u32,
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, n, cout, plane]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [cout]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, cout, plane]

@compute @workgroup_size(64)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i >= params.count {
        return;
    }
    var sum = 0.0;
    for (var split = 0u; split < params.splits; split++) {
        sum += parts[split * params.count + i];
    }
    sum += bias[(i / params.plane) % params.cout];
    y[i] = select(sum, 0.0, bitcast<i32>(sum) < params.floor);
}
