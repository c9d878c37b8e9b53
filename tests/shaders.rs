//! Every shader is valid, agrees with its Rust side, and translates for Vulkan, Metal and DX12: no device needed.

use goldfish::gpu::{Access, Kernel};
use libtest_mimic::Trial;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

use crate::support::trial;

pub fn trials() -> Vec<Trial> {
    let kernels = goldfish::selftest::kernels();
    let mut trials: Vec<Trial> = Vec::new();
    for kernel in kernels.clone() {
        let name = |what: &str| format!("shaders::{}_{what}", kernel.name);
        let (matching, translating) = (kernel.clone(), kernel.clone());
        trials.push(trial(&name("matches_its_rust_side"), move || {
            bindings_match(&matching)
        }));
        trials.push(trial(&name("translates_for_every_backend"), move || {
            translates(&translating)
        }));
    }
    trials.push(trial("shaders::kernel_names_are_unique", move || {
        let mut names: Vec<&str> = kernels.iter().map(|k| &*k.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }));
    trials.push(trial("shaders::every_file_belongs_to_a_kernel", || {
        let sources: String = goldfish::selftest::kernels()
            .iter()
            .map(|k| k.source.to_string())
            .collect();
        let mut folders = vec![crate::support::root().join("shaders")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the folder is there") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("a text file");
                assert!(sources.contains(&text), "{} is not used", path.display());
                files += 1;
            }
        }
        assert!(files > 0, "there are shaders");
    }));
    trials
}

fn parse(kernel: &Kernel) -> (Module, ModuleInfo) {
    let source = kernel.wgsl().expect("it unrolls");
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
    let capabilities = Capabilities::SUBGROUP
        | Capabilities::SHADER_INT64
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::COOPERATIVE_MATRIX;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
    (module, info)
}

/// `Params` has the size that Rust writes, and the entry point uses exactly the bindings that Rust declares.
fn bindings_match(kernel: &Kernel) {
    let (module, info) = parse(kernel);
    let index = module
        .entry_points
        .iter()
        .position(|e| e.name == kernel.entry);
    let usage = info.get_entry_point(index.expect("the entry point exists"));
    let mut used = 0;
    for (handle, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else {
            continue;
        };
        let declared = (binding.binding as usize)
            .checked_sub(1)
            .and_then(|i| kernel.bindings.get(i));
        if variable.space == AddressSpace::Uniform {
            assert_eq!(binding.binding, 0);
            let TypeInner::Struct { span, .. } = module.types[variable.ty].inner else {
                panic!("Params is a struct")
            };
            assert_eq!(span as usize, kernel.params, "size of Params");
        } else if !usage[handle].is_empty() {
            let access = match (variable.space, &module.types[variable.ty].inner) {
                (AddressSpace::Storage { access }, _) => access,
                (AddressSpace::Handle, TypeInner::Image { class, .. }) => match class {
                    naga::ImageClass::Storage {
                        access,
                        format: naga::StorageFormat::Rgba32Float,
                    } => *access,
                    other => panic!("{:?} is {other:?}", variable.name),
                },
                other => panic!("{:?} is {other:?}", variable.name),
            };
            let declared = declared.unwrap_or_else(|| panic!("{:?} is not bound", variable.name));
            let expected = match declared {
                Access::Read | Access::ReadTexture => StorageAccess::LOAD,
                Access::Write => StorageAccess::LOAD | StorageAccess::STORE,
            };
            let texture = *declared == Access::ReadTexture;
            assert_eq!(
                texture,
                variable.space == AddressSpace::Handle,
                "{:?}",
                variable.name
            );
            assert_eq!(access, expected, "{:?}", variable.name);
            used += 1;
        }
    }
    assert_eq!(
        used,
        kernel.bindings.len(),
        "a declared binding is not used"
    );
    for (name, _) in kernel.constants {
        let known = module
            .overrides
            .iter()
            .any(|(_, o)| o.name.as_deref() == Some(name));
        assert!(
            known,
            "the constant {name} is not an override of the shader"
        );
    }
}

fn translates(kernel: &Kernel) {
    let (module, info) = parse(kernel);
    let entry = (naga::ShaderStage::Compute, kernel.entry.to_string());
    let constants = kernel
        .constants
        .iter()
        .map(|(k, v)| (k.to_string(), *v))
        .collect();
    let (module, info) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some((entry.0, &entry.1)),
        &constants,
    )
    .expect("the constants fit");
    let pipeline = spv::PipelineOptions {
        shader_stage: entry.0,
        entry_point: entry.1.clone(),
    };
    let options = spv::Options {
        lang_version: (1, 3),
        ..spv::Options::default()
    };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).expect("SPIR-V");
    assert_eq!(words[0], 0x0723_0203, "SPIR-V starts with its magic number");
    // Which other devices than Vulkan's do not offer at this size.
    if kernel.source.contains("enable wgpu_cooperative_matrix;") {
        return;
    }
    let options = msl::Options {
        fake_missing_bindings: true,
        lang_version: (2, 4),
        ..msl::Options::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some(entry.clone()),
        ..msl::PipelineOptions::default()
    };
    let (text, _) = msl::write_string(&module, &info, &options, &pipeline).expect("MSL");
    assert!(text.contains("kernel void"), "MSL has a kernel");
    let mut text = String::new();
    let options = hlsl::Options {
        fake_missing_bindings: true,
        shader_model: hlsl::ShaderModel::V6_0,
        ..hlsl::Options::default()
    };
    let pipeline = hlsl::PipelineOptions {
        entry_point: Some(entry),
    };
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(&module, &info, None)
        .expect("HLSL");
    assert!(text.contains("[numthreads("), "HLSL has a compute shader");
}
