//! LyCORIS's LoRA (LoCon): `lycoris_features_28.lora_down.weight` and `.lora_up.weight` are PEFT's A and B, and `.alpha`
//! over the rank is the scale. An adapter of rsLoRA is one with another alpha there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::Dtype;

use super::super::entry::{View, float, shown};
use super::super::weights::Tensors;
use super::plain::{Module, Numbers, Plain, SETTINGS, packed};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::nn::weights::Stored;

/// What its names begin with.
pub(super) const PREFIX: &str = "lycoris_";
const PARTS: [&str; 3] = [".alpha", ".lora_down.weight", ".lora_up.weight"];

/// What other kinds of adapters keep.
const OTHERS: [(&str, &str); 7] = [
    (".dora_scale", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".lora_mid", "a Tucker decomposition"),
    (".oft_", "OFT"),
    (".on_input", "IA3"),
    (".diff", "whole differences of weights"),
];

/// `features.28` as a name has it.
fn spelled(module: &str) -> String {
    format!("{PREFIX}{}", module.replace('.', "_"))
}

/// The module that a name means. Its dots are underscores there, so that only names of a VGG's layers are clear.
fn module(name: &str) -> Option<String> {
    let module = name.strip_prefix(PREFIX)?.replace('_', ".");
    let known = match module.split_once('.') {
        None => matches!(module.as_str(), "classifier" | "pixels"),
        Some((part, number)) => {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            ["features", "classifier"].contains(&part) && digits && number.parse::<u16>().is_ok()
        }
    };
    (known && spelled(&module) == name).then_some(module)
}

pub(super) fn read(file: &Tensors) -> Result<Plain> {
    let wrong = |problem: String| Error::data(file.path(), problem);
    let mut names = BTreeSet::new();
    for name in file.names() {
        match PARTS.iter().find_map(|part| name.strip_suffix(part)) {
            Some(module) => names.insert(module),
            None => {
                let kind = OTHERS.iter().find(|(part, _)| name.contains(part));
                let kind = kind.map_or("more than plain LoRA", |(_, kind)| kind);
                return Err(wrong(format!(
                    "{} is {kind}, which PEFT's LoRA cannot express",
                    shown(name)
                )));
            }
        };
    }
    let mut adapter = Plain {
        notes: file.metadata().clone(),
        ..Plain::default()
    };
    for name in names {
        let module =
            module(name).ok_or_else(|| wrong(format!("{} is no layer of a VGG", shown(name))))?;
        let part = |part: &str| {
            let whole = format!("{name}{part}");
            let missing = || wrong(format!("{} is missing", shown(&whole)));
            file.get(&whole).ok_or_else(missing)
        };
        let alpha = file.get(&format!("{name}.alpha"));
        let mut lora = Module {
            name: module,
            a: part(PARTS[1])?.into(),
            b: part(PARTS[2])?.into(),
            alpha: 0.0,
        };
        let rank = lora.rank().map_err(wrong)?;
        // None and zero stand for the rank there.
        lora.alpha = match alpha.map(number) {
            None | Some(Some(0.0)) => rank as f64,
            Some(Some(alpha)) if alpha.is_finite() => alpha,
            _ => return Err(wrong(format!("{}.alpha is no number", shown(name)))),
        };
        adapter.modules.push(lora);
    }
    adapter.settings = adapter.settings_noted();
    adapter.notes.remove(SETTINGS);
    Ok(adapter)
}

/// The one number of a tensor.
fn number(view: View) -> Option<f64> {
    let numbers = Stored {
        float: float(view.dtype)?,
        bytes: view.data,
    };
    match view.dtype {
        Dtype::F64 => Some(f64::from_le_bytes(view.data.try_into().ok()?)),
        _ if numbers.count() == 1 => {
            let mut value = [0.0];
            numbers.widen(&mut value);
            Some(value[0].into())
        }
        _ => None,
    }
}

/// Writes `path` and returns its size.
pub(super) fn write(adapter: &Plain, from: &Path, path: &Path) -> Result<u64> {
    adapter.only_loras(from, "LyCORIS's LoRA")?;
    let mut alphas = Vec::new();
    for lora in &adapter.modules {
        let name = spelled(&lora.name);
        if module(&name).as_deref() != Some(&lora.name) {
            let problem = format!("{} is no layer of a VGG", shown(&lora.name));
            return Err(Error::data(from, problem));
        }
        if lora.alpha == 0.0 {
            let problem = format!(
                "{} has alpha 0, which LyCORIS takes for the rank",
                shown(&lora.name)
            );
            return Err(Error::data(from, problem));
        }
        // In double precision where a single one would be another number.
        let single = lora.alpha as f32;
        let (dtype, bytes) = match f64::from(single) == lora.alpha {
            true => (Dtype::F32, single.to_le_bytes().to_vec()),
            false => (Dtype::F64, lora.alpha.to_le_bytes().to_vec()),
        };
        let alpha = Numbers {
            dtype,
            shape: Vec::new(),
            bytes,
        };
        alphas.push((name, alpha, lora));
    }
    let mut tensors = BTreeMap::new();
    for (name, alpha, lora) in &alphas {
        for (part, numbers) in PARTS.iter().zip([alpha, &lora.a, &lora.b]) {
            tensors.insert(format!("{name}{part}"), numbers);
        }
    }
    let mut notes = adapter.notes.clone();
    if let Some(settings) = &adapter.settings {
        notes.insert(SETTINGS.into(), settings.clone());
    }
    let bytes = packed(&notes, &tensors);
    write_atomic(path, &bytes)?;
    Ok(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::{module, spelled};

    #[test]
    fn names_of_layers_go_there_and_back_and_no_others() {
        for name in ["features.28", "classifier.6", "classifier", "pixels"] {
            assert_eq!(module(&spelled(name)).as_deref(), Some(name));
        }
        for name in [
            "lycoris_layer1_0_conv1",
            "lycoris_features_+1",
            "lycoris_features_",
            "features_1",
        ] {
            assert_eq!(module(name), None, "{name}");
        }
    }
}
