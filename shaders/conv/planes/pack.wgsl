// The weights of conv_planes.wgsl from a factor that training changes: element (out, in, tap) of any layout, scaled.
#import snippets/packed.wgsl
#const LANES: u32 // of a workgroup, which is one subgroup

struct Params {
    outs: u32, // output channels of a workgroup of the convolution
    taps: u32,
    cout: u32,
    cin: u32,
    columns: u32, // texels of a row of w
    pitch: u32, // texels from one row of w to the next
    first: u32, // element (0, 0, 0)
    stride_out: u32,
    stride_in: u32,
    stride_tap: i32,
    scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u64>>; // texel ((quad * taps + tap) * outs + out % outs, out / outs)

// One workgroup computes LANES texels of one row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column >= params.columns {
        return;
    }
    let out = group.y * params.outs + column % params.outs;
    let line = column / params.outs;
    let quad = line / params.taps;
    let tap = i32(line % params.taps);
    var four = vec4f(0.0);
    for (var c = 0u; c < 4u; c++) {
        let channel = quad * 4u + c;
        if out < params.cout && channel < params.cin {
            let at = params.first + out * params.stride_out + channel * params.stride_in;
            four[c] = params.scale * factor[u32(i32(at) + tap * params.stride_tap)];
        }
    }
    w[column + group.y * params.pitch] = packed(four);
}
