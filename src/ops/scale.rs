//! `scale`: alpha * x.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::ops::planes::{to_planes, to_rows};
use crate::tensor::{Tensor, planes};

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
    tape.record(y, &[x], || Rule { alpha })
}

pub(crate) fn forward(x: &Tensor, alpha: f32) -> Result<Tensor> {
    if x.texture().is_some() {
        return planes::times(x, alpha);
    }
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
    vec![
        Case::new(
            "scale",
            "[7, 37] by -2.5",
            [Input::normal([7, 37])],
            |tape, v| scale(tape, -2.5, &v[0]),
            |v| v[0].iter().map(|x| -2.5 * x).collect(),
        ),
        Case::new(
            "scale",
            "[2, 6, 9, 9] by -2.5, in planes",
            [Input::normal([2, 6, 9, 9])],
            |tape, v| {
                let x = to_planes(tape, &v[0], 6)?;
                let y = scale(tape, -2.5, &x)?;
                let y = to_rows(tape, &y, 9)?;
                crate::ops::reshape(tape, &y, [2, 6, 9, 9])
            },
            |v| v[0].iter().map(|x| -2.5 * x).collect(),
        )
        .on_software(),
    ]
}
