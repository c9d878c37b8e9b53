//! AMD's compiler without AMD's chip: Mesa's RADV on its null device, which compiles and cannot run.
//!
//! Mesa takes the chip from the environment, once: `RADV_FORCE_FAMILY`, so that each chip has a process of its own. wgpu asks
//! the null device for more than it grants; so a kernel is translated by naga, as wgpu does it, and compiled through ash.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};

use ash::vk;
use goldfish::gpu::{Access, Kernel};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// What Mesa says of a kernel: its own figures by their names, and the instructions as text.
#[derive(Debug)]
pub struct Compiled {
    pub figures: BTreeMap<String, f64>,
    pub assembly: String,
}

/// Where Mesa's manifest of RADV lies, if it is installed.
pub fn manifest() -> Option<PathBuf> {
    let folder = Path::new("/usr/share/vulkan/icd.d");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("radeon_icd") && name.ends_with(".json")
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

/// The environment of a process that compiles for `chip`.
pub fn environment(chip: &str, manifest: &Path) -> [(&'static str, std::ffi::OsString); 3] {
    [
        ("RADV_FORCE_FAMILY", chip.into()),
        ("VK_DRIVER_FILES", manifest.into()),
        // What loaders before 1.3.207 read.
        ("VK_ICD_FILENAMES", manifest.into()),
    ]
}

/// The null device of this process's chip.
pub struct Compiler {
    /// Mesa's version.
    pub driver: String,
    device: ash::Device,
    told: ash::khr::pipeline_executable_properties::Device,
    // They keep the library loaded and the device alive, and go last.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

impl Compiler {
    /// Opens it.
    pub fn open() -> Result<Self, String> {
        // SAFETY: Vulkan by its rules: what is made from a parent is used while it lives, every structure that is handed over
        // outlives the call, and the device never runs anything.
        unsafe { Self::opened() }
    }

    unsafe fn opened() -> Result<Self, String> {
        unsafe {
            let entry = ash::Entry::load().map_err(|e| format!("no Vulkan loader: {e}"))?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&info, None);
            let instance = instance.map_err(|e| format!("no Vulkan instance: {e}"))?;
            let devices = instance.enumerate_physical_devices();
            let devices = devices.map_err(|e| format!("no list of devices: {e}"))?;
            let physical = *devices.first().ok_or("Mesa shows no null device")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut about = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut about);
            let driver = CStr::from_ptr(driver.driver_info.as_ptr());
            let driver = driver.to_string_lossy().into_owned();
            let priorities = [1.0];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&priorities)];
            let extensions = [ash::khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut telling = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let mut of_12 = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(true)
                .vulkan_memory_model(true);
            let mut of_13 = vk::PhysicalDeviceVulkan13Features::default().maintenance4(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut telling)
                .push_next(&mut of_12)
                .push_next(&mut of_13);
            let device = instance.create_device(physical, &info, None);
            let device = device.map_err(|e| format!("the null device does not open: {e}"))?;
            let told = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Compiler {
                driver,
                device,
                told,
                _instance: instance,
                _entry: entry,
            })
        }
    }

    /// What becomes of `kernel`.
    pub fn compile(&self, kernel: &Kernel) -> Result<Compiled, String> {
        let words = spirv(kernel)?;
        // SAFETY: as in `open`; the pipeline's layout is what the shader declares.
        unsafe { self.compiled(kernel, &words) }
    }

    unsafe fn compiled(&self, kernel: &Kernel, words: &[u32]) -> Result<Compiled, String> {
        let failed = |what: &str, e: vk::Result| format!("{}: {what}: {e}", kernel.name);
        unsafe {
            let info = vk::ShaderModuleCreateInfo::default().code(words);
            let module = self.device.create_shader_module(&info, None);
            let module = module.map_err(|e| failed("its module", e))?;
            let binding = |at: usize, kind: vk::DescriptorType| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(at as u32)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            };
            let mut bindings = vec![binding(0, vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC)];
            bindings.extend(
                (1..=kernel.bindings.len())
                    .map(|at| binding(at, vk::DescriptorType::STORAGE_BUFFER)),
            );
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = self.device.create_descriptor_set_layout(&info, None);
            let sets = [sets.map_err(|e| failed("its bindings", e))?];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&info, None);
            let layout = layout.map_err(|e| failed("its layout", e))?;
            let entry = CString::new(kernel.entry).map_err(|e| e.to_string())?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let info = vk::ComputePipelineCreateInfo::default()
                .flags(
                    vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                        | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
                )
                .stage(stage)
                .layout(layout);
            let none = vk::PipelineCache::null();
            let pipelines = self.device.create_compute_pipelines(none, &[info], None);
            let pipelines = pipelines.map_err(|(_, e)| failed("the compiler", e));
            let pipeline = pipelines?.first().copied().ok_or("no pipeline was made")?;
            let found = self.figures(pipeline).and_then(|figures| {
                let assembly = self.assembly(pipeline)?;
                Ok(Compiled { figures, assembly })
            });
            self.device.destroy_pipeline(pipeline, None);
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(sets[0], None);
            self.device.destroy_shader_module(module, None);
            found.map_err(|e| failed("what the compiler says of it", e))
        }
    }

    unsafe fn figures(&self, pipeline: vk::Pipeline) -> Result<BTreeMap<String, f64>, vk::Result> {
        use vk::PipelineExecutableStatisticFormatKHR as Format;
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        unsafe {
            let all = self.told.get_pipeline_executable_statistics(&info)?;
            let figure = |one: vk::PipelineExecutableStatisticKHR| {
                let value = match one.format {
                    Format::UINT64 => one.value.u64 as f64,
                    Format::INT64 => one.value.i64 as f64,
                    Format::FLOAT64 => one.value.f64,
                    _ => f64::from(one.value.b32),
                };
                (text(&one.name), value)
            };
            Ok(all.into_iter().map(figure).collect())
        }
    }

    /// The final instructions, which are one of several things that Mesa tells.
    unsafe fn assembly(&self, pipeline: vk::Pipeline) -> Result<String, vk::Result> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let ask = self
            .told
            .fp()
            .get_pipeline_executable_internal_representations_khr;
        let device = self.device.handle();
        unsafe {
            let mut count = 0;
            ask(device, &info, &mut count, std::ptr::null_mut()).result()?;
            let mut all =
                vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            // First their sizes, then their texts.
            ask(device, &info, &mut count, all.as_mut_ptr()).result()?;
            let mut texts: Vec<Vec<u8>> = all.iter().map(|one| vec![0; one.data_size]).collect();
            for (one, room) in all.iter_mut().zip(&mut texts) {
                one.p_data = room.as_mut_ptr().cast();
            }
            ask(device, &info, &mut count, all.as_mut_ptr()).result()?;
            let found = all.iter().zip(texts).find_map(|(one, bytes)| {
                let end = bytes.iter().position(|&byte| byte == 0);
                let bytes = &bytes[..end.unwrap_or(bytes.len())];
                let name = text(&one.name).to_lowercase();
                name.contains("assembly")
                    .then(|| String::from_utf8_lossy(bytes).into_owned())
            });
            found.ok_or(vk::Result::ERROR_FORMAT_NOT_SUPPORTED)
        }
    }
}

fn text(name: &[c_char]) -> String {
    let bytes = name.iter().map(|&c| c as u8).take_while(|&c| c != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

/// Whether `kernel` belongs to the family for GPUs, and to what every GPU has: those of the software family read textures, and
/// cooperative matrices are an extension that Mesa has from version 24 on, on some chips.
pub fn is_for_gpus(kernel: &Kernel) -> bool {
    let wgsl = kernel.wgsl().expect("its files go together");
    let software = kernel.bindings.contains(&Access::ReadTexture)
        || wgsl.files().contains(&"snippets/packed.wgsl");
    let matrices = wgsl.files().contains(&"snippets/tile_matrix.wgsl");
    !software && !matrices
}

/// As wgpu translates a kernel of this crate for Vulkan: see `src/gpu/compile.rs`.
fn spirv(kernel: &Kernel) -> Result<Vec<u32>, String> {
    let wgsl = kernel.wgsl().map_err(|e| e.to_string())?;
    let module = naga::front::wgsl::parse_str(wgsl.text());
    let module = module.map_err(|e| wgsl.explain(&e.emit_to_string(wgsl.text())))?;
    let capabilities = Capabilities::SUBGROUP
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| wgsl.explain(&e.emit_to_string(wgsl.text())))?;
    let unchecked = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Unchecked,
        buffer: BoundsCheckPolicy::Unchecked,
        image_load: BoundsCheckPolicy::Unchecked,
        binding_array: BoundsCheckPolicy::Unchecked,
    };
    let options = spv::Options {
        lang_version: (1, 6),
        bounds_check_policies: unchecked,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..spv::Options::default()
    };
    let entry = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: kernel.entry.into(),
    };
    spv::write_vec(&module, &info, &options, Some(&entry))
        .map_err(|e| format!("{}: {e}", kernel.name))
}
