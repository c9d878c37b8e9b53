//! `to_planes` and `to_rows`: from one layout of a tensor to the other (see `tensor/planes.rs`), the way between what is in
//! planes and every other op.

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Kernel;
use crate::tensor::planes::{planes, read_rows, rows, write_rows};
use crate::tensor::{Shape, Tensor};

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![]
}

/// Planes [N, C, S, S] to rows [N, C cells cells], averaged where `cells` is not S.
pub(crate) fn to_rows(tape: &mut Tape, x: &Var, cells: usize) -> Result<Var> {
    let (_, [_, channels, size]) = planes("to_rows", &x.tensor)?;
    let y = write_rows(&x.tensor, cells)?;
    tape.record(y, &[x], || RowsRule {
        channels,
        size,
        cells,
    })
}

struct RowsRule {
    channels: usize,
    size: usize,
    cells: usize,
}

impl Backward for RowsRule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let n = dy.shape()[0];
        let dx = read_rows(dy, [n, self.channels, self.size], self.cells)?;
        Ok(vec![Some(dx.into())])
    }
}

/// Rows [N, C S S] (or of that many elements) to planes [N, C, S, S].
pub(crate) fn to_planes(tape: &mut Tape, x: &Var, channels: usize) -> Result<Var> {
    let shape = x.tensor.shape();
    let area = shape.row_len() / channels;
    let size = area.isqrt();
    if size * size * channels != shape.row_len() {
        return Err(Error::shape(
            "to_planes",
            format!("square planes of {channels} channels"),
            shape.to_string(),
        ));
    }
    let y = read_rows(&x.tensor, [shape[0], channels, size], size)?;
    tape.record(y, &[x], || PlanesRule {
        shape: shape.clone(),
    })
}

struct PlanesRule {
    shape: Shape,
}

impl Backward for PlanesRule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = rows(dy)?.reshaped(self.shape);
        Ok(vec![Some(dx.into())])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "to_planes",
            "[2, 5, 9, 9], and back to 4 cells a side",
            [Input::normal([2, 5, 9, 9])],
            |tape, v| {
                let x = to_planes(tape, &v[0], 5)?;
                to_rows(tape, &x, 4)
            },
            |v| {
                let window = |i: usize| (i * 9 / 4)..((i + 1) * 9).div_ceil(4);
                let cell = |i: usize| {
                    let (plane, row, column) = (i / 16, i / 4 % 4, i % 4);
                    let (rows, columns) = (window(row), window(column));
                    let count = (rows.len() * columns.len()) as f64;
                    let sum: f64 = rows
                        .flat_map(|y| columns.clone().map(move |x| (y, x)))
                        .map(|(y, x)| v[0][plane * 81 + y * 9 + x])
                        .sum();
                    sum / count
                };
                (0..2 * 5 * 16).map(cell).collect()
            },
        )
        .on_software(),
    ]
}
