//! The weights of a convolution turned round, for the gradient of its input, made where they are used from those that the
//! layer has: F(4x4) holds four times what a kernel has, and held twice that is most of what a step takes.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::context::Context;
use crate::error::Result;
use crate::gpu::Access::{ReadTexture, Write};
use crate::gpu::{Kernel, Texture};

/// Outputs along a tile's side that it is done for. F(6x6) is for few channels, whose weights are small.
pub(super) const M: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    from_outs: u32,
    from_blocks: u32,
    outs: u32,
    blocks: u32,
    channels: u32,
    pitch: u32,
}

const TURN: Kernel = Kernel::new::<Params>(
    "winograd.turn",
    "conv/planes/winograd_turn.wgsl",
    "forward",
    &[ReadTexture, Write],
);

pub(super) fn kernel(lanes: usize) -> &'static Kernel {
    TURN.variant(format!("winograd.turn.{lanes}"), |kernel| {
        kernel.constant("LANES", lanes)
    })
}

/// How transformed weights lie in their texture.
#[derive(Clone, Copy)]
pub(super) struct Laid {
    /// Quads of input channels.
    pub(super) quads: usize,
    /// Output channels of a workgroup.
    pub(super) outs: usize,
    /// Of so many output channels.
    pub(super) blocks: usize,
}

/// The weights of a layer, to be read the other way round.
pub(super) struct Turned {
    pub(super) weights: Arc<Texture>,
    pub(super) laid: Laid,
}

impl Turned {
    /// Writes the weights of the turned convolution, which gives `channels`, into scratch memory, where they are until the
    /// next ones come. The caller holds the scratch textures.
    pub(super) fn write(
        &self,
        context: &Context,
        to: Laid,
        channels: usize,
    ) -> Result<Arc<Texture>> {
        let Context {
            gpu,
            lanes,
            scratch,
            ..
        } = context;
        let positions = (M + 2) * (M + 2);
        let size = [to.quads * to.outs, positions * to.blocks];
        let turned = scratch.take_roomy(gpu, "turned weights", size)?;
        let params = Params {
            from_outs: self.laid.outs as u32,
            from_blocks: self.laid.blocks as u32,
            outs: to.outs as u32,
            blocks: to.blocks as u32,
            channels: channels as u32,
            pitch: turned.pitch() as u32,
        };
        let grid = [to.blocks * to.outs / lanes, to.quads, 1];
        let bindings = [(&*self.weights).into(), (&*turned).into()];
        gpu.run_grid(kernel(*lanes), &params, &bindings, grid)?;
        Ok(turned)
    }
}
