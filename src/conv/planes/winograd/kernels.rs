//! The kernels of this family's Winograd, and which sizes of them exist.

use bytemuck::{Pod, Zeroable};

use crate::conv::planes::shape::PRODUCTS;
use crate::conv::weights::transforms_file;
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Access, Kernel};
use crate::ops::relu::Floor;

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

const INPUT: Kernel = Kernel::new::<Params>(
    "winograd.input",
    "conv/planes/winograd_input.wgsl",
    "forward",
    &[ReadTexture, Write],
);
const PRODUCT: Kernel = Kernel::new::<Params>(
    "winograd.product",
    "conv/planes/winograd_product.wgsl",
    "forward",
    &[ReadTexture, ReadTexture, Write],
);
/// Without a mask, then with one.
const OUTPUT: [Kernel; 2] = [
    output(&[ReadTexture, Write, Read]),
    output(&[ReadTexture, Write, Read, Write]),
];
const UP: Kernel = Kernel::new::<UpParams>(
    "winograd.up",
    "conv/planes/winograd_up.wgsl",
    "forward",
    &[Read, Write],
);

const fn output(bindings: &'static [Access]) -> Kernel {
    Kernel::new::<Params>(
        "winograd.output",
        "conv/planes/winograd_output.wgsl",
        "forward",
        bindings,
    )
}

/// `kernel` with what Winograd's transforms of F(m x m, 3x3) on four channels import.
fn transforms(kernel: Kernel, m: usize) -> Kernel {
    kernel
        .import("transforms", transforms_file(m))
        .import("value", "snippets/value_vec4f.wgsl")
}

pub(super) fn input_kernel(lanes: usize, m: usize) -> &'static Kernel {
    INPUT.variant(format!("winograd{m}.input.{lanes}"), |kernel| {
        transforms(kernel, m).constant("LANES", lanes)
    })
}

pub(super) fn up_kernel(lanes: usize, m: usize) -> &'static Kernel {
    UP.variant(format!("winograd{m}.up.{lanes}"), |kernel| {
        transforms(kernel, m).constant("LANES", lanes)
    })
}

pub(super) fn product_kernel(lanes: usize, outs: usize, groups: usize) -> &'static Kernel {
    PRODUCT.variant(
        format!("winograd.product.{lanes}x{outs}x{groups}"),
        |kernel| {
            kernel
                .constant("LANES", lanes)
                .constant("OUTS", outs)
                .constant("GROUPS", groups)
        },
    )
}

pub(super) fn output_kernel(lanes: usize, m: usize, pool: bool, mask: bool) -> &'static Kernel {
    let (named, file) = match mask {
        true => (".mask", "conv/planes/winograd_mask.wgsl"),
        false => ("", "conv/planes/winograd_no_mask.wgsl"),
    };
    let pooled = if pool { ".pool" } else { "" };
    OUTPUT[usize::from(mask)].variant(
        format!("winograd{m}.output{named}.{lanes}{pooled}"),
        |kernel| {
            transforms(kernel, m)
                .import("mask", file)
                .constant("LANES", lanes)
                .constant("POOL", pool)
        },
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
    let products = PRODUCTS.map(|[outs, groups]| product_kernel(8, outs, groups));
    kernels.extend(products);
    kernels.extend([32, 16].map(|outs| product_kernel(8, outs, FEW)));
    kernels
}
