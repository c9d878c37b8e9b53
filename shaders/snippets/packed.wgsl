// What the software family's shaders share.

// Four floats as two 64-bit words: lavapipe stores word by word, so that half as many take 25 ns instead of 35 for eight
// lanes.
fn packed(v: vec4f) -> vec2<u64> {
    let bits = bitcast<vec4u>(v);
    return vec2<u64>(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}

// The column of a workgroup in a wide grid, whose columns are folded into z where they are more than a dimension has.
fn column_of(group: vec3u, groups: vec3u) -> u32 {
    return group.x + group.z * groups.x;
}

// Image, row and column of a pixel, counted through a batch of planes of `size` x `size`.
fn pixel_at(pixel: u32, size: u32) -> vec3u {
    let line = pixel / size;
    return vec3u(line / size, line % size, pixel - line * size);
}
