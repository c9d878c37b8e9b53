// Four floats as two 64-bit words: lavapipe stores word by word, so that half as many take 25 ns instead of 35 for eight
// lanes. Put in front of the software family's shaders.
fn packed(v: vec4f) -> vec2<u64> {
    let bits = bitcast<vec4u>(v);
    return vec2<u64>(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}

