//! The size of a tensor along each dimension, row-major (the last dimension is contiguous).

use std::fmt;
use std::ops::Index;

/// Dimensions of a tensor, outermost first. A scalar is `[1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// Whether some dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements in one step along the first dimension.
    pub fn row_len(&self) -> usize {
        self.0[1..].iter().product()
    }
}

impl Index<usize> for Shape {
    type Output = usize;

    fn index(&self, dim: usize) -> &usize {
        &self.0[dim]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape(dims.to_vec())
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape(dims.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Shape(dims)
    }
}
