//! An adapter as PEFT's folder: `adapter_model.safetensors` with `base_model.model.<module>.lora_A.weight`
//! [r, in] and `.lora_B.weight` [out, r] ([r, in, 3, 3] and [out, r, 1, 1] of a convolution), a head as
//! `base_model.model.classifier.6.weight` and `.bias`, and `adapter_config.json`.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::json;

use super::classes as names;
use super::config::{Config, described};
pub use super::layout::{CONFIG, MODEL, folder};
use super::layout::{files, head_key, key};
use super::settings::Settings;
use super::standing::BASE;
use super::weights::Tensors;
use super::write;
use crate::data::Classes;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::gpu::Gpu;
use crate::nn::arch::Arch;
use crate::nn::lora::PIXELS;
use crate::nn::{Adapter, Head, Identity, Lora, Target};
use crate::tensor::{Shape, Tensor};

/// More outputs than a head may have.
const MOST_OUTPUTS: usize = 1 << 20;
/// The note that says how many outputs of a head are the base's own, untrained.
const FROZEN: &str = "goldfish.frozen_outputs";

/// Writes the adapter's files into `folder`; `base` is what it was trained on, `arch` is that and `classes` what the
/// logits mean. Returns the path and size of the factors' file. Where `classes` are not ImageNet's they stand in that
/// file's notes, and in a file of their own for people.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written, [`Error::Usage`] where a number is not finite or there are more or
/// fewer classes than logits.
pub fn save(
    folder: &Path,
    adapter: &Adapter,
    arch: Arch,
    base: &Identity,
    classes: &Classes,
) -> Result<(PathBuf, u64)> {
    if classes.len() != adapter.classes(arch) {
        return Err(Error::Usage(format!(
            "there are {} names for {} logits",
            classes.len(),
            adapter.classes(arch)
        )));
    }
    let data = numbers(adapter, arch)?;
    for (name, _, values) in &data {
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::Usage(format!(
                "{name} is not finite and was not written"
            )));
        }
    }
    let mut notes = write::notes();
    notes.insert(BASE.into(), json!(base).to_string());
    let own = !classes.is_imagenet();
    if own {
        notes.insert(names::CLASSES.into(), json!(classes.names()).to_string());
        notes.insert(FROZEN.into(), frozen(adapter).to_string());
    }
    let entries = data.iter();
    let entries = entries.map(|(name, shape, _)| (name.as_str(), Dtype::F32, shape.as_slice()));
    let mut bytes = write::header(&notes, entries);
    for (_, _, values) in &data {
        bytes.extend_from_slice(bytemuck::cast_slice(values));
    }
    let config = config(adapter, arch, &base.name)?;
    let path = folder.join(MODEL);
    // In this order the folder never has the one adapter with the names of another.
    names::list(folder, None)?;
    write_atomic(&path, &bytes)?;
    names::list(folder, own.then_some(classes))?;
    write_atomic(&folder.join(CONFIG), config.text().as_bytes())?;
    Ok((path, bytes.len() as u64))
}

/// Outputs of the head that are the base's own.
fn frozen(adapter: &Adapter) -> usize {
    adapter.head.as_ref().map_or(0, Head::frozen)
}

/// A tensor of the file: its name, its shape and its numbers.
type Named = (String, Vec<usize>, Vec<f32>);

/// Every tensor of the file.
fn numbers(adapter: &Adapter, arch: Arch) -> Result<Vec<Named>> {
    let mut data = Vec::new();
    for (module, lora) in &adapter.loras {
        for (factor, tensor) in [('A', &lora.a), ('B', &lora.b)] {
            let shape = tensor.shape().dims().to_vec();
            data.push((key(module, factor), shape, tensor.to_vec()?));
        }
    }
    if let Some(head) = &adapter.head {
        let ((module, inputs), [weight, bias]) = (arch.head(), head.to_vecs()?);
        let outputs = head.outputs();
        data.push((head_key(module, "weight"), vec![outputs, inputs], weight));
        data.push((head_key(module, "bias"), vec![outputs], bias));
    }
    // As the library of the format orders them.
    data.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(data)
}

/// The settings of an adapter on `base`.
fn config<'a>(adapter: &'a Adapter, arch: Arch, base: &'a str) -> Result<Config<'a>> {
    if adapter.loras.is_empty() && adapter.head.is_none() {
        return Err(Error::Usage("an adapter of no module".into()));
    }
    let modules = adapter.loras.iter();
    let modules = modules.map(|(module, lora)| (module.as_str(), lora.rank(), lora.alpha));
    let rslora = adapter.loras.first().is_some_and(|(_, lora)| lora.rslora);
    let whole = adapter.head.as_ref().map(|_| vec![arch.head().0]);
    Ok(described(modules.collect(), rslora, whole, base))
}

/// An adapter out of its files.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What was trained.
    pub adapter: Adapter,
    /// What its logits mean, where the files say so.
    pub classes: Option<Classes>,
}

impl Stored {
    /// What its logits mean on a base of the classes `base`; `path` is where it was read from.
    ///
    /// # Errors
    /// [`Error::Data`] where it has a head that nothing names the outputs of.
    pub fn classes_on(&self, path: &Path, base: &Classes) -> Result<Classes> {
        match (&self.classes, &self.adapter.head) {
            (Some(classes), _) => Ok(classes.clone()),
            (None, None) => Ok(base.clone()),
            (None, Some(head)) => {
                let problem = format!(
                    "has a head of {} outputs and no names for them: write them into {}, one a line in the order of the \
                     outputs",
                    head.outputs(),
                    folder(path).join(names::LIST).display()
                );
                Err(Error::data(path, problem))
            }
        }
    }
}

/// Reads an adapter, named by its folder or by a file in it, for a network of `arch` and images of `side`.
///
/// # Errors
/// [`Error::Io`] where a file is missing; [`Error::Data`] where the settings ask for what this program does
/// not do, a number is missing, extra, of another shape, or not finite, or the classes are not as many as the logits.
pub fn load(gpu: &Gpu, path: &Path, arch: Arch, side: usize) -> Result<Stored> {
    let [config, path] = files(path);
    let settings = Settings::read(&config)?;
    let file = Tensors::open(&path)?;
    let (last, inputs) = arch.head();
    let head = settings
        .head(arch)
        .map_err(|problem| Error::data(&config, problem))?;
    let outputs = match head {
        true => Some(outputs(&file, &head_key(last, "weight"))?),
        false => None,
    };
    let classes = names::classes(&file, folder(&path), outputs.unwrap_or(arch.classes))?;
    let mut layers = arch.layers();
    if head {
        layers.truncate(arch.trunk());
    }
    let mut modules = vec![(
        PIXELS.to_string(),
        vec![outputs.unwrap_or(arch.classes), 3 * side * side],
    )];
    modules.extend(layers.into_iter().map(|l| (l.name, l.weight)));
    let mut targets = Vec::new();
    for (module, weight) in modules {
        let linear = weight.len() == 2 && module != PIXELS;
        let target = settings.targets(&module, linear);
        let factors = ['A', 'B'];
        if !target
            && factors
                .iter()
                .any(|&f| file.shape(&key(&module, f)).is_some())
        {
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
    let mut wanted: Vec<(String, Shape)> = Vec::new();
    for target in &targets {
        let [a, b] = target.shapes();
        wanted.push((key(&target.module, 'A'), a.into()));
        wanted.push((key(&target.module, 'B'), b.into()));
    }
    if let Some(outputs) = outputs {
        wanted.push((head_key(last, "weight"), [outputs, inputs].into()));
        wanted.push((head_key(last, "bias"), [outputs].into()));
    }
    let found = file.take(&wanted, str::to_string)?;
    if wanted.is_empty() {
        return Err(Error::data(&path, "holds no factor of this network"));
    }
    let tensor = |(name, shape): &(String, Shape)| {
        let stored = found[name];
        Tensor::from_fn(gpu, shape.clone(), |first, out| {
            stored.part(first, out.len()).widen(out)
        })
    };
    let (factors, head) = wanted.split_at(2 * targets.len());
    let loras = targets.into_iter().zip(factors.chunks(2));
    let loras = loras.map(|(target, pair)| {
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
    let loras = loras.collect::<Result<_>>()?;
    let head = match (head, outputs) {
        ([weight, bias], Some(outputs)) => {
            let whole = Head {
                weight: tensor(weight)?,
                bias: tensor(bias)?,
                kept: None,
            };
            Some(whole.freezing(frozen_outputs(&file, outputs)?)?)
        }
        _ => None,
    };
    Ok(Stored {
        adapter: Adapter { loras, head },
        classes,
    })
}

/// The rows of the head's weight.
fn outputs(file: &Tensors, name: &str) -> Result<usize> {
    match file.shape(name) {
        Some([outputs @ 1..MOST_OUTPUTS, _]) => Ok(*outputs),
        Some(shape) => Err(Error::data(
            file.path(),
            format!("{name} has shape {shape:?}, which is no last layer's"),
        )),
        None => Err(Error::data(
            file.path(),
            format!("{name} is missing, and modules_to_save in {CONFIG} names it"),
        )),
    }
}

/// How many outputs of a head of so many are not trained.
pub(super) fn frozen_outputs(file: &Tensors, outputs: usize) -> Result<usize> {
    let Some(text) = file.metadata().get(FROZEN) else {
        return Ok(0);
    };
    let frozen = text.parse().ok().filter(|&frozen: &usize| frozen < outputs);
    frozen.ok_or_else(|| {
        let problem = format!("{FROZEN} is not a number below its {outputs} outputs");
        Error::data(file.path(), problem)
    })
}
