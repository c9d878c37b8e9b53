//! Plain gradient descent: p - lr * dp.

use crate::autograd::{Gradient, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// `torch.optim.SGD` without momentum.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
}

impl Sgd {
    /// Replaces each parameter by `p - lr * dp`.
    ///
    /// # Errors
    /// [`Error::Shape`] where a gradient is missing or has another shape.
    pub fn step(&mut self, parameters: &mut [Tensor], gradients: &[Gradient]) -> Result<()> {
        if parameters.len() != gradients.len() {
            let (expected, found) = (parameters.len().to_string(), gradients.len().to_string());
            return Err(Error::shape("sgd", format!("{expected} gradients"), found));
        }
        for (p, dp) in parameters.iter_mut().zip(gradients) {
            *p = dp.dense()?.times_plus(-self.lr as f32, p)?;
        }
        Ok(())
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "sgd",
            "[300] lr 0.1",
            [Input::normal([300]), Input::normal([300])],
            |_, v| {
                let mut p = [v[0].tensor.clone()];
                Sgd { lr: 0.1 }.step(&mut p, &[v[1].tensor.clone().into()])?;
                Ok(Var::frozen(&p[0]))
            },
            |v| v[0].iter().zip(&v[1]).map(|(p, dp)| p - 0.1 * dp).collect(),
        )
        .forward_only(),
    ]
}
