// What winograd_input.wgsl, winograd_product.wgsl and winograd_output.wgsl are told.
struct Params {
    first: u32, // first tile of this chunk
    tiles: u32, // of the whole batch
    tiles_w: u32, // of a row
    tiles_image: u32,
    in_quads: u32, // four channels each
    out_quads: u32,
    blocks: u32, // of `width` tiles in this chunk
    size: u32, // side of the plane
    size_out: u32, // side of the result, after the pool where there is one
    zero: u32, // 0, not known to the compiler
    floor: i32, // numbers whose bits lie below become 0: the negative ones for ReLU (see ops/relu.wgsl), else none
    channel_quads: u32, // of the result
    width: u32, // tiles of a block
    pitch: u32, // elements from one row of the result to the next
    quad: u32, // of the result, for the first quad of x
}
@group(0) @binding(0) var<uniform> params: Params;
