//! A frozen convolution by Winograd's minimal filtering in rows, its weight transformed once: input transform, one
//! product for each position of a tile, output transform with bias and ReLU. In chunks of tiles that bound the memory.

use bytemuck::{Pod, Zeroable};
use half::f16;
use rayon::prelude::*;

use super::choice::Site;
use super::direct::{tiled, upload};
use crate::conv::weights::{G4, G6, transform, transforms_file};
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::check_trips;
use crate::gpu::{Gpu, Kernel, Tile};
use crate::ops::relu::Floor;
use crate::tensor::{Precision, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    tiles: u32,
    tiles_w: u32,
    tiles_image: u32,
    channels: u32,
    padded: u32,
    h: u32,
    w: u32,
    scale: f32,
    floor: Floor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ProductParams {
    positions: u32,
    depth: u32,
    out_quads: u32,
    tile_quads: u32,
}

const INPUT: Kernel = Kernel::new::<Params>(
    "rows_input",
    "conv/rows/winograd_rows_input.wgsl",
    "forward",
    &[Read, Write],
);
const OUTPUT: Kernel = Kernel::new::<Params>(
    "rows_output",
    "conv/rows/winograd_rows_output.wgsl",
    "forward",
    &[Read, Read, Write],
);
const PRODUCT: Kernel = Kernel::new::<ProductParams>(
    "winograd.rows_product",
    "conv/rows/winograd_rows_product.wgsl",
    "forward",
    &[Read, Read, Write],
);

/// A transform of F(m x m, 3x3), one number at a time.
fn transforming(kernel: &Kernel, m: usize) -> &'static Kernel {
    kernel.variant(format!("winograd{m}.{}.1", kernel.name), |kernel| {
        kernel
            .import("transforms", transforms_file(m))
            .import("value", "snippets/value_f32.wgsl")
    })
}

/// The output transform for planes of rows of `w`: it stores as much at a time as such a row and a tile's line are whole
/// multiples of, or a GPU writes a part of what it moves anyway.
fn output(m: usize, w: usize) -> &'static Kernel {
    let (run, file) = match (m, w % 4) {
        (4, 0) => (4, "snippets/run4.wgsl"),
        (_, 0 | 2) => (2, "snippets/run2.wgsl"),
        _ => (1, "snippets/run1.wgsl"),
    };
    let kernel = transforming(&OUTPUT, m);
    kernel.variant(format!("{}.{run}", kernel.name), |kernel| {
        kernel.import("run", file)
    })
}

fn product_kernel(precision: Precision, tile: Tile) -> &'static Kernel {
    tiled(&PRODUCT, precision, tile)
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    for m in [4, 6] {
        kernels.push(transforming(&INPUT, m));
        let widths: &[usize] = if m == 4 { &[1, 2, 4] } else { &[1, 2] };
        kernels.extend(widths.iter().map(|&w| output(m, w)));
    }
    for precision in [Precision::F32, Precision::F16] {
        kernels.extend(Tile::ALL.map(|tile| product_kernel(precision, tile)));
    }
    kernels
}

/// What [`Winograd::run`] of F(m x m, 3x3) dispatches.
pub(super) fn dispatched(site: &Site, tile: Tile, m: usize) -> Vec<&'static Kernel> {
    vec![
        transforming(&INPUT, m),
        product_kernel(site.precision, tile),
        output(m, site.side),
    ]
}

/// The most memory of a chunk's transformed input or output.
const CHUNK: u64 = 256 << 20;
/// Channels that a product goes through for so many: whole steps of every tile.
fn deep(cin: usize) -> usize {
    cin.next_multiple_of(Tile::DEEPEST)
}

/// What the largest transformed weight is scaled to in f16, so that the small ones keep their digits.
const F16_LARGEST: f32 = 16_384.0;

/// The weight as the product takes it: [positions, cin, cout], in whole depth steps of whole quads.
#[derive(Clone)]
pub(super) struct Winograd {
    site: Site,
    m: usize,
    weight: Tensor,
    /// What the stored weight has to be multiplied by.
    scale: f32,
}

impl Winograd {
    /// F(m x m, 3x3), m 4 or 6, from [cout, cin, 3, 3].
    pub(super) fn new(gpu: &Gpu, site: Site, m: usize, weight: &[f32]) -> Result<Self> {
        let (columns, positions) = (site.cout.next_multiple_of(4), (m + 2) * (m + 2));
        let depth = deep(site.cin);
        // Channels first, which cores can share; then positions first, as the product reads them.
        let mut channels = vec![0.0; site.cin * positions * columns];
        channels
            .par_chunks_mut(positions * columns)
            .enumerate()
            .for_each(|(c, rows)| {
                for o in 0..site.cout {
                    let kernel = &weight[(o * site.cin + c) * 9..][..9];
                    let put = |position: usize, value: f32| rows[position * columns + o] = value;
                    match m {
                        4 => transform(&G4, kernel, put),
                        _ => transform(&G6, kernel, put),
                    }
                }
            });
        let mut scale = 1.0;
        if site.precision == Precision::F16 {
            let largest = channels.iter().fold(0f32, |m, v| m.max(v.abs()));
            if largest.is_normal() && largest < f32::from(f16::MAX) * F16_LARGEST {
                scale = (largest / F16_LARGEST).log2().ceil().exp2();
            }
        }
        let mut rows = vec![0.0; positions * depth * columns];
        rows.par_chunks_mut(depth * columns)
            .enumerate()
            .for_each(|(position, rows)| {
                for (c, row) in rows.chunks_mut(columns).take(site.cin).enumerate() {
                    let from = &channels[(c * positions + position) * columns..][..columns];
                    row.iter_mut()
                        .zip(from)
                        .for_each(|(to, from)| *to = from / scale);
                }
            });
        let weight = upload(gpu, site.precision, [positions * depth, columns], &rows)?;
        Ok(Winograd {
            site,
            m,
            weight,
            scale,
        })
    }

    /// [N, cin, H, W] -> [N, cout, H, W] with `bias`, and what `floor` says.
    pub(super) fn run(
        &self,
        x: &Tensor,
        bias: &Tensor,
        floor: Floor,
        tile: Tile,
    ) -> Result<Tensor> {
        let (gpu, shape) = (x.gpu(), x.shape());
        let Site { cin, cout, .. } = self.site;
        let [n, h, w] = [shape[0], shape[2], shape[3]];
        let (positions, padded) = ((self.m + 2).pow(2), cout.next_multiple_of(4));
        let depth = deep(cin);
        check_trips(gpu, "conv2d", tile.trips(depth))?;
        let y = Tensor::empty(gpu, [n, cout, h, w])?;
        let tiles_image = h.div_ceil(self.m) * w.div_ceil(self.m);
        let tiles = n * tiles_image;
        let tile_bytes = (positions * depth.max(padded) * 4) as u64;
        let most = (CHUNK.min(gpu.max_binding()) / tile_bytes) as usize / 4 * 4;
        let chunk = tiles.next_multiple_of(4).min(most.max(4));
        let v = Tensor::empty(gpu, [positions, depth, chunk])?;
        let m = Tensor::empty(gpu, [positions, padded, chunk])?;
        for first in (0..tiles).step_by(chunk) {
            let count = (tiles - first).next_multiple_of(4).min(chunk);
            let params = |channels: usize, padded: usize| Params {
                first: first as u32,
                count: count as u32,
                tiles: tiles as u32,
                tiles_w: w.div_ceil(self.m) as u32,
                tiles_image: tiles_image as u32,
                channels: channels as u32,
                padded: padded as u32,
                h: h as u32,
                w: w as u32,
                scale: self.scale,
                floor,
            };
            let bindings = [x.buffer("conv2d")?, v.buffer("conv2d")?];
            let groups = (depth * count).div_ceil(64);
            gpu.run(
                transforming(&INPUT, self.m),
                &params(cin, depth),
                &bindings,
                groups,
            )?;
            let product = ProductParams {
                positions: positions as u32,
                depth: depth as u32,
                out_quads: (padded / 4) as u32,
                tile_quads: (count / 4) as u32,
            };
            let bindings = [
                self.weight.buffer("conv2d")?,
                v.buffer("conv2d")?,
                m.buffer("conv2d")?,
            ];
            let groups = tile.groups(padded, count) * positions;
            let kernel = product_kernel(self.site.precision, tile);
            gpu.run(kernel, &product, &bindings, groups)?;
            let bindings = [
                m.buffer("conv2d")?,
                bias.buffer("conv2d")?,
                y.buffer("conv2d")?,
            ];
            let groups = (cout * count).div_ceil(64);
            gpu.run(output(self.m, w), &params(cout, padded), &bindings, groups)?;
        }
        Ok(y)
    }
}
