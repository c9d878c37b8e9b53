//! What a run's folder tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goldfish::data::{Evaluation, Figures};
use goldfish::formats::adapter;
use goldfish::train::SETTINGS;
use goldfish::train::history::History;
use goldfish::train::judged::{self, Answer, Judged};
use goldfish::{Error, Result};
use serde::Deserialize;
use toml::{Table, Value};

use crate::cli::terminal::plain;

/// The most bytes of settings that are read.
const LARGEST: u64 = 16 << 20;
/// The most characters of a name that are shown.
const LONGEST: usize = 120;
/// What a run took of the machine, where it is written down.
pub const COST: &str = "cost.json";

/// What a run took of the machine.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Cost {
    pub memory: Option<String>,
    pub kernels: Option<String>,
}

pub struct Told {
    pub folder: PathBuf,
    pub settings: Table,
    pub history: History,
    /// The validation pictures.
    pub judged: Vec<Judged>,
    pub cost: Cost,
    /// Bytes of the adapter.
    pub bytes: Option<u64>,
    names: BTreeMap<usize, String>,
}

/// A name out of a file, fit to be shown on one line.
pub fn shown(name: &str) -> String {
    let name = plain(name);
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

impl Told {
    pub fn read(folder: &Path) -> Result<Self> {
        let settings = text(&folder.join(SETTINGS))?;
        let wrong = |e: toml::de::Error| {
            let problem = format!("not a run's settings ({e})");
            Error::data(&folder.join(SETTINGS), problem)
        };
        let judged = judged::read(folder)?.unwrap_or_default();
        let mut names = BTreeMap::new();
        for one in &judged {
            names.insert(one.label, one.category.clone());
            let answers = one.before.iter().chain([&one.after]);
            for said in answers.flat_map(|answer| &answer.top) {
                names.insert(said.index, said.category.clone());
            }
        }
        let cost = folder.join(COST);
        let cost = match cost.exists() {
            true => serde_json::from_str(&text(&cost)?)
                .map_err(|e| Error::data(&cost, e.to_string()))?,
            false => Cost::default(),
        };
        let bytes = std::fs::metadata(folder.join(adapter::MODEL));
        Ok(Told {
            settings: toml::from_str(&settings).map_err(wrong)?,
            history: History::read(folder)?,
            judged,
            cost,
            bytes: bytes.ok().map(|about| about.len()),
            names,
            folder: folder.to_path_buf(),
        })
    }

    /// A class's name as it is shown.
    pub fn name(&self, index: usize) -> String {
        let name = self.names.get(&index).map(|name| shown(name));
        name.unwrap_or_else(|| format!("class {index}"))
    }

    /// The figures of the answers that `which` picks; `None` where there is none.
    pub fn figures<'a>(
        &'a self,
        which: impl Fn(&'a Judged) -> Option<&'a Answer>,
    ) -> Option<Figures> {
        let mut evaluation = Evaluation::default();
        let answers = self
            .judged
            .iter()
            .filter_map(|j| Some((j.label, which(j)?)));
        for (label, answer) in answers {
            evaluation.add(label, &answer.verdict);
        }
        let figures = evaluation.figures(|index| self.name(index));
        (figures.score.count > 0).then_some(figures)
    }

    /// Where the file of a picture lies.
    pub fn path(&self, picture: &Judged) -> PathBuf {
        self.folder.join(&picture.path)
    }

    /// A setting, also where it stands in the table of what came of the run.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let run = self.settings.get("run").and_then(Value::as_table);
        let run = run.and_then(|run| run.get(key));
        run.or_else(|| self.settings.get(key))
    }

    /// The same as text.
    pub fn word(&self, key: &str) -> Option<String> {
        self.get(key).map(said)
    }

    pub fn whole(&self, key: &str) -> Option<usize> {
        usize::try_from(self.get(key)?.as_integer()?).ok()
    }
}

/// A value as it is shown: text without its quotes.
pub fn said(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(items) => {
            const MOST: usize = 40;
            let mut said: Vec<String> = items.iter().take(MOST).map(self::said).collect();
            if items.len() > MOST {
                said.push(format!("and {} more", items.len() - MOST));
            }
            said.join(", ")
        }
        Value::Table(table) => {
            let pairs = table.iter();
            let pairs = pairs.map(|(key, value)| format!("{} {}", shown(key), said(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => shown(&other.to_string()),
    }
}

fn text(path: &Path) -> Result<String> {
    let about = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
    if !about.is_file() || about.len() > LARGEST {
        let problem = format!("is no file of at most {} MiB", LARGEST >> 20);
        return Err(Error::data(path, problem));
    }
    std::fs::read_to_string(path).map_err(Error::io(path, "read"))
}
