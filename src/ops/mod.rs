//! The operations: shape checks, dispatch and backward rule of one op a file, beside the shader of the
//! same stem in `shaders/ops/` and the reference that [`crate::check`] holds it against.
//!
//! Adding an op: write `shaders/ops/<op>.wgsl` (entry points `forward`, `backward`), `ops/<op>.rs` (`Params`,
//! `kernels()`, the public function, its rule, `cases()`), and add its name to the list below.

use crate::check::Case;
use crate::gpu::Kernel;

macro_rules! ops {
    ($($op:ident)*) => {
        $(pub mod $op;)*

        /// Every kernel of every op.
        pub(crate) fn kernels() -> Vec<&'static Kernel> {
            [$($op::kernels()),*].concat()
        }

        /// Every op's cases for the self-test.
        pub(crate) fn cases() -> Vec<Case> {
            [$($op::cases()),*].into_iter().flatten().collect()
        }
    };
}

ops! {
    add scale scale_rows sum reshape relu bias max_pool2d adaptive_avg_pool2d matmul linear low_rank conv2d
    low_rank_relu cross_entropy mse_loss dropout concat concat_columns planes
}

pub use adaptive_avg_pool2d::adaptive_avg_pool2d;
pub use add::{add, axpy};
pub use bias::{bias, bias_relu};
pub use concat::concat;
pub use concat_columns::concat_columns;
pub use conv2d::{Conv2d, conv2d};
pub use cross_entropy::{Criterion, Targets, balanced, cross_entropy, cross_entropy_by};
pub use dropout::{Dropout, dropout};
pub use linear::linear;
pub(crate) use linear::{Frozen, linear_frozen};
pub use low_rank::low_rank;
pub(crate) use low_rank_relu::{Kept, Share, low_rank_relu};
pub use matmul::{Transpose, matmul};
pub use max_pool2d::max_pool2d;
pub use mse_loss::mse_loss;
pub(crate) use planes::{to_planes, to_rows};
pub use relu::relu;
pub use reshape::reshape;
pub use scale::scale;
pub use scale_rows::scale_rows;
pub use sum::sum;
