//! Which adapter to use: what the user named, else a real GPU before a software one.

use wgpu::{Adapter, Backends, DeviceType};

use crate::error::{Error, Remedy, Result};

/// What `goldfish devices` shows of an adapter.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeviceInfo {
    /// Position in the order of preference: what [`super::GpuOptions::device`] takes.
    pub index: usize,
    /// The adapter's own name.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Lanes of a subgroup, smallest and largest.
    pub subgroup: [u32; 2],
    /// Bytes one shader binding may span.
    pub max_binding: u64,
    /// Bytes one buffer may hold.
    pub max_buffer: u64,
    /// Storage buffers in one kernel.
    pub max_storage_buffers: u32,
    /// Workgroups along one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Features that the engine can make use of.
    pub features: Vec<String>,
}

impl DeviceInfo {
    /// A file's name, without an ending, for what is kept of this device under this driver, on `processor` where that is what
    /// computes.
    pub(super) fn file_stem(&self, processor: &str) -> String {
        let plain: String = format!("{} {} {processor}", self.name, self.driver)
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
        let mut stem = words.join("-");
        stem.truncate(200);
        stem
    }
}

/// Features worth requesting where the adapter has them.
pub(super) const WANTED: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SHADER_INT64);

/// Side of the cooperative matrices f16 x f16 -> f32 that an adapter has, for shaders that can use them: subgroups of one
/// size, whose lanes they can count.
pub(super) fn matrix(adapter: &Adapter) -> Option<usize> {
    let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    let info = adapter.get_info();
    if !adapter.features().contains(needed) || info.subgroup_min_size != info.subgroup_max_size {
        return None;
    }
    let sides = adapter
        .cooperative_matrix_properties()
        .into_iter()
        .filter(|p| {
            // Those that `shaders/snippets/` has.
            [8, 16].contains(&p.m_size)
                && p.m_size == p.n_size
                && p.n_size == p.k_size
                && p.ab_type == wgpu::CooperativeScalarType::F16
                && p.cr_type == wgpu::CooperativeScalarType::F32
        });
    sides.map(|p| p.m_size as usize).max()
}

/// Every adapter that can run compute, the preferred one first.
pub(super) fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    let mut found = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    found.retain(|adapter| {
        adapter
            .get_downlevel_capabilities()
            .flags
            .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    found.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    found
}

/// The adapters of this machine in order of preference.
pub fn devices() -> Vec<DeviceInfo> {
    adapters()
        .iter()
        .enumerate()
        .map(|(index, adapter)| describe(index, adapter))
        .collect()
}

pub(super) fn describe(index: usize, adapter: &Adapter) -> DeviceInfo {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    DeviceInfo {
        index,
        name: info.name,
        kind: match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info),
        subgroup: [info.subgroup_min_size, info.subgroup_max_size],
        max_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        features: (adapter.features() & WANTED)
            .iter_names()
            .map(|(name, _)| name.to_lowercase())
            .chain(matrix(adapter).map(|side| format!("cooperative_matrix_{side}x{side}")))
            .collect(),
    }
}

/// The adapter named by `wanted` (an index, or part of a name in any case), or the preferred one.
pub(super) fn select(wanted: Option<&str>) -> Result<(usize, Adapter)> {
    let found = adapters();
    if found.is_empty() {
        return Err(Error::device(
            "no Vulkan, Metal or DX12 device was found. On Linux without a GPU, install Mesa's software \
             driver: apt-get install mesa-vulkan-drivers (or `make setup`)",
        ));
    }
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    let index = match wanted {
        None => Some(0),
        Some(text) => match text.trim().parse::<usize>() {
            Ok(index) => (index < found.len()).then_some(index),
            Err(_) => names
                .iter()
                .position(|n| n.to_lowercase().contains(&text.trim().to_lowercase())),
        },
    };
    let Some(index) = index else {
        let list: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(i, n)| format!("{i} = {n}"))
            .collect();
        let wanted = wanted.unwrap_or_default();
        let list = list.join(", ");
        let unknown = Error::device(format!(
            "there is no device {wanted:?}; this machine has {list}"
        ));
        return Err(unknown.with(Remedy::OtherDevice));
    };
    let adapter = found
        .into_iter()
        .nth(index)
        .expect("the index was found in this list");
    Ok((index, adapter))
}
