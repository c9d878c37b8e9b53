//! The layout in planes: [N, C, S, S] as a texture, four channels a texel, each plane with a border of zeros; and the way
//! there from rows and back. Off the tape: `ops/planes.rs` records it.

use bytemuck::{Pod, Zeroable};

use super::Tensor;
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Gpu, Kernel, Texture};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RowsParams {
    size: u32,
    cells: u32,
    length: u32,
    pixels: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PlanesParams {
    size: u32,
    cells: u32,
    length: u32,
    pitch: u32,
    pixels: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AddParams {
    width: u32,
    pitch: u32,
    alpha: f32,
}

const TO_ROWS: Kernel = Kernel::new::<RowsParams>(
    "to_rows",
    "tensor/to_rows.wgsl",
    "forward",
    &[ReadTexture, Write],
);
const TO_PLANES: Kernel = Kernel::new::<PlanesParams>(
    "to_planes",
    "tensor/to_planes.wgsl",
    "forward",
    &[Read, Write],
);
const ADD: Kernel = Kernel::new::<AddParams>(
    "planes_add",
    "tensor/planes_add.wgsl",
    "forward",
    &[ReadTexture, ReadTexture, Write],
);
const SCALE: Kernel = Kernel::new::<AddParams>(
    "planes_scale",
    "tensor/planes_add.wgsl",
    "scale",
    &[ReadTexture, Write],
);

/// Whether a device has what kernels on planes need.
pub(crate) fn suits(gpu: &Gpu) -> bool {
    let [least, most] = gpu.info().subgroup;
    let lanes = least == most && [4, 8, 16].contains(&least);
    let has = |feature: &str| gpu.info().features.iter().any(|f| f == feature);
    gpu.has_textures() && lanes && has("subgroup") && has("shader_int64")
}

/// `kernel` for subgroups of `lanes`.
pub(crate) fn for_lanes(kernel: &Kernel, lanes: usize) -> &'static Kernel {
    kernel.variant(format!("{}.{lanes}", kernel.name), |kernel| {
        kernel.constant("LANES", lanes)
    })
}

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    [&TO_ROWS, &TO_PLANES, &ADD, &SCALE]
        .map(|kernel| for_lanes(kernel, 8))
        .into()
}

pub(crate) fn lanes(x: &Tensor) -> usize {
    x.gpu().info().subgroup[0] as usize
}

/// The texture of a tensor in planes with N, C and S.
pub(crate) fn planes<'a>(op: &'static str, x: &'a Tensor) -> Result<(&'a Texture, [usize; 3])> {
    match x.texture() {
        Some(texture) => Ok((texture, [x.shape()[0], x.shape()[1], x.shape()[2]])),
        None => Err(Error::shape(
            op,
            "a tensor in planes",
            format!("{} in rows", x.shape()),
        )),
    }
}

/// Planes [N, C, S, S] as rows [N, C cells cells], averaged where `cells` is not S.
pub(crate) fn write_rows(x: &Tensor, cells: usize) -> Result<Tensor> {
    let (texture, [n, channels, size]) = planes("to_rows", x)?;
    let y = Tensor::empty(x.gpu(), [n, channels * cells * cells])?;
    let params = RowsParams {
        size: size as u32,
        cells: cells as u32,
        length: (channels * cells * cells) as u32,
        pixels: (n * cells * cells) as u32,
    };
    let grid = [(n * cells * cells).div_ceil(lanes(x)), channels.div_ceil(4)];
    let bindings = [texture.into(), y.buffer("to_rows")?.into()];
    let kernel = for_lanes(&TO_ROWS, lanes(x));
    x.gpu().run_wide(kernel, &params, &bindings, grid)?;
    Ok(y)
}

/// The elements of a tensor in planes, row-major: [N, C, S, S].
pub(crate) fn rows(x: &Tensor) -> Result<Tensor> {
    let shape = x.shape().clone();
    Ok(write_rows(x, shape[2])?.reshaped(shape))
}

impl Tensor {
    /// The elements row by row, waiting for the device.
    ///
    /// # Errors
    /// What the device reported.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        match self.texture() {
            Some(_) => rows(self)?.read_parts(),
            None => self.read_parts(),
        }
    }
}

/// Rows as planes: the gradient of [`write_rows`].
pub(crate) fn read_rows(
    x: &Tensor,
    [n, channels, size]: [usize; 3],
    cells: usize,
) -> Result<Tensor> {
    let y = Tensor::planes(x.gpu(), [n, channels, size])?;
    let (texture, _) = planes("to_planes", &y)?;
    let params = PlanesParams {
        size: size as u32,
        cells: cells as u32,
        length: (channels * cells * cells) as u32,
        pitch: texture.pitch() as u32,
        pixels: (n * size * size) as u32,
    };
    let grid = [(n * size * size).div_ceil(lanes(x)), channels.div_ceil(4)];
    let bindings = [x.buffer("to_planes")?.into(), texture.into()];
    x.gpu()
        .run_wide(for_lanes(&TO_PLANES, lanes(x)), &params, &bindings, grid)?;
    Ok(y)
}

/// `alpha * x + y` for tensors in planes of one shape.
pub(super) fn times_plus(x: &Tensor, alpha: f32, y: &Tensor) -> Result<Tensor> {
    let (x_texture, shape) = planes("add", x)?;
    let (y_texture, _) = planes("add", y)?;
    let z = Tensor::planes(x.gpu(), shape)?;
    let (z_texture, _) = planes("add", &z)?;
    let params = AddParams {
        width: z_texture.width() as u32,
        pitch: z_texture.pitch() as u32,
        alpha,
    };
    let grid = [z_texture.width().div_ceil(lanes(x)), z_texture.height(), 1];
    let bindings = [x_texture.into(), y_texture.into(), z_texture.into()];
    x.gpu()
        .run_grid(for_lanes(&ADD, lanes(x)), &params, &bindings, grid)?;
    Ok(z)
}

/// `alpha * x` for a tensor in planes.
pub(crate) fn times(x: &Tensor, alpha: f32) -> Result<Tensor> {
    let (x_texture, shape) = planes("scale", x)?;
    let y = Tensor::planes(x.gpu(), shape)?;
    let (y_texture, _) = planes("scale", &y)?;
    let params = AddParams {
        width: y_texture.width() as u32,
        pitch: y_texture.pitch() as u32,
        alpha,
    };
    let grid = [y_texture.width().div_ceil(lanes(x)), y_texture.height(), 1];
    let bindings = [x_texture.into(), y_texture.into()];
    x.gpu()
        .run_grid(for_lanes(&SCALE, lanes(x)), &params, &bindings, grid)?;
    Ok(y)
}
