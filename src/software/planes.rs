//! Tensors into planes and out of them: [N, C, S, S] row by row, as every other op has it, and as textures with a border.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Access::{Read, ReadTexture, Write};
use crate::gpu::{Kernel, Texture};
use crate::ops::dropout::Params as DropoutParams;
use crate::{Backward, Error, Gradient, Result, Shape, Tape, Tensor, Var};

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
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/to_rows.wgsl")
    ),
    "forward",
    &[ReadTexture, Write],
);
const TO_PLANES: Kernel = Kernel::new::<PlanesParams>(
    "to_planes",
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/to_planes.wgsl")
    ),
    "forward",
    &[Read, Write],
);
const ADD: Kernel = Kernel::new::<AddParams>(
    "planes_add",
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/planes_add.wgsl")
    ),
    "forward",
    &[ReadTexture, ReadTexture, Write],
);
const SCALE: Kernel = Kernel::new::<AddParams>(
    "planes_scale",
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/planes_add.wgsl")
    ),
    "scale",
    &[ReadTexture, Write],
);
const DROPOUT: Kernel = Kernel::new::<DropoutParams>(
    "dropout_planes",
    concat!(
        include_str!("../../shaders/packed.wgsl"),
        include_str!("../../shaders/dropout_core.wgsl"),
        include_str!("../../shaders/dropout_planes.wgsl")
    ),
    "forward",
    &[ReadTexture, Write],
);

/// `kernel` for subgroups of `lanes`.
pub(super) fn for_lanes(kernel: &Kernel, lanes: usize) -> &'static Kernel {
    kernel.sized(format!("{}.{lanes}", kernel.name), || {
        format!("const LANES: u32 = {lanes}u;\n")
    })
}

pub(super) fn kernels() -> Vec<&'static Kernel> {
    [&TO_ROWS, &TO_PLANES, &ADD, &SCALE, &DROPOUT]
        .map(|kernel| for_lanes(kernel, 8))
        .into()
}

fn lanes(x: &Tensor) -> usize {
    x.gpu().info().subgroup[0] as usize
}

/// The texture of a tensor in planes with N, C and S.
pub(super) fn planes<'a>(op: &'static str, x: &'a Tensor) -> Result<(&'a Texture, [usize; 3])> {
    match x.texture() {
        Some(texture) => Ok((texture, [x.shape()[0], x.shape()[1], x.shape()[2]])),
        None => Err(Error::shape(
            op,
            "a tensor in planes",
            format!("{} in rows", x.shape()),
        )),
    }
}

/// Planes [N, C, S, S] to rows [N, C cells cells], averaged where `cells` is not S.
pub(crate) fn to_rows(tape: &mut Tape, x: &Var, cells: usize) -> Result<Var> {
    let (_, [n, channels, size]) = planes("to_rows", &x.tensor)?;
    let y = Tensor::empty(x.tensor.gpu(), [n, channels * cells * cells])?;
    write_rows(&x.tensor, cells, &y)?;
    tape.record(y, &[x], || RowsRule {
        channels,
        size,
        cells,
    })
}

fn write_rows(x: &Tensor, cells: usize, y: &Tensor) -> Result<()> {
    let (texture, [n, channels, size]) = planes("to_rows", x)?;
    let params = RowsParams {
        size: size as u32,
        cells: cells as u32,
        length: (channels * cells * cells) as u32,
        pixels: (n * cells * cells) as u32,
    };
    let grid = [(n * cells * cells).div_ceil(lanes(x)), channels.div_ceil(4)];
    let bindings = [texture.into(), y.buffer("to_rows")?.into()];
    let kernel = for_lanes(&TO_ROWS, lanes(x));
    x.gpu().run_wide(kernel, &params, &bindings, grid)
}

/// The elements of a tensor in planes, row-major: [N, C, S, S].
pub(crate) fn rows(x: &Tensor) -> Result<Tensor> {
    let shape: Shape = x.shape().clone();
    let var = to_rows(&mut Tape::new(), &Var::frozen(x), shape[2])?;
    Ok(var.tensor.reshaped(shape))
}

struct RowsRule {
    channels: usize,
    size: usize,
    cells: usize,
}

impl Backward for RowsRule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let n = dy.shape()[0];
        let dx = read_rows(dy, [n, self.channels, self.size], self.cells)?;
        Ok(vec![Some(dx.into())])
    }
}

/// Rows [N, C S S] (or of that many elements) to planes [N, C, S, S].
pub(crate) fn to_planes(tape: &mut Tape, x: &Var, channels: usize) -> Result<Var> {
    let shape = x.tensor.shape();
    let area = shape.row_len() / channels;
    let size = area.isqrt();
    if size * size * channels != shape.row_len() {
        return Err(Error::shape(
            "to_planes",
            format!("square planes of {channels} channels"),
            shape.to_string(),
        ));
    }
    let y = read_rows(&x.tensor, [shape[0], channels, size], size)?;
    tape.record(y, &[x], || PlanesRule {
        shape: shape.clone(),
    })
}

struct PlanesRule {
    shape: Shape,
}

impl Backward for PlanesRule {
    fn backward(self: Box<Self>, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let dx = rows(dy)?.reshaped(self.shape);
        Ok(vec![Some(dx.into())])
    }
}

/// Rows as planes: the gradient of [`write_rows`].
fn read_rows(x: &Tensor, [n, channels, size]: [usize; 3], cells: usize) -> Result<Tensor> {
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

/// What `params` say of dropout, for a tensor in planes.
pub(crate) fn dropout(x: &Tensor, params: DropoutParams) -> Result<Tensor> {
    let (x_texture, [n, channels, size]) = planes("dropout", x)?;
    let y = Tensor::planes(x.gpu(), [n, channels, size])?;
    let (y_texture, _) = planes("dropout", &y)?;
    let params = DropoutParams {
        n: (n * size * size) as u32,
        size: size as u32,
        channels: channels as u32,
        pitch: y_texture.pitch() as u32,
        ..params
    };
    let grid = [(n * size * size).div_ceil(lanes(x)), channels.div_ceil(4)];
    let bindings = [x_texture.into(), y_texture.into()];
    x.gpu()
        .run_wide(for_lanes(&DROPOUT, lanes(x)), &params, &bindings, grid)?;
    Ok(y)
}

/// `alpha * x + y` for tensors in planes of one shape.
pub(crate) fn times_plus(x: &Tensor, alpha: f32, y: &Tensor) -> Result<Tensor> {
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
