//! Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015), with the arithmetic of
//! `torch.optim.Adam`: bias correction, and eps added to the corrected root.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Access::{Read, Write};
use crate::gpu::{Access, Kernel};
use crate::selftest::{Case, Input};
use crate::{Error, Result, Tensor, Var};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    step_size: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    root_correction2: f32,
    eps: f32,
    weight_decay: f32,
}

const SOURCE: &str = include_str!("../../shaders/adam.wgsl");
const BINDINGS: &[Access] = &[Read, Read, Write, Write, Write];
static FORWARD: Kernel = Kernel::new::<Params>("adam.forward", SOURCE, "forward", BINDINGS);
static FORWARD_QUADS: Kernel =
    Kernel::new::<Params>("adam.forward_quads", SOURCE, "forward_quads", BINDINGS);

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &FORWARD_QUADS]
}

/// `torch.optim.Adam`, its defaults in [`Adam::new`].
#[derive(Clone)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Steps taken.
    pub steps: u64,
    moments: Vec<[Tensor; 2]>,
}

impl Adam {
    /// Betas 0.9 and 0.999, eps 1e-8, no weight decay.
    pub fn new(lr: f64) -> Self {
        Adam {
            lr,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            steps: 0,
            moments: Vec::new(),
        }
    }

    /// Replaces each parameter by its next value.
    ///
    /// # Errors
    /// [`Error::Shape`] where a gradient is missing or has another shape than its parameter.
    pub fn step(&mut self, parameters: &mut [Tensor], gradients: &[Tensor]) -> Result<()> {
        if parameters.len() != gradients.len() {
            let (expected, found) = (parameters.len().to_string(), gradients.len().to_string());
            return Err(Error::shape("adam", format!("{expected} gradients"), found));
        }
        for (p, dp) in parameters.iter().zip(gradients) {
            if p.shape() != dp.shape() {
                let expected = "a gradient of its parameter's shape";
                return Err(Error::shapes("adam", expected, p.shape(), dp.shape()));
            }
        }
        if self.moments.is_empty() {
            let zeros =
                |p: &Tensor| Tensor::from_fn(p.gpu(), p.shape().clone(), |_, out| out.fill(0.0));
            self.moments = parameters
                .iter()
                .map(|p| Ok([zeros(p)?, zeros(p)?]))
                .collect::<Result<_>>()?;
        }
        self.steps += 1;
        let correction = self.betas.map(|beta| 1.0 - beta.powf(self.steps as f64));
        for ((p, dp), moments) in parameters.iter_mut().zip(gradients).zip(&self.moments) {
            let n = p.shape().len();
            let (kernel, items) = match n.is_multiple_of(4) {
                true => (&FORWARD_QUADS, n / 4),
                false => (&FORWARD, n),
            };
            let params = Params {
                n: items as u32,
                step_size: (self.lr / correction[0]) as f32,
                rest1: (1.0 - self.betas[0]) as f32,
                beta2: self.betas[1] as f32,
                rest2: (1.0 - self.betas[1]) as f32,
                root_correction2: correction[1].sqrt() as f32,
                eps: self.eps as f32,
                weight_decay: self.weight_decay as f32,
            };
            let next = Tensor::empty(p.gpu(), p.shape().clone())?;
            let all = [p, dp, &moments[0], &moments[1], &next];
            let bindings = all.map(|tensor| tensor.buffer("adam"));
            let bindings = bindings.into_iter().collect::<Result<Vec<_>>>()?;
            p.gpu()
                .run(kernel, &params, &bindings, items.div_ceil(64))?;
            *p = next;
        }
        Ok(())
    }
}

pub(super) fn cases() -> Vec<Case> {
    let adam = || Adam {
        weight_decay: 0.01,
        ..Adam::new(0.05)
    };
    let case = |n: usize| {
        Case::new(
            "adam",
            format!("[{n}] three steps"),
            [Input::normal([n]), Input::normal([n])],
            move |_, v| {
                let mut p = [v[0].tensor.clone()];
                let mut adam = adam();
                for _ in 0..3 {
                    adam.step(&mut p, &[v[1].tensor.clone()])?;
                }
                Ok(Var::frozen(&p[0]))
            },
            move |v| {
                let adam = adam();
                let [beta1, beta2] = adam.betas;
                let one = |(&p, &dp): (&f64, &f64)| {
                    let (mut p, mut m, mut v) = (p, 0.0, 0.0);
                    for t in 1..=3 {
                        let g = dp + adam.weight_decay * p;
                        m = beta1 * m + (1.0 - beta1) * g;
                        v = beta2 * v + (1.0 - beta2) * g * g;
                        let m_hat = m / (1.0 - beta1.powi(t));
                        let v_hat: f64 = v / (1.0 - beta2.powi(t));
                        p -= adam.lr * m_hat / (v_hat.sqrt() + adam.eps);
                    }
                    p
                };
                v[0].iter().zip(&v[1]).map(one).collect()
            },
        )
        .forward_only()
    };
    vec![case(300), case(301)]
}
