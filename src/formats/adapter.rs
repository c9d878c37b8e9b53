//! An adapter as PEFT's folder: `adapter_model.safetensors` with `base_model.model.<module>.lora_A.weight`
//! [r, in] and `.lora_B.weight` [out, r] ([r, in, 3, 3] and [out, r, 1, 1] of a convolution), and `adapter_config.json`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde_json::{Map, Value};

use super::settings::Settings;
use super::weights::Tensors;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
use crate::nn::lora::{Adapter, Lora, PIXELS, Target};
use crate::tensor::{Shape, Tensor};

/// The file with the factors.
pub const MODEL: &str = "adapter_model.safetensors";
/// The file with the settings.
pub const CONFIG: &str = "adapter_config.json";
/// The file with the factors as PEFT wrote it before safetensors.
const PICKLE: &str = "adapter_model.bin";

/// The settings that PEFT 0.21 reads.
#[derive(Serialize)]
struct Config<'a> {
    peft_type: &'a str,
    base_model_name_or_path: &'a str,
    r: usize,
    lora_alpha: Value,
    target_modules: Vec<&'a str>,
    rank_pattern: Map<String, Value>,
    alpha_pattern: Map<String, Value>,
    lora_dropout: f64,
    bias: &'a str,
    use_rslora: bool,
    use_dora: bool,
    fan_in_fan_out: bool,
    init_lora_weights: bool,
    inference_mode: bool,
    modules_to_save: Option<Vec<String>>,
    task_type: Option<String>,
}

fn key(module: &str, factor: char) -> String {
    format!("base_model.model.{module}.lora_{factor}.weight")
}

/// Writes both files into `folder`; `base` says what the adapter was trained on. Returns the path and
/// size of the factors' file.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written, [`Error::Usage`] where a factor is not finite.
pub fn save(folder: &Path, adapter: &Adapter, base: &str) -> Result<(PathBuf, u64)> {
    let mut data = Vec::new();
    for (module, lora) in &adapter.0 {
        for (factor, tensor) in [('A', &lora.a), ('B', &lora.b)] {
            let (name, values) = (key(module, factor), tensor.to_vec()?);
            if values.iter().any(|v| !v.is_finite()) {
                return Err(Error::Usage(format!(
                    "{name} is not finite and was not written"
                )));
            }
            data.push((name, tensor.shape().dims().to_vec(), values));
        }
    }
    let views = data.iter().map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
        (
            name.as_str(),
            view.expect("a tensor has as many elements as its shape says"),
        )
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views.collect::<Vec<_>>(), Some(metadata))
        .map_err(|e| Error::data(folder, format!("the adapter cannot be written: {e}")))?;
    let config = config(adapter, base)?;
    let json =
        serde_json::to_string_pretty(&config).expect("a struct of plain values becomes JSON");
    let path = folder.join(MODEL);
    write_atomic(&path, &bytes)?;
    write_atomic(&folder.join(CONFIG), format!("{json}\n").as_bytes())?;
    Ok((path, bytes.len() as u64))
}

/// The first module's rank and alpha as the common ones, others by name.
fn config<'a>(adapter: &'a Adapter, base: &'a str) -> Result<Config<'a>> {
    let Some((_, first)) = adapter.0.first() else {
        return Err(Error::Usage("an adapter of no module".into()));
    };
    let (mut rank_pattern, mut alpha_pattern) = (Map::new(), Map::new());
    for (module, lora) in &adapter.0 {
        if lora.rank() != first.rank() {
            rank_pattern.insert(module.clone(), lora.rank().into());
        }
        if lora.alpha != first.alpha {
            alpha_pattern.insert(module.clone(), number(lora.alpha));
        }
    }
    Ok(Config {
        peft_type: "LORA",
        base_model_name_or_path: base,
        r: first.rank(),
        lora_alpha: number(first.alpha),
        target_modules: adapter.0.iter().map(|(module, _)| &**module).collect(),
        rank_pattern,
        alpha_pattern,
        lora_dropout: 0.0,
        bias: "none",
        use_rslora: first.rslora,
        use_dora: false,
        fan_in_fan_out: false,
        init_lora_weights: true,
        inference_mode: true,
        modules_to_save: None,
        task_type: None,
    })
}

/// A whole number as PEFT writes it, without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

/// The folder of an adapter that is named by it or by a file in it.
pub fn folder(path: &Path) -> &Path {
    let inside = path.parent().filter(|_| path.is_file());
    match inside {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

/// The files with the settings and the factors. A pickle stands in for the factors where there are no others: reading it
/// says how to convert it.
pub(super) fn files(path: &Path) -> [PathBuf; 2] {
    let config = folder(path).join(CONFIG);
    if path.is_file() && !path.ends_with(CONFIG) {
        return [config, path.to_path_buf()];
    }
    let [model, pickle] = [MODEL, PICKLE].map(|name| folder(path).join(name));
    match pickle.exists() && !model.exists() {
        true => [config, pickle],
        false => [config, model],
    }
}

/// Reads an adapter, named by its folder or by a file in it, for a network of `arch` and images of `side`.
///
/// # Errors
/// [`Error::Io`] where a file is missing; [`Error::Data`] where the settings ask for what this program does
/// not do, or a factor is missing, extra, of another shape, or not finite.
pub fn load(gpu: &Gpu, path: &Path, arch: Arch, side: usize) -> Result<Adapter> {
    let [config, path] = files(path);
    let settings = Settings::read(&config)?;
    let file = Tensors::open(&path)?;
    let mut modules = vec![(PIXELS.to_string(), vec![arch.classes, 3 * side * side])];
    modules.extend(arch.layers().into_iter().map(|l| (l.name, l.weight)));
    let names = file.names()?;
    let present = |module: &str| ['A', 'B'].iter().any(|&f| names.contains(&key(module, f)));
    let mut targets = Vec::new();
    for (module, weight) in modules {
        let linear = weight.len() == 2 && module != PIXELS;
        let target = settings.targets(&module, linear);
        if !target && present(&module) {
            let problem = format!(
                "{module} has factors, and target_modules or exclude_modules in {CONFIG} leaves it out"
            );
            return Err(Error::data(&path, problem));
        }
        if target {
            targets.push(Target {
                rank: settings.rank_of(&module),
                alpha: settings.alpha_of(&module),
                module,
                weight,
            });
        }
    }
    let wanted: Vec<(String, Shape)> = targets
        .iter()
        .flat_map(|target| {
            let [a, b] = target.shapes();
            [
                (key(&target.module, 'A'), a.into()),
                (key(&target.module, 'B'), b.into()),
            ]
        })
        .collect();
    let found = file.take(&wanted, str::to_string)?;
    if targets.is_empty() {
        return Err(Error::data(&path, "holds no factor of this network"));
    }
    let loras = targets.into_iter().zip(wanted.chunks(2));
    let loras = loras.map(|(target, pair)| {
        let tensor = |(name, shape): &(String, Shape)| {
            let stored = found[name];
            Tensor::from_fn(gpu, shape.clone(), |first, out| {
                stored.part(first, out.len()).widen(out)
            })
        };
        let lora = Lora {
            a: tensor(&pair[0])?,
            b: tensor(&pair[1])?,
            alpha: target.alpha,
            rslora: settings.rslora,
        };
        if !lora.scale().is_finite() {
            let problem = format!(
                "lora_alpha of {} is {:?}, which is beyond f32",
                target.module, lora.alpha
            );
            return Err(Error::data(&config, problem));
        }
        Ok((target.module, lora))
    });
    Ok(Adapter(loras.collect::<Result<_>>()?))
}
