//! A tensor: a shape and device memory. Row-major f32, never changed once an op has written it.
//!
//! A tensor larger than one binding is split along its first dimension into parts of whole rows;
//! only ops that say so take such a tensor (the weight of [`crate::ops::linear`]), others report it.
//!
//! Between the convolutions of `conv/planes` a tensor is in planes (see `planes.rs`), which few ops take.

pub(crate) mod arithmetic;
mod compute;
pub(crate) mod halves;
pub(crate) mod planes;
mod shape;

pub(crate) use halves::Halves;
pub use halves::Precision;
pub use shape::Shape;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Fresh, Gpu, Readback, Recycled, Texture};

/// Elements filled at a time by [`Tensor::from_fn`].
const FILL: usize = 8 << 20;

/// f32 data on a device; clones share it.
#[derive(Clone)]
pub struct Tensor {
    gpu: Gpu,
    shape: Shape,
    parts: Arc<[Buffer]>,
    rows_per_part: usize,
    /// The data instead of `parts`.
    planes: Option<Arc<Recycled>>,
}

impl fmt::Debug for Tensor {
    /// What it is, not its numbers: those are on the device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match (&self.planes, self.parts.len()) {
            (Some(_), _) => "planes".into(),
            (None, 1) => "rows".into(),
            (None, parts) => format!("rows in {parts} parts"),
        };
        f.debug_struct("Tensor")
            .field("shape", &self.shape.dims())
            .field("layout", &format_args!("{layout}"))
            .field("device", &self.gpu.info().name)
            .finish()
    }
}

impl Tensor {
    /// A tensor for a kernel to write, in parts where it is larger than one binding. Until then its numbers are whatever
    /// the memory held before.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty shape, [`Error::Memory`] where the device has no room for it.
    pub fn empty(gpu: &Gpu, shape: impl Into<Shape>) -> Result<Self> {
        Self::made(gpu, shape.into(), |part| Ok(part.into()))
    }

    /// What `make` does of the memory of each part in turn.
    fn made(
        gpu: &Gpu,
        shape: Shape,
        mut make: impl FnMut(Fresh) -> Result<Buffer>,
    ) -> Result<Self> {
        if shape.rank() == 0 || shape.is_empty() {
            return Err(Error::Usage(format!(
                "a tensor needs at least one element, found shape {shape}"
            )));
        }
        let row = shape.row_len() as u64 * 4;
        if row > gpu.max_binding() {
            return Err(Error::Memory(format!(
                "one row of a tensor {shape} has {} MiB and this device binds {} MiB: lower the image size",
                row >> 20,
                gpu.max_binding() >> 20
            )));
        }
        let rows_per_part = ((gpu.max_binding() / row) as usize).min(shape[0]);
        // Equal parts rather than full ones and a rest.
        let rows_per_part = shape[0].div_ceil(shape[0].div_ceil(rows_per_part));
        let parts = (0..shape[0])
            .step_by(rows_per_part)
            .map(|start| make(gpu.alloc_fresh((shape[0] - start).min(rows_per_part) as u64 * row)?))
            .collect::<Result<Arc<[Buffer]>>>()?;
        Ok(Tensor {
            gpu: gpu.clone(),
            shape,
            parts,
            rows_per_part,
            planes: None,
        })
    }

    /// Planes of `size` x `size`, contents undefined, with a border of zeros: [N, C, size, size].
    ///
    /// # Errors
    /// [`Error::Memory`] where the images do not fit a texture.
    pub(crate) fn planes(gpu: &Gpu, [n, channels, size]: [usize; 3]) -> Result<Self> {
        let padded = size + 2;
        let texels = [n * padded, channels.div_ceil(4) * padded];
        let most = gpu.limits().max_storage_buffer_binding_size;
        if (texels[0] * texels[1] * 16) as u64 > most {
            return Err(Error::Memory(format!(
                "{n} images of {channels} channels of {size} x {size} do not fit this device's bindings of {} MiB: \
                 lower the batch or image size",
                most >> 20
            )));
        }
        Ok(Tensor {
            gpu: gpu.clone(),
            shape: [n, channels, size, size].into(),
            parts: Arc::new([]),
            rows_per_part: n,
            planes: Some(Arc::new(gpu.planes(texels, padded)?)),
        })
    }

    /// The texture of a tensor in planes.
    pub(crate) fn texture(&self) -> Option<&Texture> {
        self.planes.as_deref().map(|recycled| &**recycled)
    }

    /// A tensor with the given elements.
    ///
    /// # Errors
    /// [`Error::Shape`] where their number is not the shape's, and as [`Gpu`] for the device.
    pub fn from_slice(gpu: &Gpu, shape: impl Into<Shape>, data: &[f32]) -> Result<Self> {
        Self::from_bytes(gpu, shape, bytemuck::cast_slice(data))
    }

    /// A tensor from little-endian f32 bytes, of any alignment.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_bytes(gpu: &Gpu, shape: impl Into<Shape>, data: &[u8]) -> Result<Self> {
        let shape = shape.into();
        if data.len() != shape.len() * 4 {
            return Err(Error::shape(
                "tensor",
                format!("{} elements for {shape}", shape.len()),
                format!("{} bytes", data.len()),
            ));
        }
        let tensor = Self::empty(gpu, shape)?;
        let mut offset = 0;
        for part in tensor.parts.iter() {
            let bytes = part.bytes as usize;
            gpu.write(part, 0, &data[offset..offset + bytes])?;
            offset += bytes;
        }
        Ok(tensor)
    }

    /// A tensor whose elements `fill` writes, a run of consecutive ones at a time: it is given the
    /// index of the first, so no more than 32 MiB of a large tensor are in host memory at once.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_fn(
        gpu: &Gpu,
        shape: impl Into<Shape>,
        fill: impl Fn(usize, &mut [f32]),
    ) -> Result<Self> {
        let mut host = Vec::new();
        let mut first = 0;
        Self::made(gpu, shape.into(), |mut part| {
            let start = first;
            if let Some(memory) = part.memory() {
                first += memory.len();
                for (index, run) in memory.chunks_mut(FILL).enumerate() {
                    fill(start + index * FILL, run);
                }
                return Ok(part.into());
            }
            let part = Buffer::from(part);
            let elements = part.bytes as usize / 4;
            first += elements;
            host.resize(elements.min(FILL), 0f32);
            for offset in (0..elements).step_by(FILL) {
                let run = &mut host[..(elements - offset).min(FILL)];
                fill(start + offset, run);
                gpu.write(&part, offset as u64 * 4, bytemuck::cast_slice(run))?;
            }
            Ok(part)
        })
    }

    /// The sizes along each dimension.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The device that holds the data.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The same data under another shape of as many elements.
    pub(crate) fn reshaped(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.len(),
            self.shape.len(),
            "reshape keeps the number of elements"
        );
        assert_eq!(self.parts.len(), 1, "a tensor in parts keeps its shape");
        Tensor {
            gpu: self.gpu.clone(),
            rows_per_part: shape[0],
            shape,
            parts: self.parts.clone(),
            planes: None,
        }
    }

    /// The memory of a tensor that must fit one binding.
    pub(crate) fn buffer(&self, op: &'static str) -> Result<&Buffer> {
        match &*self.parts {
            [one] => Ok(one),
            [] => Err(Error::shape(
                op,
                "a tensor in rows",
                format!("{} in planes", self.shape),
            )),
            _ => Err(Error::Memory(format!(
                "{op}: a tensor {} has {} MiB and this device binds {} MiB: lower the batch or image size",
                self.shape,
                (self.shape.len() * 4) >> 20,
                self.gpu.max_binding() >> 20
            ))),
        }
    }

    /// The lanes of the device's subgroups where this tensor's memory is an image too: on software devices, for all but
    /// small tensors.
    pub(crate) fn image_lanes(&self) -> Option<usize> {
        let images = !self.parts.is_empty() && self.parts.iter().all(Buffer::is_image);
        images.then_some(self.gpu.info().subgroup[0] as usize)
    }

    /// Some rows along the first dimension: itself where they are all, else a copy.
    ///
    /// # Errors
    /// What the device reported.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Result<Self> {
        if rows == (0..self.shape[0]) {
            return Ok(self.clone());
        }
        let mut dims = self.shape.dims().to_vec();
        dims[0] = rows.len();
        let some = Tensor::empty(&self.gpu, dims)?;
        let (from, to) = (self.buffer("rows")?, some.buffer("rows")?);
        let offset = (rows.start * self.shape.row_len() * 4) as u64;
        self.gpu.copy(from, offset, to, 0, to.bytes)?;
        Ok(some)
    }

    /// The parts with the rows that each holds.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Range<usize>, &Buffer)> {
        self.parts.iter().enumerate().map(|(index, part)| {
            let start = index * self.rows_per_part;
            (start..(start + self.rows_per_part).min(self.shape[0]), part)
        })
    }

    /// The elements of a tensor in rows, waiting for the device.
    fn read_parts(&self) -> Result<Vec<f32>> {
        let mut data = Vec::with_capacity(self.shape.len());
        for part in self.parts.iter() {
            data.extend(self.gpu.read(part)?.wait()?);
        }
        Ok(data)
    }

    /// Starts copying the elements to the host and returns at once.
    ///
    /// # Errors
    /// [`Error::Memory`] for a tensor in parts, and what the device reported.
    pub fn read(&self) -> Result<Readback> {
        self.gpu.read(self.buffer("read")?)
    }

    /// The same of this tensor and of what follows it, in one submission.
    pub(crate) fn read_with(&self, next: Option<&Tensor>) -> Result<Readback> {
        let mut buffers = vec![self.buffer("read")?];
        buffers.extend(next.map(|next| next.buffer("read")).transpose()?);
        self.gpu.read_together(&buffers)
    }
}
