//! `run.toml`: everything that is needed to do a run again, under the names of the flags, and in tables what came of it.

use std::collections::BTreeMap;
use std::path::Path;

use goldfish::nn::Adapter;
use goldfish::train::Run;
use goldfish::{Error, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::args::Request;
use super::checked::{Checked, arch_of};
use super::idle::all_named;
use crate::cli::adopt::noted;
use crate::cli::base::Weights;
use crate::cli::config::note_paths;

/// What a run may be gone on with otherwise: its numbers do not depend on it.
const FREE: [&str; 12] = [
    "data",
    "val",
    "weights",
    "any_base",
    "skip_bad",
    "image_memory",
    "cache",
    "cache_memory",
    "store",
    "store_size",
    "save_every",
    "keep",
];

/// One adapted module.
#[derive(Serialize)]
struct Module<'a> {
    module: &'a str,
    rank: usize,
    alpha: f64,
    rslora: bool,
}

/// What run.toml says of the run that is `checked`.
pub(super) fn settings(checked: &Checked, request: &Request) -> Result<Table> {
    let (base, data, args) = (&checked.base, &checked.data, request.settings);
    let mut table = args.table.clone();
    note_paths(&mut table, request.output);
    if args.init_adapter.is_some() {
        // They are the adapter's, and not to be said beside it.
        table.remove("classes");
    }
    let mut set = |key: &str, value: Value| {
        table.insert(key.into(), value);
    };
    set("data", noted(request.data, request.output).into());
    for (key, numbers) in args.augment.drawn()? {
        set(key, numbers);
    }
    let weights = match &base.weights {
        Weights::File(path) => noted(path, request.output),
        random => random.to_string(),
    };
    set("weights", weights.into());
    set("arch", base.arch.name.into());
    set("image_size", (base.transform.size as i64).into());
    set("exif", request.base.exif.into());
    let head = checked.start.head.as_ref();
    if args.init_adapter.is_none() {
        let choice = args.choice(head.is_some(), arch_of(base, &data.classes));
        set("targets", choice.targets.into());
        // Where each module has a rank of its own, the one for the others is none's.
        if !all_named(&checked.start, &choice.ranks) {
            set("rank", (choice.rank as i64).into());
        }
        if !choice.ranks.is_empty() {
            // Of what is settled here, what is adapted.
            let typed = |name: &String| args.rank_pattern.iter().any(|(typed, _)| typed == name);
            let there = |name: &String| typed(name) || checked.start.get(name).is_some();
            let ranks = choice.ranks.iter().filter(|(name, _)| there(name));
            let ranks = ranks.map(|(name, rank)| format!("{name}={rank}"));
            let ranks: Vec<String> = ranks.collect();
            if !ranks.is_empty() {
                set("rank_pattern", ranks.into());
            }
        }
    }
    set("batch_size", (checked.plan.batch_size as i64).into());
    set(
        "weight_decay",
        checked.plan.recipe.optimizer.weight_decay.into(),
    );
    // In one order, whether a setting was typed, resolved or read from a file.
    let sorted: BTreeMap<String, Value> = table.into_iter().collect();
    let mut table: Table = sorted.into_iter().collect();
    let mut set = |key: &str, value: Value| {
        table.insert(key.into(), value);
    };
    let mut run = Table::new();
    run.insert("goldfish".into(), env!("CARGO_PKG_VERSION").into());
    run.insert("device".into(), checked.gpu.info().name.clone().into());
    run.insert("images".into(), (data.split.train.len() as i64).into());
    let validation = data.split.validation.len() as i64;
    run.insert("validation_images".into(), validation.into());
    if !data.classes.is_imagenet() {
        run.insert("classes".into(), data.classes.names().to_vec().into());
    }
    if data.classes.from_imagenet() > 0 {
        run.insert("trained_on".into(), data.trained_on().into());
    }
    if let Some(head) = head {
        let trained = (head.outputs() - head.frozen()) as i64;
        run.insert("head_outputs".into(), trained.into());
        run.insert("head_frozen".into(), (head.frozen() as i64).into());
    }
    if let Some(sweep) = sweep(request)? {
        run.insert("sweep".into(), sweep.into());
    }
    set("run", run.into());
    let base = Value::try_from(&checked.identity).expect("plain values become TOML");
    set("base", base);
    let modules = checked.start.loras.iter().map(|(module, lora)| {
        let module = Module {
            module,
            rank: lora.rank(),
            alpha: lora.alpha,
            rslora: lora.rslora,
        };
        Value::try_from(module).expect("plain values become TOML")
    });
    set("modules", modules.collect::<Vec<_>>().into());
    Ok(table)
}

/// What tells that a run is one of a sweep; it stays with one that is gone on with alone.
fn sweep(request: &Request) -> Result<Option<String>> {
    match request.sweep.and_then(|sweep| sweep.id) {
        Some(id) => Ok(Some(id.into())),
        None if request.resume => Ok(sweep_of(&Run::settings(request.output)?.1)),
        None => Ok(None),
    }
}

/// The sweep that the run with these settings is one of, by its id.
pub(in crate::cli) fn sweep_of(settings: &Table) -> Option<String> {
    let id = settings.get("run")?.get("sweep")?.as_str();
    id.map(str::to_string)
}

/// Of what run.toml says, what decides the numbers of a run that starts from `start`.
///
/// # Errors
/// What the device reported.
pub(super) fn deciding(settings: &Table, start: &Adapter) -> Result<Table> {
    let constant = settings.get("schedule").and_then(Value::as_str) == Some("constant");
    let free = |key: &str| {
        let told = ["run", "base", "modules"].contains(&key);
        told || FREE.contains(&key) || constant && key == "epochs"
    };
    let all = settings.iter().filter(|(key, _)| !free(key));
    let mut all: Table = all
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // Wherever it lies, it must be the same one.
    if let Some(path) = all.get_mut("init_adapter") {
        *path = fingerprint(start)?.into();
    }
    Ok(all)
}

/// SHA-256 over what is trained of an adapter, and over the scales of its LoRAs.
pub(in crate::cli) fn fingerprint(adapter: &Adapter) -> Result<String> {
    let mut hasher = Sha256::new();
    for (module, lora) in &adapter.loras {
        hasher.update(format!("{module} {:e} {}\n", lora.alpha, lora.rslora));
    }
    for tensor in adapter.trained() {
        for number in tensor.to_vec()? {
            hasher.update(number.to_le_bytes());
        }
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Refuses to go on with the run in `folder` whose settings, read from `before`, `typed` ones contradict. More epochs are no
/// contradiction, nor is what the run has resolved, which is taken out of `typed`.
pub(in crate::cli) fn unchanged(before: &Table, typed: &mut Table, folder: &Path) -> Result<()> {
    if typed.get("batch_size").and_then(Value::as_str) == Some("auto") {
        typed.remove("batch_size");
    }
    let mut noted = typed.clone();
    note_paths(&mut noted, folder);
    let changed: Vec<String> = noted
        .iter()
        .filter(|(key, _)| !FREE.contains(&key.as_str()) && *key != "init_adapter")
        .filter_map(|(key, value)| {
            let was = before.get(key);
            // Where the rate falls towards the end, a later end is another run from its first step on.
            let constant = before.get("schedule").and_then(Value::as_str) == Some("constant");
            let more = || constant && value.as_integer() > was.and_then(Value::as_integer);
            if was == Some(value) || key == "epochs" && more() {
                return None;
            }
            let was = was.map_or("not set".to_string(), Value::to_string);
            Some(format!("{key} was {was} and is {value}"))
        })
        .collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "a run goes on with the settings that it was begun with: {}. Leave them out, or start another run, from \
             this one's adapter with --init-adapter",
            changed.join(", ")
        ))),
    }
}

/// Refuses to go on with, or beside, a run on another base than it was begun with.
pub(super) fn same_base(checked: &Checked, run: &Path) -> Result<()> {
    let (path, before) = Run::settings(run)?;
    let now = Value::try_from(&checked.identity).expect("plain values become TOML");
    match before.get("base") {
        Some(base) if *base == now => Ok(()),
        Some(base) => {
            let digits = |base: &Value| {
                let digits = base.get("sha256").or_else(|| base.get("name"));
                digits.and_then(Value::as_str).unwrap_or("-").to_string()
            };
            let problem = format!(
                "was begun on the base {}, and this is {}: name that one with --weights, or start a run anew",
                digits(base),
                digits(&now)
            );
            Err(Error::data(run, problem))
        }
        None => Err(Error::data(
            &path,
            "says nothing of the base: it is not one of a run",
        )),
    }
}
