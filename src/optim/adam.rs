//! Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015), with the arithmetic of
//! `torch.optim.Adam`: bias correction, and eps added to the corrected root. AdamW (Loshchilov & Hutter, "Decoupled weight
//! decay regularization", 2019) as `torch.optim.AdamW`.

use bytemuck::{Pod, Zeroable};

use super::state::{self, State};
use crate::autograd::Gradient;
use crate::error::Result;
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Access, IMAGE_WIDTH, Kernel};
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    step_size: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    inverse_root2: f32,
    eps: f32,
    weight_decay: f32,
    shrink: f32,
    rows: u32,
    columns: u32,
    alpha: f32,
}

const FILE: &str = "optim/adam.wgsl";
const BINDINGS: &[Access] = &[Read, Read, Write, Write, Write, Write];
static FORWARD: Kernel = Kernel::new::<Params>("adam.forward", FILE, "forward", BINDINGS);
static FORWARD_QUADS: Kernel =
    Kernel::new::<Params>("adam.forward_quads", FILE, "forward_quads", BINDINGS);
const OUTER_NARROW: Kernel = Kernel::new::<Params>(
    "adam.outer_narrow",
    "optim/adam_outer_narrow.wgsl",
    "forward",
    &[Read, Read, Read, Write, Write, Write, Write],
);
const OUTER: Kernel = Kernel::new::<Params>(
    "adam.outer",
    "optim/adam_outer.wgsl",
    "forward",
    &[Read, Read, Read, Write, Write, Write, Write],
);
const OUTER_IMAGES: Kernel = Kernel::new::<Params>(
    "adam.outer_images",
    "optim/adam_outer.wgsl",
    "forward",
    &[
        ReadTexture,
        ReadTexture,
        Read,
        ReadTexture,
        ReadTexture,
        Write,
        Write,
        Write,
        Write,
    ],
);

/// What PyTorch's state calls the two moments.
const NAMES: [&str; 2] = ["exp_avg", "exp_avg_sq"];
/// Columns of a parameter up to which a thread updates whole rows.
const NARROW: usize = 64;
/// The most rows of an outer product's factors that a kernel holds at once.
const OUTER_MOST: usize = 8;
/// Threads of a workgroup on GPUs.
const OUTER_LANES: usize = 64;

/// Rows of the parameter that a workgroup takes, at most.
const OUTER_ROWS: usize = 2;

/// The kernel for factors of `n` rows and a parameter of `rows`, with the rows and the quads of one of its workgroups.
fn outer_kernel(images: Option<usize>, n: usize, rows: usize) -> (&'static Kernel, [usize; 2]) {
    let rows = rows.div_ceil(rows.div_ceil(OUTER_ROWS));
    let (kernel, lanes, run) = match images {
        Some(lanes) => (&OUTER_IMAGES, lanes, 128),
        None => (&OUTER, OUTER_LANES, 1),
    };
    let name = format!("{}.{lanes}x{n}x{rows}", kernel.name);
    let kernel = kernel.variant(name, |kernel| {
        let kernel = match images {
            Some(_) => kernel
                .import("memory", "optim/adam_outer_images.wgsl")
                .constant("IMAGE_WIDTH", IMAGE_WIDTH),
            None => kernel.import("memory", "optim/adam_outer_buffers.wgsl"),
        };
        kernel
            .constant("LANES", lanes)
            .constant("N", n)
            .constant("ROWS", rows)
            .constant("RUN", run)
    });
    (kernel, [rows, lanes * run])
}

/// The kernel for factors of `n` rows and a parameter of few columns `k`.
fn narrow_kernel(n: usize, k: usize) -> &'static Kernel {
    OUTER_NARROW.variant(format!("{}.{n}x{k}", OUTER_NARROW.name), |kernel| {
        kernel.constant("N", n).constant("K", k)
    })
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![
        &FORWARD,
        &FORWARD_QUADS,
        narrow_kernel(5, 10),
        outer_kernel(None, 5, 10).0,
        outer_kernel(Some(8), 5, 10).0,
    ]
}

/// What a step updates of one parameter beside itself.
#[derive(Clone, Copy)]
struct Moments<'a> {
    moments: &'a [Tensor; 2],
    lost: &'a Tensor,
}

/// `torch.optim.Adam`, its defaults in [`Adam::new`].
#[derive(Clone, Debug)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// AdamW: the parameter shrinks by `lr * weight_decay` of itself before each step instead.
    pub decoupled: bool,
    /// Steps taken.
    pub steps: u64,
    state: Option<State<2>>,
}

impl Adam {
    /// Betas 0.9 and 0.999, eps 1e-8, no weight decay.
    pub fn new(lr: f64) -> Self {
        Adam {
            lr,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            steps: 0,
            state: None,
        }
    }

    /// Replaces each parameter by its next value. A gradient that is an outer product of few rows is formed in the
    /// kernel that uses it.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where a gradient is missing or has another shape than its parameter, and where the parameters
    /// are not as many and as large as in the first step.
    pub fn step(&mut self, parameters: &mut [Tensor], gradients: &[Gradient]) -> Result<()> {
        state::check("adam", parameters, gradients)?;
        let state = match self.state.take() {
            Some(state) => Some(state),
            None => State::new(parameters)?,
        };
        self.state = state.clone();
        let Some(state) = state else {
            return Ok(());
        };
        state.check("adam", parameters)?;
        self.steps += 1;
        for ((p, dp), moments) in parameters.iter_mut().zip(gradients).zip(&state.of) {
            let state = Moments {
                moments,
                lost: &state.lost,
            };
            *p = match dp {
                // A kernel holds all rows of the factors: more are added up before.
                Gradient::Outer { left, right, alpha } if right.shape()[0] <= OUTER_MOST => {
                    let (factors, columns) = ([left, right], right.shape()[1]);
                    if columns <= NARROW {
                        self.outer_narrow(p, factors, *alpha, state)?
                    } else if columns.is_multiple_of(4) {
                        self.outer(p, factors, *alpha, state)?
                    } else {
                        self.dense(p, &dp.dense()?, state)?
                    }
                }
                _ => self.dense(p, &dp.dense()?, state)?,
            };
        }
        Ok(())
    }

    /// A word that is 0 as long as all that it wrote is finite; `None` before the first step.
    pub(crate) fn lost(&self) -> Option<&Tensor> {
        self.state.as_ref().map(|state| &state.lost)
    }

    /// The steps taken, and all that a run carries along beside its parameters, by name: `exp_avg.i` and `exp_avg_sq.i` are
    /// the moments of parameter `i`, `lost` is the word that says whether a number was lost; nothing before the first step.
    /// The next step changes the tensors: copies of them to the host must have been started before.
    pub fn state(&self) -> (u64, Vec<(String, Tensor)>) {
        let tensors = self.state.as_ref().map(|state| state.tensors(NAMES));
        (self.steps, tensors.unwrap_or_default())
    }

    /// Puts back what [`Adam::state`] gave after `steps` steps on `parameters`: the steps that follow give the bits that
    /// they would have given. `find` is asked for each tensor by name and shape; it is copied. Where this fails, nothing
    /// has changed.
    ///
    /// # Errors
    /// What `find` returned, and [`Error::Shape`](crate::Error::Shape) for a tensor of another shape.
    pub fn restore(
        &mut self,
        steps: u64,
        parameters: &[Tensor],
        find: &mut dyn FnMut(&str, &Shape) -> Result<Tensor>,
    ) -> Result<()> {
        self.state = State::restored("adam", NAMES, steps, parameters, find)?;
        self.steps = steps;
        Ok(())
    }

    fn params(&self, n: usize) -> Params {
        let correction = self.betas.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let (added, shrink) = match self.decoupled {
            true => (0.0, 1.0 - self.lr * self.weight_decay),
            false => (self.weight_decay, 1.0),
        };
        Params {
            n: n as u32,
            step_size: (self.lr / correction[0]) as f32,
            rest1: (1.0 - self.betas[0]) as f32,
            beta2: self.betas[1] as f32,
            rest2: (1.0 - self.betas[1]) as f32,
            inverse_root2: (1.0 / correction[1].sqrt()) as f32,
            eps: self.eps as f32,
            weight_decay: added as f32,
            shrink: shrink as f32,
            rows: 0,
            columns: 0,
            alpha: 1.0,
        }
    }

    fn dense(&self, p: &Tensor, dp: &Tensor, state: Moments) -> Result<Tensor> {
        let [m, v] = state.moments;
        let n = p.shape().len();
        let (kernel, items) = match n.is_multiple_of(4) {
            true => (&FORWARD_QUADS, n / 4),
            false => (&FORWARD, n),
        };
        let next = Tensor::empty(p.gpu(), p.shape().clone())?;
        let all = [p, dp, m, v, &next, state.lost];
        let bindings = all.map(|tensor| tensor.buffer("adam"));
        let bindings = bindings.into_iter().collect::<Result<Vec<_>>>()?;
        let groups = items.div_ceil(64);
        p.gpu()
            .run(kernel, &self.params(items), &bindings, groups)?;
        Ok(next)
    }

    fn outer_narrow(
        &self,
        p: &Tensor,
        [left, right]: [&Tensor; 2],
        alpha: f32,
        Moments {
            moments: [m, v],
            lost,
        }: Moments,
    ) -> Result<Tensor> {
        let (rows, columns) = (p.shape()[0], p.shape()[1]);
        let next = Tensor::empty(p.gpu(), p.shape().clone())?;
        let all = [p, right, left, m, v, &next, lost].map(|tensor| tensor.buffer("adam"));
        let bindings = all.into_iter().collect::<Result<Vec<_>>>()?;
        let params = Params {
            rows: rows as u32,
            alpha,
            ..self.params(rows * columns)
        };
        let kernel = narrow_kernel(right.shape()[0], columns);
        p.gpu().run(kernel, &params, &bindings, rows.div_ceil(64))?;
        Ok(next)
    }

    fn outer(
        &self,
        p: &Tensor,
        [left, right]: [&Tensor; 2],
        alpha: f32,
        Moments {
            moments: [m, v],
            lost,
        }: Moments,
    ) -> Result<Tensor> {
        let (n, rows, columns) = (right.shape()[0], p.shape()[0], p.shape()[1] / 4);
        let next = Tensor::empty(p.gpu(), p.shape().clone())?;
        let images = [p, right, m, v].map(Tensor::image_lanes);
        let images = images
            .iter()
            .all(Option::is_some)
            .then_some(images[0])
            .flatten();
        let (kernel, [rows_each, quads]) = outer_kernel(images, n, rows);
        let all: &[&Tensor] = match images {
            Some(_) => &[p, right, left, m, v, m, v, &next, lost],
            None => &[p, right, left, m, v, &next, lost],
        };
        let bindings = all.iter().map(|tensor| tensor.buffer("adam"));
        let bindings = bindings.collect::<Result<Vec<_>>>()?;
        let params = Params {
            rows: rows as u32,
            columns: columns as u32,
            alpha,
            ..self.params(rows * columns)
        };
        let groups = rows.div_ceil(rows_each) * columns.div_ceil(quads);
        p.gpu().run(kernel, &params, &bindings, groups)?;
        Ok(next)
    }
}
