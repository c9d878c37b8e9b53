//! How much memory a device has, where its driver says so.

use super::device::Gpu;

impl Gpu {
    /// Bytes of the device's own memory, or of the machine's where the device has none of its own; `None` where the driver
    /// does not tell (Metal, DX12).
    pub fn memory(&self) -> Option<u64> {
        heap(&self.0.device)
    }
}

/// The largest of the heaps that are the device's own.
#[cfg(target_os = "linux")]
fn heap(device: &wgpu::Device) -> Option<u64> {
    use ash::vk::MemoryHeapFlags;
    use wgpu::hal::api::Vulkan;

    // SAFETY: the handles are those of the device that is borrowed, and nothing is made or changed.
    #[allow(unsafe_code)]
    let properties = unsafe {
        let hal = device.as_hal::<Vulkan>()?;
        let instance = hal.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(hal.raw_physical_device())
    };
    let heaps = properties.memory_heaps_as_slice().iter();
    let own = heaps.filter(|heap| heap.flags.contains(MemoryHeapFlags::DEVICE_LOCAL));
    own.map(|heap| heap.size).max()
}

#[cfg(not(target_os = "linux"))]
fn heap(_: &wgpu::Device) -> Option<u64> {
    None
}
