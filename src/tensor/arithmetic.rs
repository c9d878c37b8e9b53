//! What gradients are added and multiplied with, off the tape: `alpha x + y`, and `alpha x^T y`.

use bytemuck::{Pod, Zeroable};

use super::{Tensor, planes};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Kernel, check_trips};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AddParams {
    n: u32,
    alpha: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct OuterParams {
    n: u32,
    k: u32,
    out: u32,
    out_start: u32,
    out_total: u32,
    alpha: f32,
}

static ADD: Kernel = Kernel::new::<AddParams>(
    "add.forward",
    "tensor/add.wgsl",
    "forward",
    &[Read, Read, Write],
);
const OUTER: &str = "tensor/outer.wgsl";
static OUTER_WIDE: Kernel =
    Kernel::new::<OuterParams>("outer.wide", OUTER, "wide", &[Read, Read, Write]);
static OUTER_QUADS: Kernel =
    Kernel::new::<OuterParams>("outer.quads", OUTER, "quads", &[Read, Read, Write]);
static OUTER_NARROW: Kernel =
    Kernel::new::<OuterParams>("outer.narrow", OUTER, "narrow", &[Read, Read, Write]);

/// Every kernel of this file.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&ADD, &OUTER_WIDE, &OUTER_QUADS, &OUTER_NARROW]
}

/// Columns of a product up to which a thread computes one element of it.
const NARROW: usize = 62;

impl Tensor {
    /// `self + other`.
    pub(crate) fn plus(&self, other: &Tensor) -> Result<Tensor> {
        self.times_plus(1.0, other)
    }

    /// `alpha * self + other`.
    pub(crate) fn times_plus(&self, alpha: f32, other: &Tensor) -> Result<Tensor> {
        if self.shape() != other.shape() {
            return Err(Error::shapes(
                "add",
                "one shape twice",
                self.shape(),
                other.shape(),
            ));
        }
        if self.texture().is_some() || other.texture().is_some() {
            return planes::times_plus(self, alpha, other);
        }
        let z = Tensor::empty(self.gpu(), self.shape().clone())?;
        for (((rows, x), (_, y)), (_, z)) in self.parts().zip(other.parts()).zip(z.parts()) {
            let n = rows.len() * self.shape().row_len();
            let params = AddParams { n: n as u32, alpha };
            self.gpu().run(&ADD, &params, &[x, y, z], n.div_ceil(256))?;
        }
        Ok(z)
    }
}

/// `alpha left^T right`: left [n, out] and right [n, k] -> [out, k], in parts where that is larger than a binding.
pub(crate) fn outer(left: &Tensor, right: &Tensor, alpha: f32) -> Result<Tensor> {
    let (n, out, k) = (left.shape()[0], left.shape()[1], right.shape()[1]);
    check_trips(left.gpu(), "outer", n * 9)?;
    let product = Tensor::empty(left.gpu(), [out, k])?;
    let narrow = k <= NARROW && product.parts().count() == 1;
    for (range, part) in product.parts() {
        let params = OuterParams {
            n: n as u32,
            k: k as u32,
            out: range.len() as u32,
            out_start: range.start as u32,
            out_total: out as u32,
            alpha,
        };
        let (kernel, groups) = if narrow {
            (&OUTER_NARROW, (out * k).div_ceil(64))
        } else {
            let (kernel, columns) = match k.is_multiple_of(4) {
                true => (&OUTER_QUADS, k / 4),
                false => (&OUTER_WIDE, k),
            };
            (kernel, range.len().div_ceil(8) * columns.div_ceil(64))
        };
        let bindings = [left.buffer("outer")?, right.buffer("outer")?, part];
        left.gpu().run(kernel, &params, &bindings, groups)?;
    }
    Ok(product)
}
