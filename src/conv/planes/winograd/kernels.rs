//! The kernels of this family's Winograd, and which sizes of them exist.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::Kernel;
use crate::ops::relu::Floor;
use crate::tensor::planes::for_lanes;

/// Tiles of a workgroup where there are no more, in lanes.
pub(super) const FEW: usize = 2;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) first: u32,
    pub(super) tiles: u32,
    pub(super) tiles_w: u32,
    pub(super) tiles_image: u32,
    pub(super) in_quads: u32,
    pub(super) out_quads: u32,
    pub(super) blocks: u32,
    pub(super) size: u32,
    pub(super) size_out: u32,
    pub(super) zero: u32,
    pub(super) floor: Floor,
    pub(super) channel_quads: u32,
    pub(super) width: u32,
    pub(super) pitch: u32,
    pub(super) quad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct UpParams {
    pub(super) outs: u32,
    pub(super) cout: u32,
    pub(super) cin: u32,
    pub(super) first: u32,
    pub(super) blocks: u32,
    pub(super) pitch: u32,
    pub(super) scale: f32,
}

const INPUT: [Kernel; 2] = [
    Kernel::new::<Params>(
        "winograd4.input",
        concat!(
            include_str!("../../../../shaders/snippets/packed.wgsl"),
            include_str!("../../../../shaders/snippets/winograd4.wgsl"),
            include_str!("../../../../shaders/conv/planes/winograd_input.wgsl")
        ),
        "forward",
        &[ReadTexture, Write],
    ),
    Kernel::new::<Params>(
        "winograd6.input",
        concat!(
            include_str!("../../../../shaders/snippets/packed.wgsl"),
            include_str!("../../../../shaders/snippets/winograd6.wgsl"),
            include_str!("../../../../shaders/conv/planes/winograd_input.wgsl")
        ),
        "forward",
        &[ReadTexture, Write],
    ),
];
const PRODUCT: Kernel = Kernel::new::<Params>(
    "winograd.product",
    concat!(
        include_str!("../../../../shaders/snippets/packed.wgsl"),
        include_str!("../../../../shaders/conv/planes/winograd_product.wgsl")
    ),
    "forward",
    &[ReadTexture, ReadTexture, Write],
);
/// Without a mask, then with one.
const OUTPUT: [[Kernel; 2]; 2] = [
    [
        Kernel::new::<Params>(
            "winograd4.output",
            concat!(
                include_str!("../../../../shaders/snippets/packed.wgsl"),
                include_str!("../../../../shaders/snippets/winograd4.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_no_mask.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_output.wgsl")
            ),
            "forward",
            &[ReadTexture, Write, Read],
        ),
        Kernel::new::<Params>(
            "winograd6.output",
            concat!(
                include_str!("../../../../shaders/snippets/packed.wgsl"),
                include_str!("../../../../shaders/snippets/winograd6.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_no_mask.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_output.wgsl")
            ),
            "forward",
            &[ReadTexture, Write, Read],
        ),
    ],
    [
        Kernel::new::<Params>(
            "winograd4.output.mask",
            concat!(
                include_str!("../../../../shaders/snippets/packed.wgsl"),
                include_str!("../../../../shaders/snippets/winograd4.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_mask.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_output.wgsl")
            ),
            "forward",
            &[ReadTexture, Write, Read, Write],
        ),
        Kernel::new::<Params>(
            "winograd6.output.mask",
            concat!(
                include_str!("../../../../shaders/snippets/packed.wgsl"),
                include_str!("../../../../shaders/snippets/winograd6.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_mask.wgsl"),
                include_str!("../../../../shaders/conv/planes/winograd_output.wgsl")
            ),
            "forward",
            &[ReadTexture, Write, Read, Write],
        ),
    ],
];
const UP: [Kernel; 2] = [
    Kernel::new::<UpParams>(
        "winograd4.up",
        concat!(
            include_str!("../../../../shaders/snippets/packed.wgsl"),
            include_str!("../../../../shaders/snippets/winograd4.wgsl"),
            include_str!("../../../../shaders/conv/planes/winograd_up.wgsl")
        ),
        "forward",
        &[Read, Write],
    ),
    Kernel::new::<UpParams>(
        "winograd6.up",
        concat!(
            include_str!("../../../../shaders/snippets/packed.wgsl"),
            include_str!("../../../../shaders/snippets/winograd6.wgsl"),
            include_str!("../../../../shaders/conv/planes/winograd_up.wgsl")
        ),
        "forward",
        &[Read, Write],
    ),
];

pub(super) fn input_kernel(lanes: usize, m: usize) -> &'static Kernel {
    for_lanes(&INPUT[usize::from(m == 6)], lanes)
}

pub(super) fn up_kernel(lanes: usize, m: usize) -> &'static Kernel {
    for_lanes(&UP[usize::from(m == 6)], lanes)
}

pub(super) fn product_kernel(lanes: usize, outs: usize, groups: usize) -> &'static Kernel {
    PRODUCT.sized(
        format!("{}.{lanes}x{outs}x{groups}", PRODUCT.name),
        || format!("const LANES: u32 = {lanes}u;\nconst OUTS: u32 = {outs}u;\nconst GROUPS: u32 = {groups}u;\n"),
    )
}

pub(super) fn output_kernel(lanes: usize, m: usize, pool: bool, mask: bool) -> &'static Kernel {
    let kernel = &OUTPUT[usize::from(mask)][usize::from(m == 6)];
    kernel.sized(
        format!("{}.{lanes}{}", kernel.name, if pool { ".pool" } else { "" }),
        || format!("const LANES: u32 = {lanes}u;\nconst POOL: bool = {pool};\n"),
    )
}

pub(in crate::conv::planes) fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    for m in [4, 6] {
        kernels.extend([input_kernel(8, m), up_kernel(8, m)]);
        for mask in [false, true] {
            kernels.extend([
                output_kernel(8, m, false, mask),
                output_kernel(8, m, true, mask),
            ]);
        }
    }
    kernels.extend([product_kernel(8, 32, 7), product_kernel(8, 32, FEW)]);
    kernels
}
