//! `max_pool2d`: the largest value of each window, NaN where one is in it; the first of equal ones takes the gradient, as
//! in PyTorch.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    planes: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    kernel: u32,
    stride: u32,
}

const FILE: &str = "ops/max_pool2d.wgsl";
static FORWARD: Kernel =
    Kernel::new::<Params>("max_pool2d.forward", FILE, "forward", &[Read, Write]);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "max_pool2d.backward",
    FILE,
    "backward",
    &[Read, Write, Read],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// Square windows without padding: [N, C, H, W] -> [N, C, (H - kernel) / stride + 1, ...], rounded down.
///
/// # Errors
/// [`Error::Shape`] where `x` has not four dimensions or is smaller than a window.
pub fn max_pool2d(tape: &mut Tape, x: &Var, kernel: usize, stride: usize) -> Result<Var> {
    let (params, out) = plan(x.tensor.shape(), kernel, stride)?;
    let y = Tensor::empty(x.tensor.gpu(), out)?;
    let bindings = [x.tensor.buffer("max_pool2d")?, y.buffer("max_pool2d")?];
    let groups = y.shape().len().div_ceil(256);
    x.tensor.gpu().run(&FORWARD, &params, &bindings, groups)?;
    tape.record(y, &[x], || Rule {
        params,
        x: x.tensor.clone(),
    })
}

fn plan(x: &Shape, kernel: usize, stride: usize) -> Result<(Params, Shape)> {
    let fits = x.rank() == 4 && kernel > 0 && stride > 0 && x[2] >= kernel && x[3] >= kernel;
    if !fits || kernel * kernel > 1024 {
        let expected = format!(
            "[N, C, H, W] with H and W at least the window {kernel} (1 to 32), stride {stride} at least 1"
        );
        return Err(Error::shape("max_pool2d", expected, x.to_string()));
    }
    let (oh, ow) = ((x[2] - kernel) / stride + 1, (x[3] - kernel) / stride + 1);
    let params = Params {
        planes: (x[0] * x[1]) as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        oh: oh as u32,
        ow: ow as u32,
        kernel: kernel as u32,
        stride: stride as u32,
    };
    Ok((params, [x[0], x[1], oh, ow].into()))
}

struct Rule {
    params: Params,
    x: Tensor,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let op = "max_pool2d";
        let dx = Tensor::empty(dy.gpu(), self.x.shape().clone())?;
        let bindings = [self.x.buffer(op)?, dx.buffer(op)?, dy.buffer(op)?];
        let groups = dx.shape().len().div_ceil(256);
        dy.gpu().run(&BACKWARD, &self.params, &bindings, groups)?;
        Ok(vec![Some(dx.into())])
    }
}

/// The larger one in f64, NaN where one is, which `f64::max` leaves out.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |shape: [usize; 4], kernel: usize, stride: usize| {
        let [n, c, h, w] = shape;
        Case::new(
            "max_pool2d",
            format!("{shape:?} kernel {kernel} stride {stride}"),
            // Finite differences need one clear winner a window.
            [Input::distinct(shape)],
            move |tape, v| max_pool2d(tape, &v[0], kernel, stride),
            move |v| {
                let (oh, ow) = ((h - kernel) / stride + 1, (w - kernel) / stride + 1);
                let mut y = vec![f64::NEG_INFINITY; n * c * oh * ow];
                for (i, y) in y.iter_mut().enumerate() {
                    let (plane, oy, ox) = (i / (oh * ow), (i / ow) % oh, i % ow);
                    for tap in 0..kernel * kernel {
                        let (iy, ix) = (oy * stride + tap / kernel, ox * stride + tap % kernel);
                        *y = larger(*y, v[0][(plane * h + iy) * w + ix]);
                    }
                }
                y
            },
        )
    };
    vec![
        case([1, 1, 2, 2], 2, 2),
        case([2, 3, 13, 10], 2, 2),
        case([1, 2, 9, 11], 3, 2),
        case([1, 1, 7, 7], 2, 3),
    ]
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn windows_must_fit() {
        assert_eq!(
            plan(&[1, 2, 5, 4].into(), 2, 2).map(|p| p.1).ok(),
            Some([1, 2, 2, 2].into())
        );
        assert!(plan(&[1, 2, 1, 4].into(), 2, 2).is_err());
        assert!(plan(&[2, 5, 4].into(), 2, 2).is_err());
        assert!(plan(&[1, 2, 5, 4].into(), 2, 0).is_err());
        assert!(plan(&[1, 2, 5, 4].into(), 0, 2).is_err());
    }
}
