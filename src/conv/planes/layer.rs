//! The ops of this family: a frozen convolution with its bias, ReLU and pool in one, which a LoRA may add to.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::context::Context;
use super::direct::{Direct, Layout, Sizes, conv};
use super::down::weight_gradient;
use super::site::{Needs, Site};
use super::tune::Tuner;
use super::winograd::{Role, Up, Winograd};
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::conv::weights::turn;
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Buffer, Kernel};
use crate::ops::relu::Floor;
use crate::tensor::Tensor;
use crate::tensor::planes::planes;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MaskParams {
    size: u32,
    size_out: u32,
    quads: u32,
    words: u32,
    pixels: u32,
    pitch: u32,
}

const UNMASK: Kernel = Kernel::new::<MaskParams>(
    "unmask",
    "conv/planes/unmask.wgsl",
    "forward",
    &[ReadTexture, Read, Write],
);
fn unmask_kernel(lanes: usize, m: usize, pool: bool) -> &'static Kernel {
    UNMASK.variant(
        format!("unmask.{lanes}x{m}{}", if pool { ".pool" } else { "" }),
        |kernel| {
            kernel
                .constant("LANES", lanes)
                .constant("M", m)
                .constant("POOL", pool)
        },
    )
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    vec![unmask_kernel(8, 4, false), unmask_kernel(8, 6, true)]
}

enum Forward {
    Direct(Direct),
    Winograd(Winograd),
}

/// A frozen 3x3 convolution, stride 1, padding 1, with bias, ReLU and maybe a 2x2 max-pool.
pub(crate) struct Layer {
    context: Arc<Context>,
    site: Site,
    rank: usize,
    forward: Forward,
    /// The same convolution turned round, for the gradient of its input.
    backward: Option<Winograd>,
}

impl Layer {
    /// From [cout, cin, 3, 3] and [cout].
    pub(crate) fn new(
        context: &Arc<Context>,
        tuner: &Tuner,
        site: Site,
        weight: &[f32],
        bias: &[f32],
        needs: Needs,
    ) -> Result<Self> {
        let Site { cin, cout, .. } = site;
        let trained = needs != Needs::default();
        let forward = if cin <= 4 && !site.pooled && !trained {
            Forward::Direct(Direct::new(context, [cout, cin], weight, bias)?)
        } else {
            let role = Role::Forward {
                bias,
                rank: needs.rank,
                kept: trained,
            };
            let shape = tuner.shape(&site);
            Forward::Winograd(Winograd::new(context, site, shape, weight, role)?)
        };
        let backward = || {
            let back = site.turned();
            let shape = tuner.shape(&back);
            let shared = match &forward {
                // Of these the weights are read for each image anew.
                _ if site.large_planes() => None,
                Forward::Winograd(winograd) => winograd.turned(context, back, shape)?,
                Forward::Direct(_) => None,
            };
            let held = || {
                let turned = turn(weight, [cout, cin]);
                Winograd::new(context, back, shape, &turned, Role::Backward)
            };
            shared.map_or_else(held, Ok)
        };
        let backward = needs.backward.then(backward).transpose()?;
        Ok(Layer {
            context: context.clone(),
            site,
            rank: needs.rank,
            forward,
            backward,
        })
    }

    /// The choice of the forward pass, as it is reported.
    pub(crate) fn choice(&self) -> String {
        match &self.forward {
            Forward::Direct(_) => "direct".into(),
            Forward::Winograd(winograd) => winograd.shape().to_string(),
        }
    }

    fn side_out(&self, size: usize) -> usize {
        if self.site.pooled { size / 2 } else { size }
    }
}

/// A LoRA's share of a convolution: its inner result, its factor B [M, R, 1, 1], and its scale.
pub(crate) struct Inner<'a> {
    pub(crate) hidden: &'a Var,
    pub(crate) b: &'a Var,
    pub(crate) scale: f32,
}

/// `pool(relu(w * x + bias + scale B h))`, all in planes: x [N, C, S, S] -> [N, M, S, S], or [N, M, S/2, S/2].
pub(crate) fn convolve(
    tape: &mut Tape,
    layer: &Arc<Layer>,
    x: &Var,
    inner: Option<Inner>,
) -> Result<Var> {
    let context = &*layer.context;
    let (_, [n, channels, size]) = planes("conv2d", &x.tensor)?;
    let rank = inner.as_ref().map_or(0, |i| i.b.tensor.shape()[1]);
    if channels != layer.site.cin || rank > layer.rank {
        return Err(Error::shape(
            "conv2d",
            format!("{} channels, rank at most {}", layer.site.cin, layer.rank),
            format!("{} of rank {rank}", x.tensor.shape()),
        ));
    }
    let tracked = x.is_tracked()
        || inner
            .as_ref()
            .is_some_and(|i| i.hidden.is_tracked() || i.b.is_tracked());
    let winograd = match &layer.forward {
        Forward::Direct(direct) if !tracked && inner.is_none() => {
            return Ok(Var::frozen(&direct.forward(context, &x.tensor)?));
        }
        Forward::Direct(_) => {
            return Err(Error::Usage(
                "this convolution was loaded without what its gradient needs".into(),
            ));
        }
        Forward::Winograd(winograd) => winograd,
    };
    let y = Tensor::planes(x.tensor.gpu(), [n, layer.site.cout, layer.side_out(size)])?;
    let mask = match tracked {
        true => Some(Arc::new(context.gpu.alloc(winograd.mask_bytes(n, size))?)),
        false => None,
    };
    let up = inner.as_ref().map(|i| Up {
        hidden: &i.hidden.tensor,
        b: &i.b.tensor,
        scale: i.scale,
    });
    winograd.forward(context, &x.tensor, up, &y, mask.as_deref(), Floor::RELU)?;
    let mut parents = vec![x];
    parents.extend(inner.iter().flat_map(|i| [i.hidden, i.b]));
    tape.record(y, &parents, || Rule {
        layer: layer.clone(),
        size,
        mask,
        inner: inner.as_ref().map(|i| Saved {
            hidden: i.b.is_tracked().then(|| i.hidden.tensor.clone()),
            b: i.b.tensor.clone(),
            scale: i.scale,
        }),
    })
}

struct Saved {
    hidden: Option<Tensor>,
    b: Tensor,
    scale: f32,
}

struct Rule {
    layer: Arc<Layer>,
    /// Side of the input's planes.
    size: usize,
    mask: Option<Arc<Buffer>>,
    inner: Option<Saved>,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let Rule {
            layer,
            size,
            mask,
            inner,
        } = *self;
        let context = &*layer.context;
        let mask = mask.expect("a tracked convolution keeps its mask");
        let dz = unmask(&layer, dy, &mask, size)?;
        let mut gradients = Vec::new();
        gradients.push(match (wanted[0], &layer.backward) {
            (false, _) => None,
            (true, Some(backward)) => {
                let dx = Tensor::planes(dz.gpu(), [dz.shape()[0], layer.site.cin, size])?;
                backward.forward(context, &dz, None, &dx, None, Floor::NONE)?;
                Some(dx.into())
            }
            (true, None) => {
                return Err(Error::Usage(
                    "this convolution was loaded without what the gradient of its input needs"
                        .into(),
                ));
            }
        });
        if let Some(Saved { hidden, b, scale }) = inner {
            let rank = b.shape()[1];
            gradients.push(if wanted[1] {
                let sizes = Sizes {
                    cout: rank,
                    cin: layer.site.cout,
                    side: 1,
                };
                let turned = Layout {
                    first: 0,
                    out: 1,
                    input: rank,
                    tap: 0,
                };
                Some(conv(context, &dz, &b, sizes, turned, scale)?.into())
            } else {
                None
            });
            gradients.push(match hidden.filter(|_| wanted[2]) {
                Some(hidden) => Some(weight_gradient(&dz, &hidden, 1, scale)?.into()),
                None => None,
            });
        }
        Ok(gradients)
    }
}

/// The gradient before pool and ReLU.
fn unmask(layer: &Layer, dy: &Tensor, mask: &Buffer, size: usize) -> Result<Tensor> {
    let Forward::Winograd(winograd) = &layer.forward else {
        unreachable!("only Winograd keeps a mask");
    };
    let context = &*layer.context;
    let (dy_texture, [n, channels, size_out]) = planes("conv2d", dy)?;
    let dz = Tensor::planes(dy.gpu(), [n, channels, size])?;
    let (dz_texture, _) = planes("conv2d", &dz)?;
    let params = MaskParams {
        size: size as u32,
        size_out: size_out as u32,
        quads: channels.div_ceil(4) as u32,
        words: size.div_ceil(winograd.m()) as u32,
        pixels: (n * size * size) as u32,
        pitch: dz_texture.pitch() as u32,
    };
    let grid = [
        (n * size * size).div_ceil(context.lanes),
        channels.div_ceil(4),
    ];
    let bindings = [dy_texture.into(), mask.into(), dz_texture.into()];
    let kernel = unmask_kernel(context.lanes, winograd.m(), layer.site.pooled);
    context.gpu.run_wide(kernel, &params, &bindings, grid)?;
    Ok(dz)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::suits;
    use super::super::tune::Tuner;
    use super::{Context, Layer, Needs, Site};
    use crate::gpu::{Gpu, Warmer};

    #[test]
    fn a_layer_of_small_planes_has_its_weights_once() {
        let Some(gpu) = Gpu::new().ok().filter(suits) else {
            return eprintln!("skipped: this machine's device is not one of this family");
        };
        let context = Context::new(&gpu, &Arc::new(Warmer::new(&gpu))).expect("a context");
        let tuner = Tuner::new(&gpu, None);
        let bytes = |side, backward| {
            let site = Site {
                cin: 64,
                cout: 64,
                side,
                pooled: false,
            };
            let before = gpu.pool_stats().live_bytes;
            let needs = Needs { backward, rank: 1 };
            let (weight, bias) = (vec![0.5; 64 * 64 * 9], vec![0.5; 64]);
            let layer = Layer::new(&context, &tuner, site, &weight, &bias, needs).expect("a layer");
            let bytes = gpu.pool_stats().live_bytes - before;
            drop(layer);
            bytes
        };
        let weights = 64 * 64 * 36 * 4;
        assert!(bytes(14, false) >= weights);
        assert!(bytes(14, true) < bytes(14, false) + weights / 4);
        // Of large planes, whose images go one by one, both ways.
        assert!(bytes(56, true) >= 2 * weights);
    }
}
