//! One convolution of a network with its LoRA, in either family: what is dispatched for it, and in what order.

use std::sync::Arc;

use super::arch::Layer;
use super::lora::LoraFactors;
use super::vgg::Vgg;
use crate::autograd::{Tape, Var};
use crate::conv::{planes, rows};
use crate::error::Result;
use crate::ops::{self, Conv2d, Share};

/// How every convolution's window moves.
pub(super) const SAME: Conv2d = Conv2d {
    stride: 1,
    padding: 1,
};

impl Vgg {
    /// Convolution `index` in planes, with bias, ReLU and pool.
    pub(super) fn convolve(
        &self,
        tape: &mut Tape,
        index: usize,
        conv: &Arc<planes::Layer>,
        x: &Var,
        lora: Option<&LoraFactors>,
    ) -> Result<Var> {
        let (Some(lora), Some(context)) = (lora, &self.software) else {
            return planes::convolve(tape, conv, x, None);
        };
        let dropped = lora.dropped(tape, x)?;
        let hidden = planes::down(tape, context, &dropped, &lora.a)?;
        let b = self.through_norm(tape, index, &lora.b)?;
        let inner = planes::Inner {
            hidden: &hidden,
            b: &b,
            scale: lora.scale,
        };
        planes::convolve(tape, conv, x, Some(inner))
    }

    /// The same in rows.
    pub(super) fn convolve_rows(
        &self,
        tape: &mut Tape,
        index: usize,
        conv: &Arc<rows::Layer>,
        x: &Var,
        lora: Option<&LoraFactors>,
    ) -> Result<Var> {
        let pooled = self.layers[index].layer.pool;
        let Some(lora) = lora else {
            let after = if pooled {
                rows::After::Pool
            } else {
                rows::After::Relu
            };
            return rows::convolve(tape, conv, x, after);
        };
        let dropped = match lora.drops() {
            true => Some(lora.dropped(tape, x)?),
            false => None,
        };
        let b = self.through_norm(tape, index, &lora.b)?;
        let lora = rows::Lora {
            dropped: dropped.as_ref(),
            a: &lora.a,
            b: &b,
            scale: lora.scale,
        };
        rows::adapted(tape, conv, x, &lora, pooled)
    }

    /// Convolution `index` in rows, from `y`, what the frozen weight and bias make of `x`, with ReLU and pool.
    pub(super) fn adapt(
        &self,
        tape: &mut Tape,
        index: usize,
        x: &Var,
        y: &Var,
        lora: &LoraFactors,
    ) -> Result<Var> {
        let x = lora.dropped(tape, x)?;
        let share = Share {
            hidden: &ops::conv2d(tape, &x, &lora.a, SAME)?,
            b: &self.through_norm(tape, index, &lora.b)?,
            scale: lora.scale,
        };
        ops::low_rank_relu(tape, y, &share, self.layers[index].layer.pool)
    }

    /// A LoRA's B [out, rank, 1, 1] of layer `index` as what it adds comes out of the layer's batch norm.
    fn through_norm(&self, tape: &mut Tape, index: usize, b: &Var) -> Result<Var> {
        match &self.layers[index].norm {
            Some(factors) => ops::scale_rows(tape, b, factors),
            None => Ok(b.clone()),
        }
    }
}

/// `y` after the layer's pool, where it has one.
pub(super) fn pool(tape: &mut Tape, layer: &Layer, y: Var) -> Result<Var> {
    match layer.pool {
        true => ops::max_pool2d(tape, &y, 2, 2),
        false => Ok(y),
    }
}
