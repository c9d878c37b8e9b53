//! `scale`: alpha * x.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    alpha: f32,
}

const FILE: &str = "ops/scale.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>("scale.forward", FILE, "forward", &[Read, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// `alpha * x`.
///
/// # Errors
/// What the device reported.
pub fn scale(tape: &mut Tape, alpha: f32, x: &Var) -> Result<Var> {
    let y = forward(&x.tensor, alpha)?;
    Ok(tape.record(y, &[x], || Rule { alpha }))
}

pub(crate) fn forward(x: &Tensor, alpha: f32) -> Result<Tensor> {
    let y = Tensor::empty(x.gpu(), x.shape().clone())?;
    for ((rows, x_part), (_, y_part)) in x.parts().zip(y.parts()) {
        let n = rows.len() * x.shape().row_len();
        let params = Params { n: n as u32, alpha };
        x.gpu()
            .run(&FORWARD, &params, &[x_part, y_part], n.div_ceil(256))?;
    }
    Ok(y)
}

struct Rule {
    alpha: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        Ok(vec![Some(forward(dy, self.alpha)?.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "scale",
        "[7, 37] by -2.5",
        [Input::normal([7, 37])],
        |tape, v| scale(tape, -2.5, &v[0]),
        |v| v[0].iter().map(|x| -2.5 * x).collect(),
    )]
}
