//! An adapter as PEFT's folder: `adapter_model.safetensors` with `base_model.model.<module>.lora_A.weight`
//! [r, in] and `.lora_B.weight` [out, r], and `adapter_config.json`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde_json::{Map, Value};

use super::weights::Tensors;
use super::write_atomic;
use crate::nn::lora::{Lora, PIXELS};
use crate::{Error, Gpu, Result, Shape, Tensor};

/// The file with the factors.
pub const MODEL: &str = "adapter_model.safetensors";
/// The file with the settings.
pub const CONFIG: &str = "adapter_config.json";

/// The most bytes that are read of a settings file.
const MAX_CONFIG: u64 = 1 << 20;

/// The settings that PEFT 0.21 reads.
#[derive(Serialize)]
struct Config<'a> {
    peft_type: &'a str,
    base_model_name_or_path: &'a str,
    r: usize,
    lora_alpha: Value,
    target_modules: [&'a str; 1],
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

fn key(factor: char) -> String {
    format!("base_model.model.{PIXELS}.lora_{factor}.weight")
}

/// Writes both files into `folder`; `base` says what the adapter was trained on. Returns the path and
/// size of the factors' file.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written, [`Error::Usage`] where a factor is not finite.
pub fn save(folder: &Path, lora: &Lora, base: &str) -> Result<(PathBuf, u64)> {
    let factors = [('A', &lora.a), ('B', &lora.b)].map(|(name, tensor)| (key(name), tensor));
    let mut data = Vec::new();
    for (name, tensor) in factors {
        let values = tensor.to_vec()?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::Usage(format!(
                "{name} is not finite and was not written"
            )));
        }
        data.push((name, tensor.shape().dims().to_vec(), values));
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
    let config = Config {
        peft_type: "LORA",
        base_model_name_or_path: base,
        r: lora.rank(),
        lora_alpha: number(lora.alpha),
        target_modules: [PIXELS],
        rank_pattern: Map::new(),
        alpha_pattern: Map::new(),
        lora_dropout: 0.0,
        bias: "none",
        use_rslora: false,
        use_dora: false,
        fan_in_fan_out: false,
        init_lora_weights: true,
        inference_mode: true,
        modules_to_save: None,
        task_type: None,
    };
    let json =
        serde_json::to_string_pretty(&config).expect("a struct of plain values becomes JSON");
    let path = folder.join(MODEL);
    write_atomic(&path, &bytes)?;
    write_atomic(&folder.join(CONFIG), format!("{json}\n").as_bytes())?;
    Ok((path, bytes.len() as u64))
}

/// A whole number as PEFT writes it, without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

/// Reads the `pixels` adapter of a folder for images of `inputs` = 3 H W numbers and `outputs` categories.
///
/// # Errors
/// [`Error::Io`] where a file is missing; [`Error::Data`] where the settings ask for what this program does
/// not do, or a factor is missing, extra, of another shape, or not finite.
pub fn load(gpu: &Gpu, folder: &Path, [inputs, outputs]: [usize; 2]) -> Result<Lora> {
    let (rank, alpha) = read_config(&folder.join(CONFIG))?;
    if rank > inputs.min(outputs) {
        let problem =
            format!("r = {rank} does not fit a module of {inputs} inputs and {outputs} outputs");
        return Err(Error::data(&folder.join(CONFIG), problem));
    }
    let wanted: [(String, Shape); 2] = [
        (key('A'), [rank, inputs].into()),
        (key('B'), [outputs, rank].into()),
    ];
    let file = Tensors::open(&folder.join(MODEL))?;
    let found = file.take(&wanted, str::to_string)?;
    let [a, b] = wanted.map(|(name, shape)| Tensor::from_bytes(gpu, shape, found[&name]));
    Ok(Lora {
        a: a?,
        b: b?,
        alpha,
    })
}

/// Rank and alpha from `adapter_config.json`, refusing what would be computed differently.
fn read_config(path: &Path) -> Result<(usize, f64)> {
    let size = std::fs::metadata(path)
        .map_err(Error::io(path, "open"))?
        .len();
    if size > MAX_CONFIG {
        return Err(Error::data(
            path,
            format!("{size} bytes are too many for an adapter's settings"),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let config: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|e| Error::data(path, format!("not a JSON object ({e})")))?;
    let refuse = |problem: String| Error::data(path, problem);
    let absent = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    };
    if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(refuse(
            "peft_type is not \"LORA\"; only LoRA adapters are read".into(),
        ));
    }
    let targets = match config.get("target_modules") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    if targets != [PIXELS] {
        return Err(refuse(format!(
            "target_modules is {targets:?}; only [\"{PIXELS}\"] is supported"
        )));
    }
    if config.get("bias").is_some_and(|bias| bias != "none") {
        return Err(refuse(
            "bias is not \"none\"; biases are not adapted here".into(),
        ));
    }
    let unsupported = [
        "use_rslora",
        "use_dora",
        "fan_in_fan_out",
        "modules_to_save",
        "rank_pattern",
        "alpha_pattern",
        "layer_replication",
        "lora_bias",
        "trainable_token_indices",
    ];
    if let Some(key) = unsupported
        .iter()
        .find(|key| config.get(**key).is_some_and(|v| !absent(v)))
    {
        return Err(refuse(format!("{key} is set, and is not supported")));
    }
    let rank = config.get("r").and_then(Value::as_u64).filter(|&r| r > 0);
    let alpha = config
        .get("lora_alpha")
        .and_then(Value::as_f64)
        .filter(|a| a.is_finite() && *a > 0.0);
    match (rank, alpha) {
        (Some(rank), Some(alpha)) => Ok((rank as usize, alpha)),
        _ => Err(refuse(
            "r must be a whole number from 1 and lora_alpha a positive number".into(),
        )),
    }
}
