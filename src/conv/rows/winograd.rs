//! A frozen convolution by Winograd's minimal filtering in rows, its weight transformed once: input transform, one
//! product for each position of a tile, output transform with bias and ReLU. In chunks of tiles that bound the memory.

use bytemuck::{Pod, Zeroable};
use half::f16;
use rayon::prelude::*;

use super::choice::Site;
use super::direct::{tiled, upload};
use super::ending::{Ended, Ending, Pool};
use crate::conv::weights::{G4, G6, transform, transforms_file};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::check_trips;
use crate::gpu::{Access, Gpu, Kernel, Tile};
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
    rank: u32,
    share: f32,
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

/// The output transform with what follows it, for planes of rows of `w`: it stores as much at a time as such a row and a
/// tile's line are whole multiples of, or a GPU writes a part of what it moves anyway.
fn output(m: usize, w: usize, pool: Pool, adapted: bool) -> &'static Kernel {
    let (run, file) = match (m, w % 4) {
        (4, 0) => (4, "snippets/run4.wgsl"),
        (_, 0 | 2) => (2, "snippets/run2.wgsl"),
        _ => (1, "snippets/run1.wgsl"),
    };
    let (name, entry, bindings): (_, _, &[Access]) = match (pool, adapted) {
        (Pool::No, false) => ("rows_output", "forward", &[Read, Read, Write]),
        (Pool::No, true) => (
            "adapted_output",
            "forward",
            &[Read, Read, Write, Read, Read],
        ),
        (Pool::Largest, false) => ("rows_pooled", "forward_pooled", &[Read, Read, Write]),
        (Pool::Largest, true) => (
            "adapted_pooled",
            "forward_pooled",
            &[Read, Read, Write, Read, Read],
        ),
        (Pool::Kept, false) => ("rows_kept", "forward_kept", &[Read, Read, Write, Write]),
        (Pool::Kept, true) => (
            "adapted_kept",
            "forward_kept",
            &[Read, Read, Write, Read, Read, Write],
        ),
    };
    let share = match adapted {
        false => "conv/rows/share_none.wgsl",
        true => "conv/rows/share_low_rank.wgsl",
    };
    let kernel =
        Kernel::new::<Params>(name, "conv/rows/winograd_rows_output.wgsl", entry, bindings);
    let kernel = transforming(&kernel, m);
    kernel.variant(format!("{}.{run}", kernel.name), |kernel| {
        kernel.import("run", file).import("share", share)
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
        for pool in [Pool::No, Pool::Largest, Pool::Kept] {
            for adapted in [false, true] {
                kernels.extend(widths.iter().map(|&w| output(m, w, pool, adapted)));
            }
        }
    }
    for precision in [Precision::F32, Precision::F16] {
        kernels.extend(Tile::ALL.map(|tile| product_kernel(precision, tile)));
    }
    kernels
}

/// What [`Winograd::run`] of F(m x m, 3x3) dispatches.
pub(super) fn dispatched(
    site: &Site,
    tile: Tile,
    m: usize,
    pool: Pool,
    adapted: bool,
) -> Vec<&'static Kernel> {
    vec![
        transforming(&INPUT, m),
        product_kernel(site.precision, tile),
        output(m, site.side, pool, adapted),
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

    /// [N, cin, H, W] -> `ending` of [N, cout, H, W].
    pub(super) fn run(&self, x: &Tensor, ending: &Ending, tile: Tile) -> Result<Ended> {
        let (gpu, shape) = (x.gpu(), x.shape());
        let Site { cin, cout, .. } = self.site;
        let [n, h, w] = [shape[0], shape[2], shape[3]];
        let (positions, padded) = ((self.m + 2).pow(2), cout.next_multiple_of(4));
        let depth = deep(cin);
        check_trips(gpu, "conv2d", tile.trips(depth))?;
        let [y_h, y_w] = ending.pool.sides([h, w]);
        let y = Tensor::empty(gpu, [n, cout, y_h, y_w])?;
        let keeps = ending.pool == Pool::Kept;
        let winners = keeps.then(|| Tensor::empty(gpu, y.shape().clone()));
        let winners = winners.transpose()?;
        let share = ending.share.as_ref();
        if let Some(share) = share {
            let [hidden, b] = [share.hidden, share.b].map(Tensor::shape);
            let rank = b[1];
            if hidden.dims() != [n, rank, h, w] || b.dims() != [cout, rank, 1, 1] {
                let expected = format!("h [{n}, R, {h}, {w}] and B [{cout}, R, 1, 1]");
                return Err(Error::shapes("conv2d", expected, hidden, b));
            }
            check_trips(gpu, "conv2d", rank * self.m)?;
        }
        let output = output(self.m, w, ending.pool, share.is_some());
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
                floor: ending.floor,
                rank: share.map_or(0, |share| share.b.shape()[1]) as u32,
                share: share.map_or(0.0, |share| share.scale),
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
            let mut bindings = vec![
                m.buffer("conv2d")?,
                ending.bias.buffer("conv2d")?,
                y.buffer("conv2d")?,
            ];
            if let Some(share) = share {
                bindings.extend([share.hidden.buffer("conv2d")?, share.b.buffer("conv2d")?]);
            }
            if let Some(winners) = &winners {
                bindings.push(winners.buffer("conv2d")?);
            }
            let groups = (cout * count).div_ceil(64);
            gpu.run(output, &params(cout, padded), &bindings, groups)?;
        }
        Ok(Ended { y, winners })
    }
}
