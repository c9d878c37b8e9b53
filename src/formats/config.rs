//! `adapter_config.json` as it is written: the settings that PEFT 0.21 reads.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::settings::DEFAULT;

/// What PEFT takes for the targets of an adapter that has none but whole modules.
const NO_TARGET: &str = "dummy-target-modules";

/// The settings that PEFT 0.21 reads.
#[derive(Serialize)]
pub(super) struct Config<'a> {
    peft_type: &'a str,
    base_model_name_or_path: &'a str,
    r: usize,
    lora_alpha: Value,
    target_modules: Value,
    rank_pattern: Map<String, Value>,
    alpha_pattern: Map<String, Value>,
    lora_dropout: f64,
    bias: &'a str,
    use_rslora: bool,
    use_dora: bool,
    fan_in_fan_out: bool,
    init_lora_weights: bool,
    inference_mode: bool,
    modules_to_save: Option<Vec<&'static str>>,
    task_type: Option<String>,
}

/// The settings of modules with these ranks and alphas: the first's as the common ones, others by name.
pub(super) fn described<'a>(
    modules: Vec<(&'a str, usize, f64)>,
    rslora: bool,
    whole: Option<Vec<&'static str>>,
    base: &'a str,
) -> Config<'a> {
    let (rank, alpha) = modules.first().map_or(DEFAULT, |&(_, r, alpha)| (r, alpha));
    let (mut rank_pattern, mut alpha_pattern) = (Map::new(), Map::new());
    for &(module, r, a) in &modules {
        if r != rank {
            rank_pattern.insert(module.into(), r.into());
        }
        if a != alpha {
            alpha_pattern.insert(module.into(), number(a));
        }
    }
    Config {
        peft_type: "LORA",
        base_model_name_or_path: base,
        r: rank,
        lora_alpha: number(alpha),
        target_modules: match modules.is_empty() {
            false => json!(
                modules
                    .iter()
                    .map(|(module, ..)| module)
                    .collect::<Vec<_>>()
            ),
            true => json!(NO_TARGET),
        },
        rank_pattern,
        alpha_pattern,
        lora_dropout: 0.0,
        bias: "none",
        use_rslora: rslora,
        use_dora: false,
        fan_in_fan_out: false,
        init_lora_weights: true,
        inference_mode: true,
        modules_to_save: whole,
        task_type: None,
    }
}

impl Config<'_> {
    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let json =
            serde_json::to_string_pretty(self).expect("a struct of plain values becomes JSON");
        json + "\n"
    }
}

/// A whole number as PEFT writes it, without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}
