//! Memory seen twice: as a linear `rgba32float` image, which software drivers read fastest, and as a storage buffer,
//! which they write fastest (on lavapipe a vec4 of eight lanes takes 5 ns to load from an image and 48 from a buffer,
//! 72 to store to an image and 30 to a buffer). The host sees it too, so that nothing is staged.
//!
//! wgpu does not know that the two are one. That is sound where the driver runs dispatches one after another, each to
//! its end, and has no image layouts or caches to manage: [`suits`] admits lavapipe alone.

use wgpu::AdapterInfo;

use crate::error::Result;

/// Whether kernels of this adapter may read as an image what others wrote as a buffer.
pub(super) fn suits(info: &AdapterInfo) -> bool {
    cfg!(target_os = "linux")
        && info.backend == wgpu::Backend::Vulkan
        && info.device_type == wgpu::DeviceType::Cpu
        && info.driver == "llvmpipe"
}

/// One piece of memory.
pub(super) struct Shared {
    pub(super) view: wgpu::TextureView,
    pub(super) buffer: wgpu::Buffer,
    /// Texels from one row to the next.
    pub(super) pitch: usize,
    /// The first byte on the host. Valid as long as `buffer` is held, for `bytes`.
    pub(super) host: Host,
    pub(super) bytes: usize,
}

/// Where memory begins on the host.
#[derive(Clone, Copy)]
pub(super) struct Host(pub(super) std::ptr::NonNull<u8>);

// SAFETY: the pointer is to memory that no thread owns; who reads or writes through it says why nobody else does.
#[allow(unsafe_code)]
unsafe impl Send for Host {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Host {}

#[cfg(not(target_os = "linux"))]
pub(super) fn create(_: &wgpu::Device, label: &str, _: [usize; 2], _: bool) -> Result<Shared> {
    Err(crate::error::Error::device(format!(
        "{label}: shared memory is for lavapipe on Linux"
    )))
}

/// Asks for large pages behind the whole pages of `bytes` from `host` on: kernels that stream through memory then miss
/// fewer translations. A system that has none keeps small ones.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn want_huge_pages(host: std::ptr::NonNull<u8>, bytes: usize) {
    const PAGE: usize = 4096;
    let first = host.as_ptr() as usize;
    let (start, end) = (first.next_multiple_of(PAGE), (first + bytes) / PAGE * PAGE);
    if end.saturating_sub(start) >= 2 << 20 {
        // SAFETY: the range lies in one live allocation; the advice changes no content.
        unsafe { libc::madvise(start as *mut _, end - start, libc::MADV_HUGEPAGE) };
    }
}

/// `size`, or one more where it is a power of two: lavapipe compiles a kernel once more for images with such a side.
pub(super) fn odd_side(size: usize) -> usize {
    if size.is_power_of_two() {
        size.max(2) + 1
    } else {
        size
    }
}

/// Memory of `width` x `height` texels, zero where asked for.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn create(
    device: &wgpu::Device,
    label: &str,
    [width, height]: [usize; 2],
    zero: bool,
) -> Result<Shared> {
    use std::sync::Arc;

    use ash::vk;
    use wgpu::hal::{self, api::Vulkan};

    use crate::error::Error;

    /// Freed when neither the image nor the buffer is left.
    struct Memory {
        device: ash::Device,
        memory: vk::DeviceMemory,
    }
    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: image and buffer are gone, and the device is not: it is they that were destroyed last.
            unsafe { self.device.free_memory(self.memory, None) }
        }
    }

    let failed = |what: &str, e: vk::Result| {
        let mib = (width * height * 16) >> 20;
        Error::Memory(format!(
            "{label}: {what} of {mib} MiB failed ({e}): close other programs, or lower the batch or image size"
        ))
    };
    // Vulkan does not check it.
    let most = device.limits().max_texture_dimension_2d as usize;
    if width.max(height) > most {
        return Err(Error::Memory(format!(
            "{label}: {} MiB as an image of {width} x {height} texels are not possible on this device, whose images have at \
             most {most} a side: lower the batch or image size",
            (width * height * 16) >> 20
        )));
    }
    let usage = vk::ImageUsageFlags::STORAGE;
    let image_info = vk::ImageCreateInfo::default()
        .image_type(vk::ImageType::TYPE_2D)
        .format(vk::Format::R32G32B32A32_SFLOAT)
        .extent(vk::Extent3D {
            width: width as u32,
            height: height as u32,
            depth: 1,
        })
        .mip_levels(1)
        .array_layers(1)
        .samples(vk::SampleCountFlags::TYPE_1)
        .tiling(vk::ImageTiling::LINEAR)
        .usage(usage);
    // SAFETY: plain Vulkan: every handle is made here, from this device, with the sizes that it was asked for, and
    // handed to wgpu with a callback that destroys it once wgpu is done with it. Where a call fails, what was made
    // before it is destroyed.
    unsafe {
        let Some(hal_device) = device.as_hal::<Vulkan>() else {
            return Err(Error::device(format!("{label}: not a Vulkan device")));
        };
        let raw = hal_device.raw_device().clone();
        let image = raw
            .create_image(&image_info, None)
            .map_err(|e| failed("an image", e))?;
        let layout = raw.get_image_subresource_layout(
            image,
            vk::ImageSubresource {
                aspect_mask: vk::ImageAspectFlags::COLOR,
                mip_level: 0,
                array_layer: 0,
            },
        );
        let needs = raw.get_image_memory_requirements(image);
        let size = needs
            .size
            .max(layout.row_pitch * height as u64)
            .next_multiple_of(16);
        let buffer_usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        let buffer_info = vk::BufferCreateInfo::default()
            .size(size)
            .usage(buffer_usage);
        let buffer = raw.create_buffer(&buffer_info, None).map_err(|e| {
            raw.destroy_image(image, None);
            failed("a buffer", e)
        })?;
        let undo = |what: &str, e: vk::Result| {
            raw.destroy_buffer(buffer, None);
            raw.destroy_image(image, None);
            failed(what, e)
        };
        let types =
            needs.memory_type_bits & raw.get_buffer_memory_requirements(buffer).memory_type_bits;
        let wanted = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let properties = hal_device
            .shared_instance()
            .raw_instance()
            .get_physical_device_memory_properties(hal_device.raw_physical_device());
        let found = properties
            .memory_types_as_slice()
            .iter()
            .enumerate()
            .position(|(i, memory)| types >> i & 1 == 1 && memory.property_flags.contains(wanted));
        let Some(index) = found.filter(|_| layout.offset == 0 && layout.row_pitch % 16 == 0) else {
            return Err(undo("sharing", vk::Result::ERROR_FEATURE_NOT_PRESENT));
        };
        let allocate = vk::MemoryAllocateInfo::default()
            .allocation_size(size)
            .memory_type_index(index as u32);
        let memory = raw
            .allocate_memory(&allocate, None)
            .map_err(|e| undo("memory", e))?;
        let memory = Arc::new(Memory {
            device: raw.clone(),
            memory,
        });
        let host = raw
            .bind_image_memory(image, memory.memory, 0)
            .and_then(|()| raw.bind_buffer_memory(buffer, memory.memory, 0))
            .and_then(|()| raw.map_memory(memory.memory, 0, size, vk::MemoryMapFlags::empty()))
            .map_err(|e| undo("binding", e))?
            .cast::<u8>();
        let Some(host) = std::ptr::NonNull::new(host) else {
            return Err(undo("mapping", vk::Result::ERROR_MEMORY_MAP_FAILED));
        };
        want_huge_pages(host, size as usize);
        if zero {
            host.write_bytes(0, size as usize);
        }

        let extent = wgpu::Extent3d {
            width: width as u32,
            height: height as u32,
            depth_or_array_layers: 1,
        };
        let (of_image, of_buffer) = ((raw.clone(), memory.clone()), (raw.clone(), memory));
        let hal_texture = hal_device.texture_from_raw(
            image,
            &hal::TextureDescriptor {
                label: None,
                size: extent,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Float,
                usage: wgpu::TextureUses::STORAGE_READ_ONLY,
                memory_flags: hal::MemoryFlags::empty(),
                view_formats: vec![],
            },
            Some(Box::new(move || {
                of_image.0.destroy_image(image, None);
                drop(of_image.1);
            })),
            hal::vulkan::TextureMemory::External,
        );
        let hal_buffer = hal::vulkan::Buffer::from_raw_externally_owned(
            buffer,
            Box::new(move || {
                of_buffer.0.destroy_buffer(buffer, None);
                drop(of_buffer.1);
            }),
        );
        drop(hal_device);
        let texture = device.create_texture_from_hal::<Vulkan>(
            hal_texture,
            &wgpu::TextureDescriptor {
                label: Some(label),
                size: extent,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Float,
                usage: wgpu::TextureUsages::STORAGE_BINDING,
                view_formats: &[],
            },
            wgpu::TextureUses::UNINITIALIZED,
        );
        let buffer = device.create_buffer_from_hal::<Vulkan>(
            hal_buffer,
            &wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            },
        );
        Ok(Shared {
            view: texture.create_view(&wgpu::TextureViewDescriptor::default()),
            buffer,
            pitch: layout.row_pitch as usize / 16,
            host: Host(host),
            bytes: size as usize,
        })
    }
}
