//! A frozen convolution as an implicit matrix product (`shaders/conv/rows/conv3x3.wgsl`).

use bytemuck::{Pod, Zeroable};

use super::choice::Site;
use crate::error::Result;
use crate::gpu::Access::{Read, Write};
use crate::gpu::check_trips;
use crate::gpu::{Gpu, Kernel, Tile};
use crate::ops::relu::Floor;
use crate::tensor::halves::{pack, too_large};
use crate::tensor::{Precision, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    cin: u32,
    cin_padded: u32,
    cout: u32,
    h: u32,
    w: u32,
    span: u32,
    floor: Floor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FinishParams {
    count: u32,
    splits: u32,
    cout: u32,
    plane: u32,
    floor: Floor,
}

const FORWARD: Kernel = Kernel::new::<Params>(
    "conv3x3.forward",
    "conv/rows/conv3x3.wgsl",
    "forward",
    &[Read, Read, Read, Write],
);
static FINISH: Kernel = Kernel::new::<FinishParams>(
    "conv3x3.finish",
    "conv/rows/conv3x3_finish.wgsl",
    "finish",
    &[Read, Read, Write],
);

/// A product of `tile` whose left factor is stored in `precision`.
pub(super) fn tiled(kernel: &Kernel, precision: Precision, tile: Tile) -> &'static Kernel {
    let stored = match precision {
        Precision::F32 => "",
        Precision::F16 => ".f16",
    };
    kernel.variant(format!("{}{stored}.{tile}", kernel.name), |kernel| {
        tile.give(kernel).import("stored", precision.stored())
    })
}

/// For a weight whose channels are padded, where `ragged`.
fn forward(precision: Precision, tile: Tile, ragged: bool) -> &'static Kernel {
    let more = if ragged { ".ragged" } else { "" };
    let kernel = FORWARD.variant(format!("{}{more}", FORWARD.name), |kernel| {
        kernel.constant("RAGGED", ragged)
    });
    tiled(kernel, precision, tile)
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = vec![&FINISH];
    for precision in [Precision::F32, Precision::F16] {
        for tile in Tile::ALL {
            kernels.push(forward(precision, tile, false));
        }
        kernels.push(forward(precision, Tile::MIDDLE, true));
        kernels.push(forward(precision, Tile::MIDDLE.at_depth(4), true));
    }
    for (side, lanes) in [(16, 32), (8, 8)] {
        let matrices = Tile::matrices(side, lanes).into_iter();
        kernels.extend(matrices.map(|tile| forward(Precision::F16, tile, false)));
    }
    kernels
}

/// What [`Direct::run`] dispatches.
pub(super) fn dispatched(site: &Site, tile: Tile, splits: usize) -> Vec<&'static Kernel> {
    match splits {
        1 => vec![forward(site.precision, tile, site.is_ragged())],
        _ => vec![forward(site.precision, tile, site.is_ragged()), &FINISH],
    }
}

/// The weight as the kernel takes it: [9 taps, padded channels in, channels out], whole quads.
#[derive(Clone)]
pub(super) struct Direct {
    site: Site,
    weight: Tensor,
}

impl Direct {
    /// From [cout, cin, 3, 3].
    pub(super) fn new(gpu: &Gpu, site: Site, weight: &[f32]) -> Result<Self> {
        let (cin, padded) = (site.cin, site.padded());
        let columns = site.cout.next_multiple_of(4);
        let mut rows = vec![0.0; 9 * padded * columns];
        for (index, kernel) in weight.chunks_exact(9).enumerate() {
            let (o, c) = (index / cin, index % cin);
            for (tap, &value) in kernel.iter().enumerate() {
                rows[(tap * padded + c) * columns + o] = value;
            }
        }
        let weight = upload(gpu, site.precision, [9 * padded, columns], &rows)?;
        Ok(Direct { site, weight })
    }

    /// [N, cin, H, W] -> [N, cout, H, W] with `bias`, and what `floor` says.
    pub(super) fn run(
        &self,
        x: &Tensor,
        bias: &Tensor,
        floor: Floor,
        tile: Tile,
        splits: usize,
    ) -> Result<Tensor> {
        let (gpu, shape) = (x.gpu(), x.shape());
        let [n, h, w] = [shape[0], shape[2], shape[3]];
        let depth = 9 * self.site.padded();
        let span = depth
            .div_ceil(splits)
            .next_multiple_of(tile.depth)
            .min(depth);
        let splits = depth.div_ceil(span);
        check_trips(gpu, "conv2d", tile.trips(span))?;
        let params = Params {
            n: n as u32,
            cin: self.site.cin as u32,
            cin_padded: self.site.padded() as u32,
            cout: self.site.cout as u32,
            h: h as u32,
            w: w as u32,
            span: span as u32,
            floor,
        };
        let groups = tile.groups(self.site.cout, n * h * w) * splits;
        let parts = Tensor::empty(gpu, [splits * n, self.site.cout, h, w])?;
        let (weight, x) = (self.weight.buffer("conv2d")?, x.buffer("conv2d")?);
        let (bias, out) = (bias.buffer("conv2d")?, parts.buffer("conv2d")?);
        let kernel = forward(self.site.precision, tile, self.site.is_ragged());
        gpu.run(kernel, &params, &[weight, x, bias, out], groups)?;
        if splits == 1 {
            return Ok(parts);
        }
        let y = Tensor::empty(gpu, [n, self.site.cout, h, w])?;
        let count = y.shape().len();
        let params = FinishParams {
            count: count as u32,
            splits: splits as u32,
            cout: self.site.cout as u32,
            plane: (h * w) as u32,
            floor,
        };
        let bindings = [out, bias, y.buffer("conv2d")?];
        gpu.run(&FINISH, &params, &bindings, count.div_ceil(64))?;
        Ok(y)
    }
}

/// `rows`, whole quads, as the kernels' `Stored`.
pub(super) fn upload(
    gpu: &Gpu,
    precision: Precision,
    [height, width]: [usize; 2],
    rows: &[f32],
) -> Result<Tensor> {
    match precision {
        Precision::F32 => Tensor::from_slice(gpu, [height, width], rows),
        Precision::F16 => {
            let mut words = vec![0.0; rows.len() / 2];
            pack(rows, &mut words).map_err(too_large)?;
            Tensor::from_slice(gpu, [height, width / 2], &words)
        }
    }
}
