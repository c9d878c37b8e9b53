//! Clipping: the norm of all gradients together is held below a limit (`torch.nn.utils.clip_grad_norm_`), without waiting
//! for the device.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::autograd::Gradient;
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Kernel, check_trips};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    first: u32,
    most: f32,
}

const FILE: &str = "optim/clip.wgsl";
static SQUARES: Kernel = Kernel::new::<Params>("clip.squares", FILE, "squares", &[Read, Write]);
static FACTOR: Kernel = Kernel::new::<Params>("clip.factor", FILE, "factor", &[Read, Write]);
static SCALE: Kernel = Kernel::new::<Params>("clip.scale", FILE, "scale", &[Read, Read, Write]);

/// Elements whose squares a workgroup sums.
const RUN: usize = 64 * 64;

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![&SQUARES, &FACTOR, &SCALE]
}

/// The gradients scaled by `max_norm / (norm + 1e-6)` where that is less than 1; `norm` is the root of the sum of all their
/// squares. An outer product stays one. The same gradients give the same bits.
///
/// # Errors
/// What the device reported.
pub fn clip_norm(gradients: &[Gradient], max_norm: f64) -> Result<Vec<Gradient>> {
    let numbers = gradients.iter().map(Gradient::dense);
    let numbers = numbers.collect::<Result<Vec<Tensor>>>()?;
    let Some(gpu) = numbers.first().map(Tensor::gpu) else {
        return Ok(Vec::new());
    };
    let elements = |rows: &Range<usize>, of: &Tensor| rows.len() * of.shape().row_len();
    let runs = numbers.iter().flat_map(|x| {
        let parts = x.parts();
        parts.map(|(rows, _)| elements(&rows, x).div_ceil(RUN))
    });
    let runs: usize = runs.sum();
    check_trips(gpu, "clip", runs.div_ceil(64))?;
    let sums = Tensor::empty(gpu, [runs])?;
    let mut first = 0;
    for x in &numbers {
        for (rows, part) in x.parts() {
            let n = elements(&rows, x);
            let params = Params {
                n: n as u32,
                first: first as u32,
                most: 0.0,
            };
            let groups = n.div_ceil(RUN);
            gpu.run(&SQUARES, &params, &[part, sums.buffer("clip")?], groups)?;
            first += groups;
        }
    }
    let norm = Tensor::empty(gpu, [2])?;
    let params = Params {
        n: runs as u32,
        first: 0,
        most: max_norm as f32,
    };
    let bindings = [sums.buffer("clip")?, norm.buffer("clip")?];
    gpu.run(&FACTOR, &params, &bindings, 1)?;
    let clipped = gradients.iter().map(|gradient| {
        Ok(match gradient {
            Gradient::Dense(x) => scaled(x, &norm)?.into(),
            Gradient::Outer { left, right, alpha } => Gradient::Outer {
                left: scaled(left, &norm)?,
                right: right.clone(),
                alpha: *alpha,
            },
        })
    });
    clipped.collect()
}

/// `x` by the factor beside the norm.
fn scaled(x: &Tensor, norm: &Tensor) -> Result<Tensor> {
    let y = Tensor::empty(x.gpu(), x.shape().clone())?;
    for ((rows, from), (_, to)) in x.parts().zip(y.parts()) {
        let n = rows.len() * x.shape().row_len();
        let params = Params {
            n: n as u32,
            first: 0,
            most: 0.0,
        };
        let bindings = [from, norm.buffer("clip")?, to];
        x.gpu().run(&SCALE, &params, &bindings, n.div_ceil(256))?;
    }
    Ok(y)
}
