// The import `stored`: four numbers of a frozen weight as they lie in memory, in f16. stored_f32.wgsl is the other
// precision.
alias Stored = vec2u;
fn stored(quad: Stored) -> vec4f {
    return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
}
