//! 3x3 convolutions by Winograd's minimal filtering (Lavin & Gray 2015): F(6x6, 3x3) on large planes,
//! F(4x4, 3x3) on small ones. Weights are transformed once, in f64.
//!
//! A layer goes in chunks of tiles, small enough that a chunk's transforms stay in the second-level cache:
//! input transform, one product for each position of a tile, output transform with bias, ReLU and pool.

mod kernels;

use std::sync::Arc;

pub(super) use kernels::kernels;
use kernels::{FEW, Params, UpParams, input_kernel, output_kernel, product_kernel, up_kernel};

use super::context::Context;
use super::shape::Shape;
use super::site::Site;
use super::turned::{self, Laid, Turned};
use super::weights::transform_weights;
use crate::conv::weights::{G4, G6};
use crate::error::{Error, Result};
use crate::gpu::{Binding, Buffer, Texture};
use crate::ops::relu::Floor;
use crate::tensor::Tensor;
use crate::tensor::planes::planes;

/// A 3x3 convolution, stride 1, padding 1, with bias, ReLU and maybe a 2x2 max-pool.
pub(super) struct Winograd {
    shape: Shape,
    lanes: usize,
    weights: Weights,
    bias: Buffer,
    channels: usize,
    in_quads: usize,
    /// Quads of the weights after `in_quads` for what a LoRA adds.
    up_quads: usize,
    blocks: usize,
    pool: bool,
}

enum Weights {
    Held(Arc<Texture>),
    /// Made of another convolution's each time.
    Turned(Turned),
}

/// Texels that lie beside each other and are stored together: a store goes lane by lane on lavapipe, and what it does for
/// a lane costs as much as two texels.
const PAIR: usize = 2;

/// What a LoRA adds before the bias: `scale` times the 1x1 convolution of `hidden` with `b` [M, R, 1, 1].
pub(super) struct Up<'a> {
    pub(super) hidden: &'a Tensor,
    pub(super) b: &'a Tensor,
    pub(super) scale: f32,
}

/// What a convolution is run for.
#[derive(Clone, Copy)]
pub(super) enum Role<'a> {
    /// A layer's result, with its bias.
    Forward {
        bias: &'a [f32],
        /// Of the LoRA that may add to it, 0 for none.
        rank: usize,
        /// Whether what a gradient needs is kept.
        kept: bool,
    },
    /// The gradient of a layer's input.
    Backward,
}

impl Winograd {
    /// From [cout, cin, 3, 3], as `role` runs it, cut up as `shape` says.
    pub(super) fn new(
        context: &Context,
        site: Site,
        mut shape: Shape,
        weight: &[f32],
        role: Role,
    ) -> Result<Self> {
        let Site { cin, cout, .. } = site;
        let (bias, rank, kept) = match role {
            Role::Forward { bias, rank, kept } => (bias.to_vec(), rank, kept),
            Role::Backward => (vec![0.0; cout], 0, false),
        };
        shape.outs = context.outs(shape.outs, cout);
        let lanes = context.lanes;
        let (blocks, in_quads) = (cout.div_ceil(shape.outs), cin.div_ceil(4));
        let up_quads = rank.div_ceil(4);
        context.warm(&[
            input_kernel(lanes, shape.m),
            product_kernel(lanes, shape.outs, shape.groups),
            output_kernel(lanes, shape.m, site.pooled, kept),
        ]);
        let a = shape.m + 2;
        let weights = context.gpu.texture_from(
            "winograd weights",
            [(in_quads + up_quads) * shape.outs, a * a * blocks],
            |texels, pitch| match shape.m {
                4 => transform_weights(&G4, weight, [cout, cin], shape.outs, texels, pitch),
                _ => transform_weights(&G6, weight, [cout, cin], shape.outs, texels, pitch),
            },
        )?;
        Ok(Winograd {
            lanes,
            shape,
            weights: Weights::Held(Arc::new(weights)),
            bias: context.bias(&bias)?,
            channels: cout,
            in_quads,
            up_quads,
            blocks,
            pool: site.pooled,
        })
    }

    /// The gradient of this convolution's input, which is `site`, cut up as `shape` says, without weights of its own; `None`
    /// where it needs some.
    pub(super) fn turned(
        &self,
        context: &Context,
        site: Site,
        mut shape: Shape,
    ) -> Result<Option<Self>> {
        let weights = match &self.weights {
            Weights::Held(weights) if [self.shape.m, shape.m] == [turned::M; 2] => weights.clone(),
            _ => return Ok(None),
        };
        let (lanes, Site { cin, cout, .. }) = (self.lanes, site);
        shape.outs = context.outs(shape.outs, cout);
        context.warm(&[
            turned::kernel(lanes),
            input_kernel(lanes, shape.m),
            product_kernel(lanes, shape.outs, shape.groups),
            output_kernel(lanes, shape.m, site.pooled, false),
        ]);
        let laid = self.laid();
        Ok(Some(Winograd {
            lanes,
            shape,
            weights: Weights::Turned(Turned { weights, laid }),
            bias: context.bias(&vec![0.0; cout])?,
            channels: cout,
            in_quads: cin.div_ceil(4),
            up_quads: 0,
            blocks: cout.div_ceil(shape.outs),
            pool: site.pooled,
        }))
    }

    fn laid(&self) -> Laid {
        Laid {
            quads: self.in_quads,
            outs: self.shape.outs,
            blocks: self.blocks,
        }
    }

    /// The same cut up otherwise; `None` where other weights are needed for it.
    pub(super) fn shaped(self, shape: Shape) -> Option<Self> {
        let same = [self.shape.m, self.shape.outs] == [shape.m, shape.outs];
        same.then_some(Winograd { shape, ..self })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Pixels of one word of a mask.
    pub(super) fn m(&self) -> usize {
        self.shape.m
    }

    /// Bytes of the mask of `n` images of `size`.
    pub(super) fn mask_bytes(&self, n: usize, size: usize) -> u64 {
        (n * self.channels.div_ceil(4) * size * size.div_ceil(self.shape.m) * 4) as u64
    }

    /// Writes the weights of what a LoRA adds behind the frozen ones; returns its quads.
    fn write_up(&self, context: &Context, weights: &Texture, up: &Up) -> Result<usize> {
        let rank = up.b.shape()[1];
        let quads = rank.div_ceil(4);
        if quads > self.up_quads || up.b.shape()[0] != self.channels {
            return Err(Error::shape(
                "winograd",
                format!("B [{}, at most {}, 1, 1]", self.channels, self.up_quads * 4),
                up.b.shape().to_string(),
            ));
        }
        let params = UpParams {
            outs: self.shape.outs as u32,
            cout: self.channels as u32,
            cin: rank as u32,
            first: self.in_quads as u32,
            blocks: self.blocks as u32,
            pitch: weights.pitch() as u32,
            scale: up.scale,
        };
        let outs = self.blocks * self.shape.outs;
        let grid = [outs.div_ceil(self.lanes), quads, 1];
        let bindings = [up.b.buffer("winograd")?.into(), weights.into()];
        let kernel = up_kernel(self.lanes, self.shape.m);
        context.gpu.run_grid(kernel, &params, &bindings, grid)?;
        Ok(quads)
    }

    /// Planes `x` to planes `y`, which is as large as the pool leaves it. `mask` takes what the gradient needs.
    pub(super) fn forward(
        &self,
        context: &Context,
        x: &Tensor,
        up: Option<Up>,
        y: &Tensor,
        mask: Option<&Buffer>,
        floor: Floor,
    ) -> Result<()> {
        let Context {
            gpu, scratch, busy, ..
        } = context;
        let _mine = busy.lock().expect("no panic holds the scratch textures");
        let (x_texture, [n, cin, size]) = planes("winograd", x)?;
        let (y_texture, y_shape) = planes("winograd", y)?;
        let size_out = if self.pool { size / 2 } else { size };
        if cin.div_ceil(4) != self.in_quads || y_shape != [n, self.channels, size_out] {
            return Err(Error::shapes(
                "winograd",
                format!("[{n}, {}, {size_out}, {size_out}]", self.channels),
                x.shape(),
                y.shape(),
            ));
        }
        let weights = match &self.weights {
            Weights::Held(weights) => weights.clone(),
            Weights::Turned(turned) => turned.write(context, self.laid(), self.channels)?,
        };
        let up_quads = match &up {
            Some(up) => self.write_up(context, &weights, up)?,
            None => 0,
        };
        let Shape {
            m,
            groups,
            chunk,
            outs,
        } = self.shape;
        let tiles_w = size.div_ceil(m);
        let tiles = n * tiles_w * tiles_w;
        let positions = (m + 2) * (m + 2);
        let out_quads = self.blocks * outs / 4;
        let quads = self.in_quads + up_quads;
        // One image of small planes fills no more, and many channels need no wider image than the device has.
        let widest = gpu.limits().max_texture_dimension_2d as usize;
        let narrow = |groups: &usize| quads * groups * self.lanes * PAIR <= widest;
        let groups = match tiles <= FEW * self.lanes {
            true => FEW,
            false => [groups, 6, 5].into_iter().find(narrow).unwrap_or(FEW),
        };
        let width = groups * self.lanes;
        let chunk = chunk
            .next_multiple_of(width)
            .min(tiles.next_multiple_of(width));
        let v = scratch.take(
            gpu,
            "winograd inputs",
            [quads * width * PAIR, positions / PAIR * (chunk / width)],
        )?;
        let products = scratch.take(
            gpu,
            "winograd products",
            [chunk * PAIR, positions * out_quads / PAIR],
        )?;
        for first in (0..tiles).step_by(chunk) {
            let count = (tiles - first).min(chunk);
            let params = Params {
                first: first as u32,
                tiles: tiles as u32,
                tiles_w: tiles_w as u32,
                tiles_image: (tiles_w * tiles_w) as u32,
                in_quads: quads as u32,
                out_quads: out_quads as u32,
                blocks: (chunk / width) as u32,
                size: size as u32,
                size_out: size_out as u32,
                zero: 0,
                floor,
                channel_quads: self.channels.div_ceil(4) as u32,
                width: width as u32,
                pitch: (v.pitch() / PAIR) as u32,
                quad: 0,
            };
            let lane_groups = count.div_ceil(self.lanes);
            let input = input_kernel(self.lanes, m);
            let bindings = [x_texture.into(), (&*v).into()];
            let grid = [lane_groups, self.in_quads, 1];
            gpu.run_grid(input, &params, &bindings, grid)?;
            if let Some(up) = &up {
                let (hidden, _) = planes("winograd", up.hidden)?;
                let bindings = [hidden.into(), (&*v).into()];
                let quad = self.in_quads as u32;
                let grid = [lane_groups, up_quads, 1];
                gpu.run_grid(input, &Params { quad, ..params }, &bindings, grid)?;
            }
            let bindings = [(&*v).into(), (&*weights).into(), (&*products).into()];
            let grid = [count.div_ceil(width), self.blocks, positions];
            let pitch = (products.pitch() / PAIR) as u32;
            let product = product_kernel(self.lanes, outs, groups);
            gpu.run_grid(product, &Params { pitch, ..params }, &bindings, grid)?;
            let mut bindings = vec![(&*products).into(), y_texture.into(), (&self.bias).into()];
            bindings.extend(mask.map(Binding::from));
            let grid = [lane_groups, self.channels.div_ceil(4), 1];
            let pitch = y_texture.pitch() as u32;
            let output = output_kernel(self.lanes, m, self.pool, mask.is_some());
            gpu.run_grid(output, &Params { pitch, ..params }, &bindings, grid)?;
        }
        Ok(())
    }
}
