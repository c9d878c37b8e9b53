//! Every shader is valid, agrees with its Rust side, and translates for Vulkan, Metal and DX12: no device needed.

use std::collections::BTreeSet;

use goldfish::gpu::{Access, Kernel};
use libtest_mimic::Trial;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

use crate::support::{gpu, gpu_trial, root, trial};

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
    trials.extend([
        trial("shaders::every_file_is_embedded", || {
            assert_eq!(embedded(), on_disk());
        }),
        trial("shaders::every_file_belongs_to_a_kernel", || {
            let kernels = goldfish::selftest::kernels();
            let reached = kernels.iter().flat_map(|kernel| {
                let wgsl = kernel.wgsl().expect("its files go together");
                wgsl.files().to_vec()
            });
            let reached: BTreeSet<String> = reached.map(String::from).collect();
            let unused: Vec<String> = embedded().difference(&reached).cloned().collect();
            assert_eq!(unused, Vec::<String>::new(), "no kernel imports them");
        }),
        trial("shaders::an_error_names_the_file_and_line", broken),
        gpu_trial(
            "shaders::a_devices_error_names_the_file_and_line",
            broken_on_a_device,
        ),
    ]);
    trials
}

fn embedded() -> BTreeSet<String> {
    goldfish::gpu::shaders().map(String::from).collect()
}

/// The files of `shaders/`, by their paths in it.
fn on_disk() -> BTreeSet<String> {
    let shaders = root().join("shaders");
    let mut folders = vec![shaders.clone()];
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(&shaders).expect("below the folder");
            let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
            files.insert(parts.collect::<Vec<_>>().join("/"));
        }
    }
    files
}

/// A shader from outside of the crate with `code` at line 14, column 5, behind an import and a loop that is written out.
fn shader(code: &str) -> Kernel {
    let text = format!(
        "// Twice x.
#import snippets/dropout_core.wgsl
#const COUNT: u32 // of the numbers

@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(1)
fn forward() {{
    // unroll
    for (var i = 0u; i < COUNT; i++) {{
        y[i] = 2.0 * factor(i);
    }}
    y[0] = params.scale;
    {code}
}}
"
    );
    let name = format!("twice: {code}").leak();
    Kernel::new::<[u32; 9]>(name, "examples/twice.wgsl", "forward", &[Access::Write])
        .with_text(text.leak())
        .constant("COUNT", 3)
}

/// Code that is wrong at its column, from 1, and what a compiler says to it.
const WRONG: [(&str, usize, &str); 3] = [
    ("y[0] = nowhere;", 8, "no definition in scope"),
    ("y[0] = 1.0", 1, "expected"),
    ("let z = y[0] + params.n;", 9, "params.n"),
];

fn broken() {
    parse(&shader("y[1] = 1.0;")).expect("it is right");
    for (code, column, says) in WRONG {
        let message = parse(&shader(code)).expect_err("it is wrong");
        names_the_place(&message, code, column, says);
    }
}

fn broken_on_a_device() {
    gpu().warm(&shader("y[1] = 1.0;")).expect("it is right");
    for (code, column, says) in WRONG {
        let error = gpu().warm(&shader(code)).expect_err("it is wrong");
        names_the_place(&error.to_string(), code, column, says);
    }
    // What has no line has a file at least.
    let mut lost = shader("y[2] = 1.0;");
    lost.entry = "sideways";
    let error = gpu()
        .warm(&lost)
        .expect_err("no such entry point")
        .to_string();
    assert!(error.contains("examples/twice.wgsl: "), "{error}");
}

fn names_the_place(message: &str, code: &str, column: usize, says: &str) {
    let (row, column) = if code.ends_with(';') {
        (14, 4 + column)
    } else {
        // A statement ends where the next line starts.
        (15, column)
    };
    let place = format!("┌─ examples/twice.wgsl:{row}:{column}\n");
    assert!(message.contains(&place), "{place} is not in {message}");
    assert!(message.contains(says), "{says} is not in {message}");
    let quoted = message
        .lines()
        .any(|line| line.trim_start().starts_with(&format!("{row} │")));
    assert!(quoted, "line {row} is not quoted in {message}");
}

/// The module and what is known of it; or what is wrong, and where.
fn parse(kernel: &Kernel) -> Result<(Module, ModuleInfo), String> {
    let wgsl = kernel.wgsl().map_err(|e| e.to_string())?;
    let module = naga::front::wgsl::parse_str(wgsl.text())
        .map_err(|e| wgsl.explain(&e.emit_to_string(wgsl.text())))?;
    let capabilities = Capabilities::SUBGROUP
        | Capabilities::SHADER_INT64
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::COOPERATIVE_MATRIX;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| wgsl.explain(&e.emit_to_string(wgsl.text())))?;
    Ok((module, info))
}

/// `Params` has the size that Rust writes, and the entry point uses exactly the bindings that Rust declares.
fn bindings_match(kernel: &Kernel) {
    let (module, info) = parse(kernel).unwrap_or_else(|e| panic!("{e}"));
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
}

fn translates(kernel: &Kernel) {
    let (module, info) = parse(kernel).unwrap_or_else(|e| panic!("{e}"));
    let entry = (naga::ShaderStage::Compute, kernel.entry.to_string());
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
    let files = kernel.wgsl().expect("it was parsed").files().to_vec();
    if files.contains(&"snippets/tile_matrix.wgsl") {
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
