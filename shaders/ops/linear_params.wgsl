// What linear.wgsl, linear_image.wgsl and linear_image_backward.wgsl are told.
struct Params {
    n: u32, // rows of x and dy
    k: u32, // columns of x and w; of images, a multiple of 4
    out: u32, // rows of this part of w
    out_start: u32, // the column of y and dy of this part's first row
    out_total: u32, // columns of y and dy
    span: u32, // forward: columns that one split sums; backward_x: rows of w
    first: u32, // backward_x: the row of this part that `out_start` stands for
    split: u32, // backward_x: the number of the first split; of an image, this part's number
    accumulate: u32, // backward_x: add to what dx holds
    alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
