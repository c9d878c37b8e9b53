//! `matmul`: the product of two matrices, either one transposed. The long, thin products of layers with
//! few rows are [`crate::ops::linear()`]'s.

use bytemuck::{Pod, Zeroable};

use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::check::{Case, Input};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::check_trips;
use crate::gpu::{Kernel, Tile};
use crate::ops::sum;
use crate::tensor::{Shape, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_row: u32,
    a_column: u32,
    b_row: u32,
    b_column: u32,
    span: u32,
}

const FILE: &str = "ops/matmul.wgsl";
const FORWARD: Kernel =
    Kernel::new::<Params>("matmul.forward", FILE, "forward", &[Read, Read, Write]);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    Tile::MIDDLES.map(tiled).to_vec()
}

fn tiled(tile: Tile) -> &'static Kernel {
    FORWARD.variant(format!("{}.{tile}", FORWARD.name), |kernel| {
        tile.give(kernel)
    })
}

/// Depth that one workgroup sums; longer products are split and the splits added in order.
const SPAN: usize = 8192;

/// Which factor is transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// `A B`: [M, K] and [K, N].
    Nn,
    /// `A B^T`: [M, K] and [N, K].
    Nt,
    /// `A^T B`: [K, M] and [K, N].
    Tn,
}

/// The product [M, N] of two matrices.
///
/// # Errors
/// [`Error::Shape`] where the inner dimensions differ.
pub fn matmul(tape: &mut Tape, a: &Var, b: &Var, transpose: Transpose) -> Result<Var> {
    let c = product(&a.tensor, &b.tensor, transpose)?;
    tape.record(c, &[a, b], || Rule {
        a: b.is_tracked().then(|| a.tensor.clone()),
        b: a.is_tracked().then(|| b.tensor.clone()),
        transpose,
    })
}

fn plan(a: &Shape, b: &Shape, transpose: Transpose) -> Result<Params> {
    let wrong = |expected: &str| Error::shapes("matmul", expected, a, b);
    if a.rank() != 2 || b.rank() != 2 {
        return Err(wrong("two matrices"));
    }
    let [a0, a1, b0, b1] = [a[0], a[1], b[0], b[1]];
    let (m, n, k, inner, strides) = match transpose {
        Transpose::Nn => (a0, b1, a1, b0, [a1, 1, b1, 1]),
        Transpose::Nt => (a0, b0, a1, b1, [a1, 1, 1, b1]),
        Transpose::Tn => (a1, b1, a0, b0, [1, a1, b1, 1]),
    };
    if k != inner {
        return Err(wrong(match transpose {
            Transpose::Nn => "[M, K] and [K, N]",
            Transpose::Nt => "[M, K] and [N, K]",
            Transpose::Tn => "[K, M] and [K, N]",
        }));
    }
    let [a_row, a_column, b_row, b_column] = strides.map(|s| s as u32);
    Ok(Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        a_row,
        a_column,
        b_row,
        b_column,
        span: SPAN as u32,
    })
}

fn product(a: &Tensor, b: &Tensor, transpose: Transpose) -> Result<Tensor> {
    let params = plan(a.shape(), b.shape(), transpose)?;
    let (m, n) = (params.m as usize, params.n as usize);
    let splits = (params.k as usize).div_ceil(SPAN);
    let tile = a.gpu().middle_tile();
    check_trips(a.gpu(), "matmul", tile.trips(SPAN))?;
    let c = Tensor::empty(a.gpu(), [splits, m, n])?;
    let groups = tile.groups(m, n) * splits;
    let bindings = [
        a.buffer("matmul")?,
        b.buffer("matmul")?,
        c.buffer("matmul")?,
    ];
    a.gpu().run(tiled(tile), &params, &bindings, groups)?;
    if splits == 1 {
        return Ok(c.reshaped([m, n]));
    }
    sum::forward(&c, 1.0)
}

struct Rule {
    a: Option<Tensor>,
    b: Option<Tensor>,
    transpose: Transpose,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dc: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        use Transpose::{Nn, Nt, Tn};
        let da = self.b.map(|b| match self.transpose {
            Nn => product(dc, &b, Nt),
            Nt => product(dc, &b, Nn),
            Tn => product(&b, dc, Nt),
        });
        let db = self.a.map(|a| match self.transpose {
            Nn => product(&a, dc, Tn),
            Nt => product(dc, &a, Tn),
            Tn => product(&a, dc, Nn),
        });
        Ok(vec![
            da.transpose()?.map(Gradient::from),
            db.transpose()?.map(Gradient::from),
        ])
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |transpose: Transpose, m: usize, n: usize, k: usize| {
        let (a, b) = match transpose {
            Transpose::Nn => ([m, k], [k, n]),
            Transpose::Nt => ([m, k], [n, k]),
            Transpose::Tn => ([k, m], [k, n]),
        };
        Case::new(
            "matmul",
            format!("{transpose:?} {m}x{n}x{k}"),
            [Input::normal(a), Input::normal(b)],
            move |tape, v| matmul(tape, &v[0], &v[1], transpose),
            move |v| {
                let p = plan(&a.into(), &b.into(), transpose).expect("the shapes of this case fit");
                let at = |row: u32, column: u32| (row as usize, column as usize);
                let ((ar, ac), (br, bc)) = (at(p.a_row, p.a_column), at(p.b_row, p.b_column));
                (0..m * n)
                    .map(|i| {
                        let (row, column) = (i / n, i % n);
                        (0..k)
                            .map(|j| v[0][row * ar + j * ac] * v[1][j * br + column * bc])
                            .sum()
                    })
                    .collect()
            },
        )
    };
    use Transpose::{Nn, Nt, Tn};
    vec![
        case(Nn, 1, 1, 1),
        case(Nn, 65, 63, 17),
        case(Nt, 64, 67, 15),
        case(Tn, 63, 129, 33),
        case(Nt, 3, 5, SPAN + 7),
        // Whole tiles, which are not looked at element by element, and what is left of the depth.
        case(Nn, 64, 128, 40),
        case(Nt, 130, 70, 37),
        case(Tn, 64, 65, 16),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Transpose, plan};

    #[test]
    fn inner_dimensions_must_agree() {
        let (a, b) = ([2, 3].into(), [3, 4].into());
        assert!(plan(&a, &b, Transpose::Nn).is_ok());
        assert!(plan(&a, &b, Transpose::Nt).is_err());
        assert!(plan(&a, &b, Transpose::Tn).is_err());
        assert!(plan(&[2, 3, 1].into(), &b, Transpose::Nn).is_err());
    }
}
