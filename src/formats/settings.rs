//! `adapter_config.json` as PEFT writes it: what is read of it, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The most bytes that are read of a settings file.
const MAX_CONFIG: u64 = 1 << 20;
/// The highest rank that is read.
const MAX_RANK: u64 = 1 << 16;

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

    pub(super) fn targets(&self, module: &str) -> bool {
        self.target_modules.iter().any(|t| ends(module, t))
    }

    /// Refuses settings of which two name one module: PEFT takes the first in the file's order.
    pub(super) fn check_names(&self, module: &str) -> Result<(), String> {
        let of =
            |names: &mut dyn Iterator<Item = &String>| names.filter(|n| ends(module, n)).count();
        for (setting, count) in [
            ("rank_pattern", of(&mut self.ranks.keys())),
            ("alpha_pattern", of(&mut self.alphas.keys())),
        ] {
            if count > 1 {
                return Err(format!("{setting} names {module} more than once"));
            }
        }
        Ok(())
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
        let twice = json!({"rank_pattern": {"6": 2, "classifier.6": 3}});
        let twice = read(twice).expect("each is a name");
        assert!(twice.check_names("features.0").is_ok());
        let error = twice.check_names("classifier.6").expect_err("which?");
        assert!(error.contains("rank_pattern names classifier.6"), "{error}");
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
