//! Storage textures: what software drivers read fastest, and not bound by the limit on buffer bindings.

use super::Gpu;
use super::transfer::CHUNK;
use crate::{Error, Result};

/// An `rgba32float` storage texture. New ones hold zeros.
pub(crate) struct Texture {
    raw: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
}

/// Bytes of one texel.
const TEXEL: usize = 16;

impl Gpu {
    /// A texture of `width` x `height` texels of four f32.
    ///
    /// # Errors
    /// [`Error::Memory`] where a side is longer than the device's limit.
    pub(crate) fn texture(&self, label: &str, [width, height]: [usize; 2]) -> Result<Texture> {
        let most = self.limits().max_texture_dimension_2d as usize;
        if width.max(height) > most || width.min(height) == 0 {
            return Err(Error::Memory(format!(
                "{label}: a texture of {width} x {height} is not possible on this device (1 to {most} a side): \
                 lower the batch or image size"
            )));
        }
        let raw = self.0.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d {
                width: width as u32,
                height: height as u32,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::COPY_SRC
                | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        self.failure()?;
        let view = raw.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(Texture { raw, view })
    }

    /// Writes whole rows from row `first` on, after everything recorded so far.
    pub(crate) fn write_rows(&self, texture: &Texture, first: usize, data: &[u8]) -> Result<()> {
        self.submit()?;
        let line = texture.width() * TEXEL;
        let rows = (CHUNK / line).max(1);
        for (index, chunk) in data.chunks(rows * line).enumerate() {
            self.0.queue.write_texture(
                wgpu::TexelCopyTextureInfo {
                    texture: &texture.raw,
                    mip_level: 0,
                    origin: wgpu::Origin3d {
                        x: 0,
                        y: (first + index * rows) as u32,
                        z: 0,
                    },
                    aspect: wgpu::TextureAspect::All,
                },
                chunk,
                wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(line as u32),
                    rows_per_image: None,
                },
                wgpu::Extent3d {
                    width: texture.width() as u32,
                    height: (chunk.len() / line) as u32,
                    depth_or_array_layers: 1,
                },
            );
            if chunk.len() * 2 > CHUNK {
                self.0.queue.submit([]);
                self.poll(wgpu::PollType::wait_indefinitely())?;
            }
        }
        self.failure()
    }
}

impl Gpu {
    /// The first `rows` rows of a texture, waiting for the device.
    pub(crate) fn read_rows(&self, texture: &Texture, rows: usize) -> Result<Vec<f32>> {
        let line = texture.width() * TEXEL;
        let pitch = line.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT as usize);
        let buffer = self.alloc((pitch * rows) as u64)?;
        self.record_copy(|encoder| {
            encoder.copy_texture_to_buffer(
                texture.raw.as_image_copy(),
                wgpu::TexelCopyBufferInfo {
                    buffer: &buffer.raw,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some(pitch as u32),
                        rows_per_image: None,
                    },
                },
                wgpu::Extent3d {
                    width: texture.width() as u32,
                    height: rows as u32,
                    depth_or_array_layers: 1,
                },
            );
        });
        let padded = self.read(&buffer)?.wait()?;
        Ok(padded
            .chunks(pitch / 4)
            .flat_map(|row| &row[..line / 4])
            .copied()
            .collect())
    }
}

impl Texture {
    pub(crate) fn width(&self) -> usize {
        self.raw.width() as usize
    }
}
