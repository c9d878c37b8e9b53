// The import `mask` of winograd_output.wgsl where a gradient is wanted: four bits a pixel, whether a channel's value came
// through ReLU and pool. A word holds a row of a tile.
const MASK: bool = true;
@group(0) @binding(4) var<storage, read_write> mask: array<u32>; // [image, quad, row, tile of the row]

fn keep(index: u32, bits: u32) {
    mask[index] = bits;
}
