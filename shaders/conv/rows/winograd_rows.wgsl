// What winograd_rows_input.wgsl and winograd_rows_output.wgsl share.
struct Params {
    first: u32, // first tile of this chunk
    count: u32, // tiles of this chunk, padded to a multiple of 4
    tiles: u32, // of the whole batch
    tiles_w: u32, // of a row
    tiles_image: u32,
    channels: u32, // of x, or of y
    padded: u32, // channels of v, past x's zeros, or of m
    h: u32,
    w: u32,
    scale: f32, // output: of what m holds
    floor: i32, // output: numbers whose bits lie below become 0: the negative ones for ReLU (see relu.wgsl), else none
    rank: u32, // output: of a LoRA
    share: f32, // output: the scale of what a LoRA adds
}
@group(0) @binding(0) var<uniform> params: Params;

// Image, row and column of a tile.
fn tile_at(tile: u32) -> vec3u {
    let image = tile / params.tiles_image;
    let rest = tile - image * params.tiles_image;
    let row = rest / params.tiles_w;
    return vec3u(image, row, rest - row * params.tiles_w);
}
