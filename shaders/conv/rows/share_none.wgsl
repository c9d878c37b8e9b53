// The import `share` of winograd_rows_output.wgsl: there is no LoRA.
@group(0) @binding(4) var<storage, read_write> winners: array<Half>; // forward_kept: [n, channels, h / 2, w / 2]

fn with_share(line: array<Value, M>, image: u32, channel: u32, at: vec2u) -> array<Value, M> {
    return line;
}
