//! `normalize`: images that are sent and kept as 8-bit crops, a quarter of their size, become the network's input, to the bit
//! what [`crate::data::Transform::normalise`] makes of them on the host.

use std::borrow::Cow;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::autograd::Var;
use crate::check::{Case, Input};
use crate::data::{Batch, Transform};
use crate::error::{Error, Result};
use crate::gpu::Access::{Read, Write};
use crate::gpu::{Gpu, Kernel};
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

/// The images of a batch on the device, where they go once and when they are first asked for.
pub(super) struct Sent<'b> {
    gpu: Gpu,
    batch: &'b Batch,
    crops: Option<Tensor>,
    /// All of them, normalised.
    images: Option<Tensor>,
}

impl<'b> Sent<'b> {
    pub(super) fn new(gpu: &Gpu, batch: &'b Batch) -> Self {
        Sent {
            gpu: gpu.clone(),
            batch,
            crops: None,
            images: None,
        }
    }

    pub(super) fn batch(&self) -> &'b Batch {
        self.batch
    }

    /// One crop on the host, [`crop_bytes`] long.
    pub(super) fn crop(&self, index: usize) -> Cow<'b, [u8]> {
        let length = self.batch.crops.len() / self.batch.indices.len();
        let crop = &self.batch.crops[index * length..][..length];
        let padding = crop_bytes(self.batch.transform) - length;
        match padding {
            0 => crop.into(),
            _ => [crop, &vec![0; padding]].concat().into(),
        }
    }

    /// The crops as the bits of [N, `crop_bytes` / 4].
    pub(super) fn crops(&mut self) -> Result<&Tensor> {
        if self.crops.is_none() {
            let n = self.batch.indices.len();
            let shape = [n, crop_bytes(self.batch.transform) / 4];
            let padded: Vec<Cow<[u8]>>;
            let all: Cow<[u8]> = match self.batch.crops.len() == shape[0] * shape[1] * 4 {
                true => (&self.batch.crops[..]).into(),
                false => {
                    padded = (0..n).map(|index| self.crop(index)).collect();
                    padded.concat().into()
                }
            };
            self.crops = Some(Tensor::from_bytes(&self.gpu, shape, &all)?);
        }
        Ok(self.crops.as_ref().expect("they were just sent"))
    }

    /// Some of the images, normalised: [N, 3 size size].
    pub(super) fn images(&mut self, wanted: &[usize]) -> Result<Tensor> {
        let all = wanted.iter().copied().eq(0..self.batch.indices.len());
        if let Some(images) = self.images.as_ref().filter(|_| all) {
            return Ok(images.clone());
        }
        let transform = self.batch.transform;
        let images = normalize(&some(self.crops()?, wanted)?, transform)?;
        if all {
            self.images = Some(images.clone());
        }
        Ok(images)
    }
}

/// Some rows of a tensor, in this order.
fn some(rows: &Tensor, wanted: &[usize]) -> Result<Tensor> {
    let range = |run: &[usize]| -> Range<usize> { run[0]..run[0] + run.len() };
    let runs: Vec<&[usize]> = wanted.chunk_by(|a, b| a + 1 == *b).collect();
    if let [run] = runs[..] {
        return rows.rows(range(run));
    }
    let all = Tensor::empty(rows.gpu(), [wanted.len(), rows.shape().row_len()])?;
    let (from, to) = (rows.buffer("rows")?, all.buffer("rows")?);
    let bytes = rows.shape().row_len() as u64 * 4;
    let mut offset = 0;
    for run in runs {
        let length = run.len() as u64 * bytes;
        rows.gpu()
            .copy(from, run[0] as u64 * bytes, to, offset, length)?;
        offset += length;
    }
    Ok(all)
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
