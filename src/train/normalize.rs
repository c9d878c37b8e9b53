//! `normalize`: images kept as 8-bit crops, a quarter of their size, become the network's input, to the bit what
//! [`crate::data::Transform::normalise`] makes of them on the host.

use bytemuck::{Pod, Zeroable};

use crate::autograd::Var;
use crate::check::{Case, Input};
use crate::data::Transform;
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::Kernel;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    images: u32,
    plane: u32,
    words: u32,
}

static FORWARD: Kernel = Kernel::new::<Params>(
    "normalize.forward",
    "train/normalize.wgsl",
    "forward",
    &[Read, Read, Write],
);

pub(crate) fn kernels() -> Vec<&'static Kernel> {
    vec![&FORWARD]
}

/// Bytes that a crop of interleaved RGB is kept in: whole words.
pub(super) fn crop_bytes(transform: Transform) -> usize {
    (transform.size * transform.size * 3).next_multiple_of(4)
}

/// Crops, each [`crop_bytes`] long, as the bits of [N, `crop_bytes` / 4] -> [N, 3 size size].
///
/// # Errors
/// [`Error::Shape`] where the rows have another length.
pub(super) fn normalize(crops: &Tensor, transform: Transform) -> Result<Tensor> {
    let (n, words) = (crops.shape()[0], crops.shape().row_len());
    if words * 4 != crop_bytes(transform) {
        return Err(Error::shape(
            "normalize",
            format!("crops of {} pixels a side", transform.size),
            crops.shape().to_string(),
        ));
    }
    let plane = transform.size * transform.size;
    let table = Tensor::from_slice(crops.gpu(), [3, 256], &Transform::table().concat())?;
    let y = Tensor::empty(crops.gpu(), [n, 3 * plane])?;
    let params = Params {
        images: n as u32,
        plane: plane as u32,
        words: words as u32,
    };
    let bindings = [
        crops.buffer("normalize")?,
        table.buffer("normalize")?,
        y.buffer("normalize")?,
    ];
    let groups = (n * plane).div_ceil(64);
    crops.gpu().run(&FORWARD, &params, &bindings, groups)?;
    Ok(y)
}

pub(crate) fn cases() -> Vec<Case> {
    let transform = Transform { size: 7 };
    let samples = || -> Vec<u8> { (0..2 * 148u32).map(|i| (i * 89 + 31) as u8).collect() };
    vec![
        Case::new(
            "normalize",
            "two crops of 7 pixels a side",
            // The samples are fixed: an input is there to say which device.
            [Input::normal([1])],
            move |_, v| {
                let crops = Tensor::from_bytes(v[0].tensor.gpu(), [2, 37], &samples())?;
                Ok(Var::frozen(&normalize(&crops, transform)?))
            },
            move |_| {
                let samples = samples();
                let mut expected = Vec::new();
                for crop in samples.chunks(148) {
                    let mut one = vec![0.0; 147];
                    transform.normalise(&crop[..147], &mut one);
                    expected.extend(one.into_iter().map(f64::from));
                }
                expected
            },
        )
        .forward_only(),
    ]
}
