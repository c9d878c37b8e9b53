//! An adapter as its file has it, number by number, in PEFT's terms: what every other layout is converted from and to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::json;

use super::super::classes::{CLASSES, named, noted, write_list};
use super::super::config::described;
use super::super::entry::{View, shown};
use super::super::layout::{CONFIG, MODEL, files, folder, key};
use super::super::settings::Settings;
use super::super::weights::Tensors;
use super::super::{standing, write};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::nn::Identity;

/// In front of every name of PEFT's.
const BASE: &str = "base_model.model.";
/// The note that keeps PEFT's settings in files that have no place for them.
pub(super) const SETTINGS: &str = "goldfish.peft_config";

/// A tensor with its own bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl From<View<'_>> for Numbers {
    fn from(view: View) -> Self {
        Numbers {
            dtype: view.dtype,
            shape: view.shape.to_vec(),
            bytes: view.data.to_vec(),
        }
    }
}

/// The LoRA of a module, as PEFT lays it out.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) a: Numbers,
    pub(super) b: Numbers,
    /// What B A is scaled by, times the rank.
    pub(super) alpha: f64,
}

impl Module {
    /// Checks that the factors fit each other and gives the rank; the problem is a sentence that follows the file's
    /// name.
    pub(super) fn rank(&self) -> Result<usize, String> {
        let fits = match (&self.a.shape[..], &self.b.shape[..]) {
            ([r, _], [_, rank]) | ([r, _, _, _], [_, rank, 1, 1]) => (r == rank).then_some(*r),
            _ => None,
        };
        fits.filter(|rank| *rank > 0).ok_or_else(|| {
            format!(
                "holds factors of {} that are none of one LoRA: {:?} and {:?}",
                shown(&self.name),
                self.a.shape,
                self.b.shape
            )
        })
    }
}

/// An adapter.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) modules: Vec<Module>,
    /// Parameters that are kept whole, under PEFT's names.
    pub(super) whole: Vec<(String, Numbers)>,
    /// What the file notes.
    pub(super) notes: BTreeMap<String, String>,
    /// PEFT's settings to the letter, where they are known.
    pub(super) settings: Option<String>,
}

impl Plain {
    /// Reads PEFT's folder, or the one of a file in it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let [config, model] = files(path);
        let text = Settings::text(&config)?;
        let wrong = |problem| Error::data(&config, problem);
        let settings = Settings::parse(&text).map_err(wrong)?;
        let text = String::from_utf8(text).map_err(|_| wrong("is not UTF-8".into()))?;
        let file = Tensors::open(&model)?;
        let mut adapter = Plain {
            notes: file.metadata().clone(),
            settings: Some(text),
            ..Plain::default()
        };
        // Where a list beside the file has the names alone, they travel in it from here on.
        if let Some((_, classes)) = named(&file, folder(path))? {
            let names = json!(classes.names()).to_string();
            adapter.notes.insert(CLASSES.into(), names);
        }
        let wrong = |problem: String| Error::data(&model, problem);
        for name in file.names() {
            let get = |name: &str| file.get(name).map(Numbers::from);
            let inner = name.strip_prefix(BASE);
            let inner = inner.ok_or_else(|| wrong(format!("{} is not PEFT's", shown(name))))?;
            if let Some(module) = inner.strip_suffix(".lora_A.weight") {
                let (Some(a), Some(b)) = (get(name), get(&key(module, 'B'))) else {
                    return Err(wrong(format!("{} has no second factor", shown(module))));
                };
                let linear = a.shape.len() == 2;
                let mut lora = Module {
                    name: module.into(),
                    a,
                    b,
                    alpha: settings.alpha_of(module),
                };
                let rank = lora.rank().map_err(wrong)?;
                if settings.rslora {
                    lora.alpha *= (rank as f64).sqrt();
                }
                if rank != settings.rank_of(module) || !settings.targets(module, linear) {
                    return Err(wrong(format!(
                        "{} has factors of rank {rank}, and {CONFIG} says otherwise",
                        shown(module)
                    )));
                }
                adapter.modules.push(lora);
            } else if let Some(module) = inner.strip_suffix(".lora_B.weight") {
                if file.shape(&key(module, 'A')).is_none() {
                    return Err(wrong(format!("{} has no first factor", shown(module))));
                }
            } else if inner.contains(".lora_") {
                return Err(wrong(format!(
                    "{} is more than plain LoRA (DoRA's magnitudes, an embedding's factors), which is not converted",
                    shown(name)
                )));
            } else if let Some(whole) = get(name) {
                adapter.whole.push((name.into(), whole));
            }
        }
        Ok(adapter)
    }

    /// Writes PEFT's files into `folder`, and returns the size of the one with the factors.
    pub(super) fn write(&self, folder: &Path) -> Result<u64> {
        let mut tensors: BTreeMap<String, &Numbers> = BTreeMap::new();
        for module in &self.modules {
            tensors.insert(key(&module.name, 'A'), &module.a);
            tensors.insert(key(&module.name, 'B'), &module.b);
        }
        tensors.extend(self.whole.iter().map(|(name, whole)| (name.clone(), whole)));
        let bytes = packed(&self.notes, &tensors);
        let settings = match &self.settings {
            Some(settings) => settings.clone(),
            None => {
                let modules = self.modules.iter().map(|module| {
                    let rank = module.rank().map_err(|e| Error::data(folder, e))?;
                    Ok((module.name.as_str(), rank, module.alpha))
                });
                described(modules.collect::<Result<_>>()?, false, None, &self.base()).text()
            }
        };
        fs::create_dir_all(folder).map_err(Error::io(folder, "make"))?;
        let model = folder.join(MODEL);
        write_atomic(&model, &bytes)?;
        write_list(folder, noted(&Tensors::open(&model)?)?.as_ref())?;
        write_atomic(&folder.join(CONFIG), settings.as_bytes())?;
        Ok(bytes.len() as u64)
    }

    /// The name of the base that the notes tell of; files of others tell of none.
    fn base(&self) -> String {
        let noted = self.notes.get(standing::BASE);
        let base = noted.and_then(|text| serde_json::from_str::<Identity>(text).ok());
        base.map_or(String::new(), |base| base.name)
    }

    /// What keeps it from being written as `kind`, which holds LoRAs alone.
    pub(super) fn only_loras(&self, path: &Path, kind: &str) -> Result<()> {
        match self.whole.first() {
            None if self.modules.is_empty() => Err(Error::data(path, "holds no factors")),
            None => Ok(()),
            Some((name, _)) => Err(Error::data(
                path,
                format!(
                    "holds {} whole (modules_to_save), which {kind} has no place for. Keep PEFT's folder, or merge the \
                     adapter into its base",
                    shown(name.strip_prefix(BASE).unwrap_or(name))
                ),
            )),
        }
    }

    /// The settings that a file notes, where they mean these modules with these scales.
    pub(super) fn settings_noted(&self) -> Option<String> {
        let text = self.notes.get(SETTINGS)?;
        let settings = Settings::parse(text.as_bytes()).ok()?;
        let same = |module: &Module| {
            let rank = module.rank().ok()?;
            let root = if settings.rslora {
                (rank as f64).sqrt()
            } else {
                1.0
            };
            let alpha = settings.alpha_of(&module.name) * root;
            let near = (alpha - module.alpha).abs() <= 1e-12 * alpha.abs();
            (near
                && rank == settings.rank_of(&module.name)
                && settings.targets(&module.name, module.a.shape.len() == 2))
            .then_some(())
        };
        let all = self.modules.iter().all(|module| same(module).is_some());
        all.then(|| text.clone())
    }
}

/// Whether a folder, or the one of a file in it, is PEFT's.
pub(super) fn is_peft(path: &Path) -> bool {
    path.is_dir() || path.ends_with(CONFIG) || {
        let named = path.file_stem().is_some_and(|stem| stem == "adapter_model");
        named && folder(path).join(CONFIG).exists()
    }
}

/// The bytes of a safetensors file.
pub(super) fn packed(
    notes: &BTreeMap<String, String>,
    tensors: &BTreeMap<String, &Numbers>,
) -> Vec<u8> {
    let mut notes = notes.clone();
    notes.extend(write::notes());
    let entries = tensors.iter();
    let entries = entries.map(|(name, t)| (name.as_str(), t.dtype, t.shape.as_slice()));
    let mut bytes = write::header(&notes, entries);
    for numbers in tensors.values() {
        bytes.extend_from_slice(&numbers.bytes);
    }
    bytes
}
