//! `adaptive_avg_pool2d`: means over windows placed so that any input gives the asked size (PyTorch's rule:
//! cell i covers floor(i H / OH) up to ceil((i + 1) H / OH)).

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    planes: u32,
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
}

const FILE: &str = "ops/adaptive_avg_pool2d.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "adaptive_avg_pool2d.forward",
    FILE,
    "forward",
    &[Read, Write],
);
static BACKWARD: Kernel = Kernel::new::<Params>(
    "adaptive_avg_pool2d.backward",
    FILE,
    "backward",
    &[Read, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD]
}

/// [N, C, H, W] -> [N, C, size, size]; the identity where H = W = size.
///
/// # Errors
/// [`Error::Shape`] where `x` has not four dimensions or `size` is 0.
pub fn adaptive_avg_pool2d(tape: &mut Tape, x: &Var, size: usize) -> Result<Var> {
    let shape = x.tensor.shape();
    if shape.rank() != 4 || size == 0 {
        return Err(Error::shape(
            "adaptive_avg_pool2d",
            format!("[N, C, H, W] and a size from 1, here {size}"),
            shape.to_string(),
        ));
    }
    if shape.dims()[2..] == [size, size] {
        return Ok(x.clone());
    }
    let op = "adaptive_avg_pool2d";
    let gpu = x.tensor.gpu();
    let window = (shape[2].div_ceil(size) + 1) * (shape[3].div_ceil(size) + 1);
    check_trips(gpu, op, window.max(size * size * 4))?;
    let params = Params {
        planes: (shape[0] * shape[1]) as u32,
        h: shape[2] as u32,
        w: shape[3] as u32,
        oh: size as u32,
        ow: size as u32,
    };
    let y = Tensor::empty(gpu, [shape[0], shape[1], size, size])?;
    let groups = y.shape().len().div_ceil(256);
    gpu.run(
        &FORWARD,
        &params,
        &[x.tensor.buffer(op)?, y.buffer(op)?],
        groups,
    )?;
    tape.record(y, &[x], || Rule {
        params,
        shape: shape.clone(),
    })
}

struct Rule {
    params: Params,
    shape: Shape,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let op = "adaptive_avg_pool2d";
        let dx = Tensor::empty(dy.gpu(), self.shape.clone())?;
        let groups = dx.shape().len().div_ceil(256);
        dy.gpu().run(
            &BACKWARD,
            &self.params,
            &[dy.buffer(op)?, dx.buffer(op)?],
            groups,
        )?;
        Ok(vec![Some(dx.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |shape: [usize; 4], size: usize| {
        let [n, c, h, w] = shape;
        Case::new(
            "adaptive_avg_pool2d",
            format!("{shape:?} to {size}"),
            [Input::normal(shape)],
            move |tape, v| adaptive_avg_pool2d(tape, &v[0], size),
            move |v| {
                let mut y = Vec::new();
                for i in 0..n * c * size * size {
                    let (plane, oy, ox) = (i / (size * size), (i / size) % size, i % size);
                    let rows = oy * h / size..((oy + 1) * h).div_ceil(size);
                    let columns = ox * w / size..((ox + 1) * w).div_ceil(size);
                    let cells = (rows.len() * columns.len()) as f64;
                    let total: f64 = rows
                        .flat_map(|iy| columns.clone().map(move |ix| (iy, ix)))
                        .map(|(iy, ix)| v[0][(plane * h + iy) * w + ix])
                        .sum();
                    y.push(total / cells);
                }
                y
            },
        )
    };
    vec![
        case([1, 2, 1, 1], 7),
        case([2, 3, 10, 13], 7),
        case([1, 1, 14, 21], 7),
        case([1, 2, 5, 3], 2),
    ]
}
