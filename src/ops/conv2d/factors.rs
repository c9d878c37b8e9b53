//! What a LoRA's factors are to a convolution, off the tape: A [R, C, 3, 3] goes down to R channels and B [M, R, 1, 1] up.

use super::{Conv2d, backward_w, backward_x, few, forward, plan};
use crate::error::Result;
use crate::tensor::Tensor;

/// How a LoRA's A moves over its input: its window is 3 x 3.
const DOWN: Conv2d = Conv2d {
    stride: 1,
    padding: 1,
};

/// What A [R, C, 3, 3] makes of x [N, C, H, W]: [N, R, H, W].
pub(crate) fn down(x: &Tensor, a: &Tensor) -> Result<Tensor> {
    forward(x, a, &plan(x.shape(), a.shape(), DOWN)?)
}

/// The gradient of A [R, C, 3, 3]: of dh [N, R, H, W] and what A took, [N, C, H, W].
pub(crate) fn backward_a(dh: &Tensor, x: &Tensor) -> Result<Tensor> {
    let shape = [dh.shape()[1], x.shape()[1], 3, 3].into();
    let params = plan(x.shape(), &shape, DOWN)?;
    backward_w([dh, x], &shape, 1.0, &params)
}

/// The gradient of what A [R, C, 3, 3] took, of dh [N, R, H, W], added to `onto`, whose memory it may take.
pub(crate) fn backward_down(dh: &Tensor, a: &Tensor, onto: Option<Tensor>) -> Result<Tensor> {
    let mut x = dh.shape().dims().to_vec();
    x[1] = a.shape()[1];
    let params = plan(&x[..].into(), a.shape(), DOWN)?;
    backward_x(dh, a, &params, onto)
}

/// `alpha` times the gradient of B [M, R, 1, 1], whose window is one pixel: of dy [N, M, H, W] and what B took,
/// [N, R, H, W].
pub(crate) fn backward_b(dy: &Tensor, x: &Tensor, alpha: f32) -> Result<Tensor> {
    let shape = [dy.shape()[1], x.shape()[1], 1, 1].into();
    let how = Conv2d {
        stride: 1,
        padding: 0,
    };
    let params = plan(x.shape(), &shape, how)?;
    if x.shape()[1] <= few::MOST {
        return few::backward_w(x, dy, few::Factor::Up, alpha);
    }
    backward_w([dy, x], &shape, alpha, &params)
}
