//! `add` and `axpy`: alpha * x + y.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::selftest::{Case, Input};
use crate::{Backward, Error, Gradient, Result, Tape, Tensor, Var, ops::scale, software};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    alpha: f32,
}

const SOURCE: &str = include_str!("../../shaders/add.wgsl");
static FORWARD: Kernel =
    Kernel::new::<Params>("add.forward", SOURCE, "forward", &[Read, Read, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// `x + y` for tensors of one shape.
///
/// # Errors
/// [`Error::Shape`] where the shapes differ.
pub fn add(tape: &mut Tape, x: &Var, y: &Var) -> Result<Var> {
    axpy(tape, 1.0, x, y)
}

/// `alpha * x + y` for tensors of one shape.
///
/// # Errors
/// [`Error::Shape`] where the shapes differ.
pub fn axpy(tape: &mut Tape, alpha: f32, x: &Var, y: &Var) -> Result<Var> {
    let z = x.tensor.times_plus(alpha, &y.tensor)?;
    tape.record(z, &[x, y], || Rule { alpha })
}

impl Tensor {
    /// `self + other` off the tape.
    pub(crate) fn plus(&self, other: &Tensor) -> Result<Tensor> {
        self.times_plus(1.0, other)
    }

    /// `alpha * self + other` off the tape.
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
            return software::times_plus(self, alpha, other);
        }
        let z = Tensor::empty(self.gpu(), self.shape().clone())?;
        for (((rows, x), (_, y)), (_, z)) in self.parts().zip(other.parts()).zip(z.parts()) {
            let n = rows.len() * self.shape().row_len();
            let params = Params { n: n as u32, alpha };
            self.gpu()
                .run(&FORWARD, &params, &[x, y, z], n.div_ceil(256))?;
        }
        Ok(z)
    }
}

struct Rule {
    alpha: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = match (wanted[0], self.alpha) {
            (false, _) => None,
            (true, 1.0) => Some(dy.clone()),
            (true, alpha) => Some(scale::forward(dy, alpha)?),
        };
        Ok(vec![
            dx.map(Gradient::from),
            wanted[1].then(|| dy.clone().into()),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [(1, 1.0), (257, 1.0), (1000, -0.75)]
        .map(|(n, alpha)| {
            Case::new(
                "add",
                format!("[{n}] alpha {alpha}"),
                [Input::normal([n]), Input::normal([n])],
                move |tape, v| axpy(tape, alpha, &v[0], &v[1]),
                move |v| {
                    v[0].iter()
                        .zip(&v[1])
                        .map(|(x, y)| f64::from(alpha) * x + y)
                        .collect()
                },
            )
        })
        .into()
}
