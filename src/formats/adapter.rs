//! An adapter as PEFT's folder: `adapter_model.safetensors` with `base_model.model.<module>.lora_A.weight`
//! [r, in] and `.lora_B.weight` [out, r] ([r, in, 3, 3] and [out, r, 1, 1] of a convolution), and `adapter_config.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde_json::{Map, Value};

use super::weights::Tensors;
use super::write_atomic;
use crate::nn::arch::Arch;
use crate::nn::lora::{Adapter, Lora, PIXELS, Target};
use crate::{Error, Gpu, Result, Shape, Tensor};

/// The file with the factors.
pub const MODEL: &str = "adapter_model.safetensors";
/// The file with the settings.
pub const CONFIG: &str = "adapter_config.json";

/// The most bytes that are read of a settings file.
const MAX_CONFIG: u64 = 1 << 20;
/// The highest rank that is read.
const MAX_RANK: u64 = 1 << 16;

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

/// Reads the adapter of a folder for a network of `arch` and images of `side`.
///
/// # Errors
/// [`Error::Io`] where a file is missing; [`Error::Data`] where the settings ask for what this program does
/// not do, or a factor is missing, extra, of another shape, or not finite.
pub fn load(gpu: &Gpu, folder: &Path, arch: Arch, side: usize) -> Result<Adapter> {
    let settings = Settings::read(&folder.join(CONFIG))?;
    let path = folder.join(MODEL);
    let file = Tensors::open(&path)?;
    let mut modules = vec![(PIXELS.to_string(), vec![arch.classes, 3 * side * side])];
    modules.extend(arch.layers().into_iter().map(|l| (l.name, l.weight)));
    let names = file.names()?;
    let present = |module: &str| ['A', 'B'].iter().any(|&f| names.contains(&key(module, f)));
    let mut targets = Vec::new();
    for (module, weight) in modules.into_iter().filter(|(name, _)| present(name)) {
        let (rank, alpha) = (settings.rank_of(&module), settings.alpha_of(&module));
        if !settings.targets(&module) {
            return Err(Error::data(
                &path,
                format!("{module} has factors and is not among target_modules in {CONFIG}"),
            ));
        }
        let most = weight[1..].iter().product::<usize>().min(weight[0]);
        if rank > most {
            let problem = format!("r = {rank} does not fit {module}, whose rank is at most {most}");
            return Err(Error::data(&folder.join(CONFIG), problem));
        }
        targets.push(Target {
            module,
            weight,
            rank,
            alpha,
        });
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
        let tensor =
            |(name, shape): &(String, Shape)| Tensor::from_bytes(gpu, shape.clone(), found[name]);
        let lora = Lora {
            a: tensor(&pair[0])?,
            b: tensor(&pair[1])?,
            alpha: target.alpha,
            rslora: settings.rslora,
        };
        Ok((target.module, lora))
    });
    Ok(Adapter(loras.collect::<Result<_>>()?))
}

/// What an adapter's settings say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rank of modules that no pattern names.
    pub rank: usize,
    /// `lora_alpha` of modules that no pattern names.
    pub alpha: f64,
    /// Ranks by module or the end of its name.
    pub ranks: BTreeMap<String, usize>,
    /// Alphas by module or the end of its name.
    pub alphas: BTreeMap<String, f64>,
    /// Whether alpha is divided by the root of the rank.
    pub rslora: bool,
    /// Modules or the ends of their names; empty where the settings have a pattern instead.
    pub target_modules: Vec<String>,
    /// What the adapter was trained on.
    pub base: String,
}

/// Settings that change nothing of what a stored adapter computes.
const HARMLESS: [&str; 20] = [
    "peft_type",
    "task_type",
    "peft_version",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "bias",
    "init_lora_weights",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "ensure_weight_tying",
];

impl Settings {
    /// Reads `adapter_config.json`, refusing what would be computed differently.
    ///
    /// # Errors
    /// [`Error::Data`] naming the setting.
    pub fn read(path: &Path) -> Result<Self> {
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
        Self::from_json(&config).map_err(|problem| Error::data(path, problem))
    }

    fn from_json(config: &Map<String, Value>) -> Result<Self, String> {
        if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
            return Err("peft_type is not \"LORA\"; only LoRA adapters are read".into());
        }
        if config.get("bias").is_some_and(|bias| bias != "none") {
            return Err("bias is not \"none\"; biases are not adapted here".into());
        }
        let absent = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        let harmless = |name: &str| HARMLESS.contains(&name);
        if let Some((name, _)) = config
            .iter()
            .find(|(name, v)| !harmless(name) && !absent(v))
        {
            return Err(format!("{name} is set, and is not supported"));
        }
        // Others change the base's weights as they start (PiSSA, OLoRA, CorDA, EVA, LoftQ).
        match config.get("init_lora_weights") {
            None | Some(Value::Bool(_) | Value::Null) => {}
            Some(Value::String(how)) if how == "gaussian" => {}
            Some(other) => {
                return Err(format!(
                    "init_lora_weights is {other}, which changes the base's weights: convert the adapter to plain \
                     LoRA first"
                ));
            }
        }
        let target_modules = match config.get("target_modules") {
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_string)
                .collect(),
            _ => Vec::new(),
        };
        let rank = config.get("r").and_then(rank);
        let alpha = config.get("lora_alpha").and_then(alpha);
        let (Some(rank_value), Some(alpha_value)) = (rank, alpha) else {
            return Err("r must be a whole number from 1 and lora_alpha a positive number".into());
        };
        Ok(Settings {
            rank: rank_value,
            alpha: alpha_value,
            ranks: patterns(config, "rank_pattern", self::rank)?,
            alphas: patterns(config, "alpha_pattern", self::alpha)?,
            rslora: config.get("use_rslora") == Some(&Value::Bool(true)),
            target_modules,
            base: config
                .get("base_model_name_or_path")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_string(),
        })
    }

    fn targets(&self, module: &str) -> bool {
        self.target_modules.is_empty() || self.target_modules.iter().any(|t| ends(module, t))
    }

    /// The rank of a module.
    pub fn rank_of(&self, module: &str) -> usize {
        let named = self.ranks.iter().find(|(name, _)| ends(module, name));
        named.map_or(self.rank, |(_, &rank)| rank)
    }

    /// `lora_alpha` of a module.
    pub fn alpha_of(&self, module: &str) -> f64 {
        let named = self.alphas.iter().find(|(name, _)| ends(module, name));
        named.map_or(self.alpha, |(_, &alpha)| alpha)
    }
}

/// Whether PEFT finds `module` by `name`: by all of it or by its last parts.
fn ends(module: &str, name: &str) -> bool {
    module
        .strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn rank(value: &Value) -> Option<usize> {
    let rank = value.as_u64().filter(|r| (1..=MAX_RANK).contains(r))?;
    Some(rank as usize)
}

fn alpha(value: &Value) -> Option<f64> {
    value.as_f64().filter(|a| a.is_finite() && *a > 0.0)
}

/// `rank_pattern` or `alpha_pattern`. PEFT takes their names as regular expressions; those that are more than a name are
/// refused.
fn patterns<T>(
    config: &Map<String, Value>,
    setting: &str,
    parse: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>, String> {
    let named = match config.get(setting) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(named)) => named,
        Some(_) => return Err(format!("{setting} is not an object")),
    };
    let entry = |(name, value): (&String, &Value)| {
        let plain = name
            .trim_start_matches('^')
            .trim_end_matches('$')
            .replace("\\.", ".");
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if plain.is_empty() || !plain.chars().all(letters) {
            return Err(format!(
                "{setting} has the regular expression {name:?}; only names of modules are read"
            ));
        }
        let value = parse(value).ok_or(format!("{setting}: {name} is not a possible value"))?;
        Ok((plain, value))
    };
    named.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::Settings;

    fn read(more: Value) -> Result<Settings, String> {
        let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["features.0", "6"],
            "rank_pattern": {"features\\.0": 2}, "alpha_pattern": {"classifier.6": 1.5}, "megatron_core": "megatron.core",
            "corda_config": null, "loftq_config": {}, "use_dora": false});
        let Value::Object(more) = more else {
            panic!("an object")
        };
        let config: &mut Map<String, Value> = config.as_object_mut().expect("an object");
        config.extend(more);
        Settings::from_json(config)
    }

    #[test]
    fn ranks_alphas_and_targets_are_found_as_peft_finds_them() {
        let settings = read(json!({})).expect("plain settings");
        assert_eq!(
            (
                settings.rank_of("features.0"),
                settings.alpha_of("features.0")
            ),
            (2, 8.0)
        );
        assert_eq!(
            (
                settings.rank_of("classifier.6"),
                settings.alpha_of("classifier.6")
            ),
            (4, 1.5)
        );
        assert!(settings.targets("classifier.6") && settings.targets("features.0"));
        assert!(!settings.targets("features.16") && !settings.targets("classifier.0"));
    }

    #[test]
    fn what_would_be_computed_otherwise_is_refused_by_name() {
        for (setting, value) in [
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("modules_to_save", json!(["classifier"])),
            ("init_lora_weights", json!("pissa")),
            ("fan_in_fan_out", json!(true)),
            ("layers_to_transform", json!([1])),
            ("some_new_thing", json!({"a": 1})),
            ("rank_pattern", json!({"features.*": 3})),
            ("rank_pattern", json!({"features.0": 0})),
            ("r", json!(0)),
            ("lora_alpha", json!(-1)),
            ("peft_type", json!("LOHA")),
        ] {
            let error = read(json!({ setting: value })).expect_err(setting);
            assert!(error.contains(setting), "{error}");
        }
    }
}
