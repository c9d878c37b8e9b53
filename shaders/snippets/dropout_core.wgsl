// Which elements dropout keeps: a hash of the element's number and a key (pcg3d of Jarzynski & Olano, "Hash functions for
// GPU rendering", 2020), so that nothing is stored and every device keeps the same.
struct Params {
    n: u32, // elements; planes: pixels of the whole batch
    first: u32, // number of the first element; planes: of the first image
    key0: u32,
    key1: u32,
    threshold: u32, // of 2^32: what is below is dropped
    scale: f32, // 1 / (1 - p)
    size: u32, // planes: their side
    channels: u32, // planes
    pitch: u32, // planes: texels from one row of y to the next
}
@group(0) @binding(0) var<uniform> params: Params;

// The factor of an element.
fn factor(element: u32) -> f32 {
    var v = vec3u(element, params.key0, params.key1) * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3u(16u);
    v.x += v.y * v.z;
    return select(params.scale, 0.0, v.x < params.threshold);
}

