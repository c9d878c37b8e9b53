//! `adapter_config.json` as PEFT writes it: what is read of it, and what is refused.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::patterns::{Modules, Patterns};
use crate::error::{Error, Result};
use crate::nn::Arch;

/// The most bytes that are read of a settings file.
const MAX_CONFIG: u64 = 1 << 20;
/// The highest rank that is read.
const MAX_RANK: u64 = 1 << 16;
/// The most entries that are read of `modules_to_save`.
const MAX_WHOLE: usize = 64;
/// PEFT's rank and alpha of settings that have none.
pub(super) const DEFAULT: (usize, f64) = (8, 8.0);

/// What an adapter's settings say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rank of modules that no pattern fits.
    pub rank: usize,
    /// `lora_alpha` of modules that no pattern fits.
    pub alpha: f64,
    /// Whether alpha is divided by the root of the rank.
    pub rslora: bool,
    /// What the adapter was trained on.
    pub base: String,
    ranks: Patterns<usize>,
    alphas: Patterns<f64>,
    targets: Modules,
    excluded: Option<Modules>,
    /// Modules that are trained and kept whole, by what their names end with.
    whole: Vec<String>,
    /// Whether a target's whole name must be given: see [`layers_chosen`].
    whole_names: bool,
}

/// Settings that [`Settings::from_json`] reads and checks.
const READ: [&str; 15] = [
    "peft_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "init_lora_weights",
    "bias",
    "fan_in_fan_out",
];

/// Settings that change nothing of what a stored adapter computes on VGG19, whatever their value.
const HARMLESS: [&str; 14] = [
    "task_type",
    "peft_version",
    "auto_mapping",
    "revision",
    "inference_mode",
    "lora_dropout",
    "runtime_config",
    // Of weights that the base keeps in two places, of which VGG19 has none.
    "ensure_weight_tying",
    // Where to find what `megatron_config` asks for, and the size of what `use_qalora` does: both are refused.
    "megatron_core",
    "qalora_group_size",
    // How a start is computed that `init_lora_weights` names; PEFT ignores those of another start.
    "eva_config",
    "loftq_config",
    "corda_config",
    "lora_ga_config",
];

/// Starts that leave the base as it is. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take what A and B begin with
/// out of the base's weights.
const STARTS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

impl Settings {
    /// Reads `adapter_config.json`, refusing what would be computed differently.
    ///
    /// # Errors
    /// [`Error::Data`] naming the setting.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&Self::text(path)?).map_err(|problem| Error::data(path, problem))
    }

    /// The text of the file.
    pub(super) fn text(path: &Path) -> Result<Vec<u8>> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let mut text = Vec::new();
        file.take(MAX_CONFIG + 1)
            .read_to_end(&mut text)
            .map_err(Error::io(path, "read"))?;
        if text.len() as u64 > MAX_CONFIG {
            let problem =
                format!("more than {MAX_CONFIG} bytes are too many for an adapter's settings");
            return Err(Error::data(path, problem));
        }
        Ok(text)
    }

    /// The settings in the file's text; the problem is a sentence that follows its name.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let config = serde_json::from_slice(text);
        let config: Map<String, Value> = config.map_err(|e| format!("not a JSON object ({e})"))?;
        Self::from_json(&config)
    }

    fn from_json(config: &Map<String, Value>) -> Result<Self, String> {
        if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
            return Err("peft_type is not \"LORA\"; only LoRA adapters are read".into());
        }
        for (name, value) in config {
            let known = READ.contains(&name.as_str()) || HARMLESS.contains(&name.as_str());
            if !known && is_set(value) {
                return Err(format!(
                    "{name:?} is set, and asks for more than plain LoRA, which is all that is read"
                ));
            }
        }
        if config.get("bias").is_some_and(|bias| bias != "none") {
            return Err("bias is not \"none\"; biases are not adapted here".into());
        }
        // PEFT turns it off for linear layers, and convolutions have no use for it.
        flag(config, "fan_in_fan_out")?;
        match config.get("init_lora_weights") {
            None | Some(Value::Bool(_) | Value::Null) => {}
            Some(Value::String(start)) if STARTS.contains(&start.as_str()) => {}
            Some(other) => {
                return Err(format!(
                    "init_lora_weights is {other}, which is not known to leave the base's weights alone: convert the \
                     adapter to plain LoRA first (save_pretrained with path_initial_model_for_weight_conversion)"
                ));
            }
        }
        let value = |setting: &str| config.get(setting);
        let targets = Modules::read(config, "target_modules")?
            .ok_or("target_modules is missing: which modules the adapter is for must be said")?;
        Ok(Settings {
            rank: value("r")
                .map_or(Some(DEFAULT.0), rank)
                .ok_or_else(|| format!("r must be a whole number between 1 and {MAX_RANK}"))?,
            alpha: value("lora_alpha")
                .map_or(Some(DEFAULT.1), alpha)
                .ok_or("lora_alpha must be a number")?,
            ranks: Patterns::read(config, "rank_pattern", rank)?,
            alphas: Patterns::read(config, "alpha_pattern", alpha)?,
            rslora: flag(config, "use_rslora")?,
            whole_names: layers_chosen(config, &targets)?,
            excluded: Modules::read(config, "exclude_modules")?,
            whole: whole(value("modules_to_save"))?,
            targets,
            base: value("base_model_name_or_path")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_string(),
        })
    }

    /// Whether the adapter is for `module`; `linear` says whether that is a linear layer of the base.
    pub(super) fn targets(&self, module: &str, linear: bool) -> bool {
        let excluded = self
            .excluded
            .as_ref()
            .is_some_and(|e| e.has(module, linear));
        let target = match self.whole_names {
            true => self.targets.names(module),
            false => self.targets.has(module, linear),
        };
        target && !excluded
    }

    /// Whether the last layer of `arch` is kept whole, as PEFT finds modules: by what their names end with.
    ///
    /// # Errors
    /// What else is kept whole, which is not read.
    pub(super) fn head(&self, arch: Arch) -> Result<bool, String> {
        let (last, _) = arch.head();
        for name in &self.whole {
            let mut modules = arch.modules();
            modules.retain(|module| module.ends_with(name.as_str()) && module != last);
            if let Some(other) = modules.first() {
                return Err(format!(
                    "modules_to_save names {other}, and only the last layer, {last}, is read whole"
                ));
            }
            if !last.ends_with(name.as_str()) {
                return Err(format!(
                    "modules_to_save names {name:?}, which is no layer of this network; its last layer is {last}"
                ));
            }
        }
        Ok(!self.whole.is_empty())
    }

    /// The rank of a module.
    pub fn rank_of(&self, module: &str) -> usize {
        self.ranks.of(module).unwrap_or(self.rank)
    }

    /// `lora_alpha` of a module.
    pub fn alpha_of(&self, module: &str) -> f64 {
        self.alphas.of(module).unwrap_or(self.alpha)
    }
}

/// Whether a setting has another value than PEFT's for "no".
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        _ => true,
    }
}

/// `modules_to_save`.
fn whole(value: Option<&Value>) -> Result<Vec<String>, String> {
    const WRONG: &str = "modules_to_save is not a list of names of modules";
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_WHOLE => items,
        Some(_) => return Err(WRONG.into()),
    };
    let name = |item: &Value| item.as_str().filter(|n| !n.is_empty()).map(str::to_string);
    items
        .iter()
        .map(|item| name(item).ok_or(WRONG.into()))
        .collect()
}

fn flag(config: &Map<String, Value>, setting: &str) -> Result<bool, String> {
    match config.get(setting) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(format!("{setting} is {other}, neither true nor false")),
    }
}

fn rank(value: &Value) -> Option<usize> {
    let rank = value.as_u64().filter(|r| (1..=MAX_RANK).contains(r))?;
    Some(rank as usize)
}

fn alpha(value: &Value) -> Option<f64> {
    value.as_f64().filter(|alpha| alpha.is_finite())
}

/// Whether `layers_to_transform` chooses among numbered blocks (`layers.3.q_proj`). No name of VGG19 has a part after its
/// number, so that by PEFT's rule only modules remain whose whole name is among the targets.
fn layers_chosen(config: &Map<String, Value>, targets: &Modules) -> Result<bool, String> {
    let layers = config.get("layers_to_transform").filter(|v| !v.is_null());
    let pattern = config.get("layers_pattern").filter(|v| !v.is_null());
    if !matches!(targets, Modules::Named(_)) {
        return match (layers, pattern) {
            (None, None) => Ok(false),
            _ => Err(
                "layers_to_transform and layers_pattern go with a list of target_modules, not with an expression".into(),
            ),
        };
    }
    let plain = |name: &Value| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.as_str().is_some_and(|name| name.chars().all(letters))
    };
    let numbers = |list: &Vec<Value>| list.iter().all(Value::is_u64);
    match pattern {
        None => {}
        Some(Value::Array(names)) if names.iter().all(plain) => {}
        Some(name) if plain(name) => {}
        Some(_) => {
            return Err(
                "layers_pattern is more than names of modules, and is not supported".into(),
            );
        }
    }
    match layers {
        None if pattern.is_some_and(|p| is_set(p) && p != "") => {
            Err("layers_pattern is set without layers_to_transform".into())
        }
        None => Ok(false),
        Some(Value::Number(number)) if number.is_u64() => Ok(true),
        Some(Value::Array(list)) if numbers(list) => Ok(!list.is_empty()),
        Some(_) => Err("layers_to_transform is neither a whole number nor a list of them".into()),
    }
}

#[cfg(test)]
mod tests;
