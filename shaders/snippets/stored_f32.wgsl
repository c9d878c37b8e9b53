// The import `stored`: four numbers of a frozen weight as they lie in memory, in f32. stored_f16.wgsl is the other
// precision.
alias Stored = vec4f;
fn stored(quad: Stored) -> vec4f {
    return quad;
}
