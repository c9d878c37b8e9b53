//! The kernels of `linear`, and which sizes of them exist.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{IMAGE_WIDTH, Kernel};
use crate::tensor::Precision;

/// Quads of columns of a thread of `backward_x`, for a weight that is an image.
pub(super) const IMAGE_GROUPS: usize = 4;
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) out: u32,
    pub(super) out_start: u32,
    pub(super) out_total: u32,
    pub(super) span: u32,
    pub(super) first: u32,
    pub(super) split: u32,
    pub(super) accumulate: u32,
    pub(super) alpha: f32,
}

const FILE: &str = "ops/linear.wgsl";
pub(super) const FORWARD: Kernel =
    Kernel::new::<Params>("linear.forward", FILE, "forward", &[Read, Read, Write]);
pub(super) const FORWARD_QUADS: Kernel = Kernel::new::<Params>(
    "linear.forward_quads",
    FILE,
    "forward_quads",
    &[Read, Read, Write],
);
pub(super) const FORWARD_IMAGE: Kernel = Kernel::new::<Params>(
    "linear.forward_image",
    "ops/linear_image.wgsl",
    "forward",
    &[ReadTexture, ReadTexture, Write],
);
pub(super) const BACKWARD_X_IMAGE: Kernel = Kernel::new::<Params>(
    "linear.backward_x_image",
    "ops/linear_image_backward.wgsl",
    "backward_x",
    &[Read, ReadTexture, Write],
);
pub(super) const BACKWARD_X: Kernel = Kernel::new::<Params>(
    "linear.backward_x",
    FILE,
    "backward_x",
    &[Read, Read, Write],
);
pub(super) const BACKWARD_X_QUADS: Kernel = Kernel::new::<Params>(
    "linear.backward_x_quads",
    FILE,
    "backward_x_quads",
    &[Read, Read, Write],
);
/// `kernel` for `rows` of x and `outs` of w at a time, and w in f32.
pub(super) fn sized(kernel: &Kernel, rows: usize, outs: usize) -> &'static Kernel {
    stored(kernel, Precision::F32, rows, outs)
}

/// The same for w in `precision`.
pub(super) fn stored(
    kernel: &Kernel,
    precision: Precision,
    rows: usize,
    outs: usize,
) -> &'static Kernel {
    let name = format!("{}.{precision}.{rows}x{outs}", kernel.name);
    kernel.variant(name, |kernel| {
        kernel
            .import("stored", precision.stored())
            .constant("ROWS", rows)
            .constant("OUTS", outs)
    })
}

/// `forward` for operands that are images, on a device whose subgroups have `lanes`.
pub(super) fn image_kernel(lanes: usize, rows: usize, outs: usize) -> &'static Kernel {
    FORWARD_IMAGE.variant(
        format!("linear.forward_image.{lanes}x{rows}x{outs}"),
        |kernel| {
            kernel
                .constant("LANES", lanes)
                .constant("ROWS", rows)
                .constant("OUTS", outs)
                .constant("IMAGE_WIDTH", IMAGE_WIDTH)
        },
    )
}

/// `backward_x` for a weight that is an image.
pub(super) fn image_backward_kernel(lanes: usize, rows: usize) -> &'static Kernel {
    BACKWARD_X_IMAGE.variant(
        format!("linear.backward_x_image.{lanes}x{rows}"),
        |kernel| {
            kernel
                .constant("LANES", lanes)
                .constant("ROWS", rows)
                .constant("GROUPS", IMAGE_GROUPS)
                .constant("IMAGE_WIDTH", IMAGE_WIDTH)
        },
    )
}

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    let wide = vec![
        image_kernel(8, 5, 5),
        image_backward_kernel(8, 5),
        sized(&FORWARD, 1, 4),
        sized(&FORWARD, 8, 4),
        sized(&FORWARD_QUADS, 5, 10),
        sized(&FORWARD_QUADS, 8, 4),
        sized(&FORWARD_QUADS, 8, 7),
        sized(&FORWARD_QUADS, 8, 2),
        sized(&FORWARD_QUADS, 4, 8),
        stored(&FORWARD_QUADS, Precision::F16, 8, 4),
        sized(&BACKWARD_X, 8, 4),
        sized(&BACKWARD_X_QUADS, 8, 4),
        sized(&BACKWARD_X_QUADS, 4, 4),
        stored(&BACKWARD_X_QUADS, Precision::F16, 8, 4),
    ];
    [wide, super::narrow::kernels()].concat()
}
