//! `concat_columns`: two matrices side by side; their gradients are the columns of its own.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    left: u32,
    right: u32,
}

const FILE: &str = "ops/concat_columns.wgsl";
static FORWARD: Kernel = Kernel::new::<Params>(
    "concat_columns.forward",
    FILE,
    "forward",
    &[Read, Write, Read],
);
static BACKWARD_LEFT: Kernel = Kernel::new::<Params>(
    "concat_columns.backward_left",
    FILE,
    "backward_left",
    &[Read, Write],
);
static BACKWARD_RIGHT: Kernel = Kernel::new::<Params>(
    "concat_columns.backward_right",
    FILE,
    "backward_right",
    &[Read, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD, &BACKWARD_LEFT, &BACKWARD_RIGHT]
}

/// [N, L] and [N, R] -> [N, L + R].
///
/// # Errors
/// [`Error::Shape`] where they are not matrices of as many rows.
pub fn concat_columns(tape: &mut Tape, left: &Var, right: &Var) -> Result<Var> {
    let (a, b) = (left.tensor.shape(), right.tensor.shape());
    if a.rank() != 2 || b.rank() != 2 || a[0] != b[0] {
        return Err(Error::shapes("concat_columns", "[N, L] and [N, R]", a, b));
    }
    let params = Params {
        n: a[0] as u32,
        left: a[1] as u32,
        right: b[1] as u32,
    };
    let gpu = left.tensor.gpu();
    let y = Tensor::empty(gpu, [a[0], a[1] + b[1]])?;
    let bindings = [
        left.tensor.buffer("concat_columns")?,
        y.buffer("concat_columns")?,
        right.tensor.buffer("concat_columns")?,
    ];
    gpu.run(&FORWARD, &params, &bindings, y.shape().len().div_ceil(256))?;
    tape.record(y, &[left, right], || Rule { params })
}

struct Rule {
    params: Params,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Params { n, left, right } = self.params;
        let sides = [(&BACKWARD_LEFT, left), (&BACKWARD_RIGHT, right)];
        let gradients = sides
            .iter()
            .zip(wanted)
            .map(|(&(kernel, columns), &wanted)| {
                if !wanted {
                    return Ok(None);
                }
                let part = Tensor::empty(dy.gpu(), [n as usize, columns as usize])?;
                let bindings = [dy.buffer("concat_columns")?, part.buffer("concat_columns")?];
                let groups = part.shape().len().div_ceil(256);
                dy.gpu().run(kernel, &self.params, &bindings, groups)?;
                Ok(Some(part.into()))
            });
        gradients.collect()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [(1, 1, 1), (3, 1000, 7), (5, 3, 130)]
        .map(|(n, left, right)| {
            Case::new(
                "concat_columns",
                format!("[{n}, {left}] and [{n}, {right}]"),
                [Input::normal([n, left]), Input::normal([n, right])],
                |tape, v| concat_columns(tape, &v[0], &v[1]),
                move |v| {
                    let rows = v[0].chunks(left).zip(v[1].chunks(right));
                    rows.flat_map(|(a, b)| [a, b].concat()).collect()
                },
            )
        })
        .into()
}
