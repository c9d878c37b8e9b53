//! `linear` for a weight of few columns (`shaders/ops/linear_narrow.wgsl`): a low-rank factor on the way up.

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::gpu::check_trips;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    out: u32,
    alpha: f32,
}

const FILE: &str = "ops/linear_narrow.wgsl";
const FORWARD: Kernel = Kernel::new::<Params>(
    "linear_narrow.forward",
    FILE,
    "forward",
    &[Read, Read, Write],
);
const FORWARD_ONTO: Kernel = Kernel::new::<Params>(
    "linear_narrow.forward_onto",
    FILE,
    "forward_onto",
    &[Read, Read, Write, Read],
);
const BACKWARD_X: Kernel = Kernel::new::<Params>(
    "linear_narrow.backward_x",
    FILE,
    "backward_x",
    &[Read, Read, Write],
);
pub(super) fn kernels() -> Vec<&'static Kernel> {
    let all = [FORWARD, FORWARD_ONTO, BACKWARD_X];
    all.iter().map(|kernel| sized(kernel, 5, 10)).collect()
}

/// `kernel` for `rows` of x at a time and `k` columns.
fn sized(kernel: &Kernel, rows: usize, k: usize) -> &'static Kernel {
    kernel.variant(format!("{}.{rows}x{k}", kernel.name), |kernel| {
        kernel.constant("ROWS", rows).constant("K", k)
    })
}

/// Columns of what is narrow: the sums of one row's gradient fit a workgroup's memory of 16 KiB.
pub(super) const MOST: usize = 62;

/// Whether a weight [out, k] is for these kernels.
pub(super) fn suits(w: &Tensor) -> bool {
    w.shape()[1] <= MOST && w.parts().count() == 1
}

/// Rows of x of a thread, so that it has no more than some 64 sums.
fn rows(n: usize, k: usize) -> usize {
    n.min(8).min(MOST / k).max(1)
}

/// `alpha x w^T`, and `onto` where there is one.
pub(super) fn forward(x: &Tensor, w: &Tensor, alpha: f32, onto: Option<&Tensor>) -> Result<Tensor> {
    let (n, k, out) = (x.shape()[0], w.shape()[1], w.shape()[0]);
    let y = Tensor::empty(x.gpu(), [n, out])?;
    let mut bindings = vec![
        x.buffer("linear")?,
        w.buffer("linear")?,
        y.buffer("linear")?,
    ];
    let kernel = match onto {
        Some(onto) => {
            bindings.push(onto.buffer("linear")?);
            &FORWARD_ONTO
        }
        None => &FORWARD,
    };
    let rows = rows(n, k);
    let groups = n.div_ceil(rows) * out.div_ceil(64);
    let kernel = sized(kernel, rows, k);
    x.gpu()
        .run(kernel, &params(n, out, alpha), &bindings, groups)?;
    Ok(y)
}

/// `alpha dy w`.
pub(super) fn backward_x(dy: &Tensor, w: &Tensor, alpha: f32) -> Result<Tensor> {
    let (n, k, out) = (dy.shape()[0], w.shape()[1], w.shape()[0]);
    let rows = rows(n, k);
    check_trips(dy.gpu(), "linear", out.div_ceil(64) + 130)?;
    let dx = Tensor::empty(dy.gpu(), [n, k])?;
    let bindings = [
        dy.buffer("linear")?,
        w.buffer("linear")?,
        dx.buffer("linear")?,
    ];
    let kernel = sized(&BACKWARD_X, rows, k);
    dy.gpu()
        .run(kernel, &params(n, out, alpha), &bindings, n.div_ceil(rows))?;
    Ok(dx)
}

fn params(n: usize, out: usize, alpha: f32) -> Params {
    Params {
        n: n as u32,
        out: out as u32,
        alpha,
    }
}
