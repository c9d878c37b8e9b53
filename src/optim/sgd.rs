//! Gradient descent with momentum (Polyak 1964, Nesterov 1983), with the arithmetic of `torch.optim.SGD` without dampening.

use bytemuck::{Pod, Zeroable};

use super::state::{self, State};
use crate::autograd::Gradient;
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    lr: f32,
    momentum: f32,
    nesterov: u32,
    weight_decay: f32,
}

static FORWARD: Kernel = Kernel::new::<Params>(
    "sgd.forward",
    "optim/sgd.wgsl",
    "forward",
    &[Read, Read, Write, Write, Write],
);

/// What PyTorch's state calls the velocity.
const NAMES: [&str; 1] = ["momentum_buffer"];

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// `torch.optim.SGD` without dampening.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// What each step keeps of the last one's velocity.
    pub momentum: f64,
    /// Looks ahead along the velocity (Nesterov).
    pub nesterov: bool,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Steps taken.
    pub steps: u64,
    state: Option<State<1>>,
}

impl Sgd {
    /// No momentum, no weight decay.
    pub fn new(lr: f64) -> Self {
        Sgd {
            lr,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            steps: 0,
            state: None,
        }
    }

    /// Replaces each parameter by its next value.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where a gradient is missing or has another shape, and where the parameters are
    /// not as many and as large as in the first step.
    pub fn step(&mut self, parameters: &mut [Tensor], gradients: &[Gradient]) -> Result<()> {
        let op = "sgd";
        state::check(op, parameters, gradients)?;
        if self.state.is_none() {
            self.state = State::new(parameters)?;
        }
        let Some(state) = &self.state else {
            return Ok(());
        };
        state.check(op, parameters)?;
        self.steps += 1;
        let lost = state.lost.buffer(op)?;
        for ((p, dp), [velocity]) in parameters.iter_mut().zip(gradients).zip(&state.of) {
            let (dp, next) = (dp.dense()?, Tensor::empty(p.gpu(), p.shape().clone())?);
            let given = p.parts().zip(dp.parts());
            let made = velocity.parts().zip(next.parts());
            for (((rows, p_part), (_, dp)), ((_, velocity), (_, next))) in given.zip(made) {
                let n = rows.len() * p.shape().row_len();
                let params = Params {
                    n: n as u32,
                    lr: self.lr as f32,
                    momentum: self.momentum as f32,
                    nesterov: u32::from(self.nesterov),
                    weight_decay: self.weight_decay as f32,
                };
                let bindings = [p_part, dp, velocity, next, lost];
                p.gpu().run(&FORWARD, &params, &bindings, n.div_ceil(64))?;
            }
            *p = next;
        }
        Ok(())
    }

    /// A word that is 0 as long as all that it wrote is finite; `None` before the first step.
    pub(super) fn lost(&self) -> Option<&Tensor> {
        self.state.as_ref().map(|state| &state.lost)
    }

    /// As [`Adam::state`](super::Adam::state): `momentum_buffer.i` is the velocity of parameter `i`.
    pub fn state(&self) -> (u64, Vec<(String, Tensor)>) {
        let tensors = self.state.as_ref().map(|state| state.tensors(NAMES));
        (self.steps, tensors.unwrap_or_default())
    }

    /// As [`Adam::restore`](super::Adam::restore).
    ///
    /// # Errors
    /// As there.
    pub fn restore(
        &mut self,
        steps: u64,
        parameters: &[Tensor],
        find: &mut dyn FnMut(&str, &Shape) -> Result<Tensor>,
    ) -> Result<()> {
        self.state = State::restored("sgd", NAMES, steps, parameters, find)?;
        self.steps = steps;
        Ok(())
    }
}
