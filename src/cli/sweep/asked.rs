//! What is asked of a sweep: settings of which some have several values, and parts of the images. It is kept beside the runs
//! in `sweep.toml`, so that nobody has to type it again.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use goldfish::train::SETTINGS;
use goldfish::{Error, Result};
use toml::{Table, Value};

use crate::cli::config;
use crate::cli::train::SWEEP;

/// Settings that may have several values.
pub(super) const SEVERAL: [&str; 2] = ["rank", "lr"];

/// Where the runs go.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) overwrite: bool,
    pub(super) resume: bool,
}

/// Runs that are asked for.
pub(super) struct Asked<'a> {
    pub(super) place: Place<'a>,
    /// As it was typed, and for which command.
    pub(super) typed: (&'a Command, &'a ArgMatches),
    /// What all of them have in common.
    pub(super) common: Table,
    /// What each is that is trained: once, or once a part of the images.
    pub(super) combinations: Vec<Table>,
    /// The parts that the images are in.
    pub(super) kfold: Option<usize>,
    all: Table,
}

impl<'a> Asked<'a> {
    /// Of these settings, as `typed`, where a list in the place of a setting's value is several.
    pub(super) fn new(
        settings: Table,
        typed: (&'a Command, &'a ArgMatches),
        place: Place<'a>,
    ) -> Self {
        let (all, mut common) = (settings.clone(), settings);
        let kfold = common.remove("kfold");
        Asked {
            place,
            typed,
            combinations: combinations(&mut common),
            common,
            kfold: kfold.and_then(|k| usize::try_from(k.as_integer()?).ok()),
            all,
        }
    }

    /// What was asked of the sweep in `folder`, and the file that says it; `None` where there is none, or a run.
    pub(super) fn read(folder: &Path) -> Result<Option<(PathBuf, Table)>> {
        let path = folder.join(SWEEP);
        match path.exists() && !folder.join(SETTINGS).exists() {
            true => Ok(Some((path.clone(), config::read(&path)?))),
            false => Ok(None),
        }
    }

    /// Each run: its combination, and its part of so many.
    pub(super) fn runs(&self) -> Vec<(&Table, Option<usize>)> {
        let folds: Vec<Option<usize>> = match self.kfold {
            Some(k) => (1..=k).map(Some).collect(),
            None => vec![None],
        };
        let all = &self.combinations;
        // Each part's images have other variants, which are made once where its runs follow each other.
        match self.common.contains_key("cache_variants") {
            true => {
                let of = |&fold: &Option<usize>| all.iter().map(move |settings| (settings, fold));
                folds.iter().flat_map(of).collect()
            }
            false => {
                let of = |settings| folds.iter().map(move |&fold| (settings, fold));
                all.iter().flat_map(of).collect()
            }
        }
    }

    /// All of it, as it is written down.
    pub(super) fn all(&self) -> &Table {
        &self.all
    }

    /// What to type to go on.
    pub(super) fn go_on(&self) -> String {
        format!("goldfish train --resume {}", self.place.folder.display())
    }
}

/// That there is nothing to go on with in `folder`.
pub(super) fn none(folder: &Path) -> Error {
    let problem =
        format!("holds no sweep to go on with: there is no {SWEEP}. Name the images to begin one");
    Error::data(folder, problem)
}

/// One value of what was no list when it was first asked for is none now.
pub(super) fn as_before(folder: &Path, typed: &mut Table) -> Result<()> {
    let Some((_, before)) = Asked::read(folder)? else {
        return Ok(());
    };
    for key in SEVERAL {
        let list = before.get(key).is_none_or(Value::is_array);
        let one = match typed.get(key) {
            Some(Value::Array(values)) if values.len() == 1 && !list => values[0].clone(),
            _ => continue,
        };
        typed.insert(key.into(), one);
    }
    Ok(())
}

/// Every combination of what has several values in `typed`, where they are taken out, in an order in which neighbours have
/// the most in common.
fn combinations(typed: &mut Table) -> Vec<Table> {
    let mut all = vec![Table::new()];
    for key in SEVERAL {
        let values = match typed.get(key) {
            Some(Value::Array(values)) => values.clone(),
            _ => continue,
        };
        typed.remove(key);
        let with = |table: &Table, value: &Value| {
            let mut table = table.clone();
            table.insert(key.into(), value.clone());
            table
        };
        let longer = all
            .iter()
            .map(|table| values.iter().map(|v| with(table, v)).collect());
        all = longer.collect::<Vec<Vec<_>>>().concat();
    }
    let mut different: Vec<Table> = Vec::new();
    for table in all {
        if !different.contains(&table) {
            different.push(table);
        }
    }
    different
}

/// What a run's folder is called.
pub(super) fn name(settings: &Table, fold: Option<usize>) -> String {
    let settings = ["lr", "rank"]
        .iter()
        .filter_map(|key| Some(format!("{key}-{}", settings.get(*key)?)));
    let words: Vec<String> = settings
        .chain(fold.map(|fold| format!("fold-{fold}")))
        .collect();
    match words.is_empty() {
        true => "run".into(),
        false => words.join("_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_is_there_once() {
        let mut typed: Table = "lr = [0.001, 0.0003, 0.001]\nrank = [4, 8]\nseed = 3"
            .parse()
            .expect("a table");
        let all = combinations(&mut typed);
        let names: Vec<String> = all.iter().map(|table| name(table, None)).collect();
        assert_eq!(
            names,
            [
                "lr-0.001_rank-4",
                "lr-0.0003_rank-4",
                "lr-0.001_rank-8",
                "lr-0.0003_rank-8"
            ]
        );
        assert_eq!(typed.len(), 1, "the rest is of all");
        assert_eq!(name(&all[0], Some(2)), "lr-0.001_rank-4_fold-2");
        assert_eq!(combinations(&mut Table::new()).len(), 1);
        // What is no list is of all.
        let mut typed: Table = "lr = 0.001".parse().expect("a table");
        assert_eq!(combinations(&mut typed), [Table::new()]);
        assert_eq!(
            (typed.len(), name(&Table::new(), Some(2))),
            (1, "fold-2".into())
        );
    }
}
