// Crops of interleaved 8-bit RGB to normalised planes, by a table of what each sample becomes.
struct Params {
    images: u32,
    plane: u32, // pixels of an image
    words: u32, // of a crop: four samples each
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> crops: array<u32>; // [images, words]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [3, 256]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [images, 3, plane]

// One workgroup normalises 64 pixels.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i >= params.images * params.plane {
        return;
    }
    let image = i / params.plane;
    let pixel = i - image * params.plane;
    for (var c = 0u; c < 3u; c++) {
        let sample = pixel * 3u + c;
        let word = crops[image * params.words + sample / 4u];
        y[(image * 3u + c) * params.plane + pixel] = table[c * 256u + ((word >> (sample % 4u * 8u)) & 255u)];
    }
}
