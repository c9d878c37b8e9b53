//! What a backward rule hands down: numbers, or the product that they would be.

use crate::error::{Error, Result};
use crate::tensor::arithmetic::outer;
use crate::tensor::{Shape, Tensor};

/// A gradient of a parameter or of an intermediate result.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// Its numbers.
    Dense(Tensor),
    /// `alpha left^T right`, not computed: [out, k] from left [n, out] and right [n, k]. The gradient of a weight is
    /// one for each batch, and an optimiser that forms it in its own kernel never stores it.
    Outer {
        /// The gradient of the layer's output, [n, out].
        left: Tensor,
        /// The layer's input, [n, k].
        right: Tensor,
        /// What the product is scaled by.
        alpha: f32,
    },
}

impl Gradient {
    /// Its shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the factors of a product are not two matrices of as many rows.
    pub fn shape(&self) -> Result<Shape> {
        match self {
            Gradient::Dense(tensor) => Ok(tensor.shape().clone()),
            Gradient::Outer { left, right, .. } => {
                let (l, r) = (left.shape(), right.shape());
                if l.rank() != 2 || r.rank() != 2 || l[0] != r[0] {
                    let expected = "left [N, out] and right [N, K] of an outer product";
                    return Err(Error::shapes("gradient", expected, l, r));
                }
                Ok([l[1], r[1]].into())
            }
        }
    }

    /// Its numbers, computed where they are not there yet.
    ///
    /// # Errors
    /// As [`Gradient::shape`], and what the device reported.
    pub fn dense(&self) -> Result<Tensor> {
        match self {
            Gradient::Dense(tensor) => Ok(tensor.clone()),
            Gradient::Outer { left, right, alpha } => {
                self.shape()?;
                outer(left, right, *alpha)
            }
        }
    }
}

impl From<Tensor> for Gradient {
    fn from(tensor: Tensor) -> Self {
        Gradient::Dense(tensor)
    }
}
