//! The operations: shape checks, dispatch and backward rule of one op a file, beside the shader of the
//! same stem in `shaders/` and the reference that [`crate::selftest`] holds it against.
//!
//! Adding an op: write `shaders/<op>.wgsl` (entry points `forward`, `backward`), `ops/<op>.rs` (`Params`,
//! `kernels()`, the public function, its rule, `cases()`), and add its name to the list below.

use crate::gpu::Kernel;
use crate::selftest::Case;

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
    add scale sum reshape relu bias max_pool2d adaptive_avg_pool2d matmul linear low_rank conv2d
    cross_entropy mse_loss dropout concat normalize
}

pub use adaptive_avg_pool2d::adaptive_avg_pool2d;
pub use add::{add, axpy};
pub use bias::bias;
pub use concat::concat;
pub use conv2d::{Conv2d, conv2d};
pub use cross_entropy::{Targets, cross_entropy};
pub use dropout::{Dropout, dropout};
pub use linear::linear;
pub(crate) use linear::linear_half;
pub use low_rank::low_rank;
pub use matmul::{Transpose, matmul};
pub use max_pool2d::max_pool2d;
pub use mse_loss::mse_loss;
pub(crate) use normalize::{crop_bytes, normalize};
pub use relu::relu;
pub use reshape::reshape;
pub use scale::scale;
pub use sum::sum;

/// The largest loop count, nested loops multiplied, that lavapipe runs: it ends loops silently after
/// 65,535 iterations of one invocation.
const MAX_TRIPS: usize = 65_535;

/// Refuses a loop that a software driver would cut short.
pub(crate) fn check_trips(gpu: &crate::Gpu, op: &'static str, trips: usize) -> crate::Result<()> {
    if gpu.is_software() && trips > MAX_TRIPS {
        return Err(crate::Error::Memory(format!(
            "{op}: {trips} loop iterations are more than the software driver runs ({MAX_TRIPS}): use smaller \
             tensors or a GPU"
        )));
    }
    Ok(())
}
