//! A command's settings as TOML: a file of them becomes what might have been typed, and what was typed becomes `run.toml`.
//! A key is the long flag with `_` for `-`; what stands in a table of its own tells of a run and sets nothing.

pub mod init;

use std::any::TypeId;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use goldfish::{Error, Result};
use toml::{Table, Value};

use super::adopt::noted;
use super::values::BatchSize;

/// Flags that decide where a run goes and not what it is.
const NOT_SETTINGS: [&str; 9] = [
    "output",
    "overwrite",
    "config",
    "resume",
    "help",
    "version",
    "device",
    "dry-run",
    "verify-determinism",
];
/// Settings that are paths.
const PATHS: [&str; 4] = ["data", "val", "weights", "init-adapter"];
/// What is wrong with a file that leaves out what nobody typed.
pub const NO_DATA: &str = "names no data: add data = \"FOLDER\", or name the folder";
/// The largest file that is read.
const MOST: u64 = 16 << 20;

/// What is asked of the settings of a command.
#[derive(Clone, Copy, PartialEq)]
pub enum Which {
    /// Those that were typed.
    Typed,
    /// Those and the defaults.
    All,
}

/// A key's name.
fn key(arg: &Arg) -> Option<String> {
    let name = match arg.is_positional() {
        true => arg.get_id().as_str(),
        false => arg.get_long()?,
    };
    (!NOT_SETTINGS.contains(&name)).then(|| name.replace('-', "_"))
}

fn is_path(key: &str) -> bool {
    PATHS.contains(&key.replace('_', "-").as_str())
}

/// Whether it is given several values.
fn is_list(arg: &Arg) -> bool {
    arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append)
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The settings of `command` that `matches` has.
pub fn table(command: &Command, matches: &ArgMatches, which: Which) -> Table {
    let mut table = Table::new();
    for arg in command.get_arguments() {
        let (id, Some(key)) = (arg.get_id().as_str(), key(arg)) else {
            continue;
        };
        let typed = matches!(
            matches.value_source(id),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        if which == Which::Typed && !typed {
            continue;
        }
        if is_flag(arg) {
            table.insert(key, matches.get_flag(id).into());
            continue;
        }
        let raw = matches.get_raw(id).into_iter().flatten();
        let mut values: Vec<Value> = raw.map(|raw| value(arg, &raw.to_string_lossy())).collect();
        match is_list(arg) {
            true if !values.is_empty() => {
                table.insert(key, values.into());
            }
            false if values.len() == 1 => {
                table.insert(key, values.remove(0));
            }
            _ => {}
        }
    }
    table
}

/// A value as TOML has it: numbers where the flag takes those.
fn value(arg: &Arg, text: &str) -> Value {
    let takes = arg.get_value_parser().type_id();
    let whole = [
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
        TypeId::of::<BatchSize>(),
    ];
    if whole.iter().any(|&whole| takes == whole)
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if takes == TypeId::of::<f64>()
        && let Ok(number) = text.parse::<f64>()
    {
        return number.into();
    }
    text.into()
}

/// What would have to be typed for the settings in `table`, which the file at `path` has. Paths in it are from there.
pub fn arguments(command: &Command, table: &Table, path: &Path) -> Result<Vec<OsString>> {
    let wrong = |problem: String| Error::data(path, problem);
    let folder = path.parent().unwrap_or(Path::new("."));
    let known: Vec<(String, &Arg)> = command
        .get_arguments()
        .filter_map(|arg| Some((key(arg)?, arg)))
        .collect();
    let (mut typed, mut last) = (Vec::new(), Vec::new());
    for (name, value) in table {
        // What a run tells of itself.
        if ["run", "base", "modules"].contains(&name.as_str()) {
            continue;
        }
        let Some((_, arg)) = known.iter().find(|(key, _)| key == name) else {
            return Err(wrong(unknown(name, &known)));
        };
        let bad = || wrong(format!("{name} is {value}, which is no value of it"));
        let word = |value: &Value| -> Result<OsString> {
            Ok(match value {
                Value::String(text) => match is_path(name) {
                    true => from(folder, name, text),
                    false => text.into(),
                },
                Value::Integer(number) => number.to_string().into(),
                Value::Float(number) => number.to_string().into(),
                _ => return Err(bad()),
            })
        };
        if is_flag(arg) {
            match value {
                Value::Boolean(true) => typed.push(format!("--{}", flag(name)).into()),
                Value::Boolean(false) => {}
                _ => return Err(bad()),
            }
            continue;
        }
        let words = match value {
            Value::Array(values) if is_list(arg) => {
                values.iter().map(word).collect::<Result<_>>()?
            }
            value => vec![word(value)?],
        };
        let joined = words.join(OsString::from(",").as_os_str());
        if arg.is_positional() {
            last.push(joined);
        } else if !words.is_empty() {
            let mut typing = OsString::from(format!("--{}=", flag(name)));
            typing.push(joined);
            typed.push(typing);
        }
    }
    if !last.is_empty() {
        typed.push("--".into());
        typed.extend(last);
    }
    Ok(typed)
}

fn flag(key: &str) -> String {
    key.replace('_', "-")
}

/// A path that a file in `folder` names.
fn from(folder: &Path, key: &str, text: &str) -> OsString {
    let random = key == "weights" && (text == "random" || text.starts_with("random:"));
    let there = folder.join(text);
    match random {
        true => text.into(),
        // Cleaned of `a/..`, so that it reads as somebody would have typed it.
        false => there
            .canonicalize()
            .ok()
            .and_then(|real| {
                let here = std::env::current_dir().ok()?.canonicalize().ok()?;
                Some(real.strip_prefix(here).ok()?.to_path_buf())
            })
            .filter(|short| !short.as_os_str().is_empty())
            .unwrap_or(there)
            .into_os_string(),
    }
}

fn unknown(name: &str, known: &[(String, &Arg)]) -> String {
    let distance = |key: &str| strsim::osa_distance(key, &name.replace('-', "_"));
    let nearest = known.iter().min_by_key(|(key, _)| distance(key));
    let shown = name.escape_debug();
    match nearest.filter(|(key, _)| distance(key) <= key.len().div_ceil(2)) {
        Some((key, _)) => format!("{shown} is no setting: did you mean {key}?"),
        None => format!("{shown} is no setting: `goldfish config init` writes all that there are"),
    }
}

/// Reads a file of settings.
pub fn read(path: &Path) -> Result<Table> {
    let about = fs::metadata(path).map_err(Error::io(path, "read"))?;
    if !about.is_file() || about.len() > MOST {
        return Err(Error::data(path, "is no file of settings"));
    }
    let text = fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let table = text.parse::<Table>();
    table.map_err(|e| Error::data(path, format!("is not TOML: {e}")))
}

/// Paths in `table` as the run.toml of the run in `folder` has them.
pub fn note_paths(table: &mut Table, folder: &Path) {
    for (key, value) in table.iter_mut() {
        let Value::String(text) = value else {
            continue;
        };
        if is_path(key) && !(key == "weights" && text.starts_with("random")) {
            *value = noted(&PathBuf::from(&*text), folder).into();
        }
    }
}

/// `words`, and behind them what would have to be typed for a command with the settings of a file, which lies at the path, and
/// all that was typed for another or the same one, to the byte, but for the flags to be left out, by their ids. What the file
/// says goes before what was typed.
pub fn command_line(
    mut words: Vec<OsString>,
    (typing, matches, leave): (&Command, &ArgMatches, &[&str]),
    (command, file, path): (&Command, &Table, &Path),
) -> Result<Vec<OsString>> {
    let mut last = Vec::new();
    for arg in typing.get_arguments() {
        let id = arg.get_id().as_str();
        let typed = matches!(matches.value_source(id), Some(ValueSource::CommandLine));
        // What the file still says, a run has made of what was typed.
        let resolved = key(arg).is_some_and(|key| file.contains_key(&key));
        if !typed || resolved || leave.contains(&id) {
            continue;
        }
        let raw = matches.get_raw(id).into_iter().flatten();
        match arg.get_long() {
            Some(long) if is_flag(arg) => words.push(format!("--{long}").into()),
            Some(long) => words.extend(raw.map(|raw| {
                let mut word = OsString::from(format!("--{long}="));
                word.push(raw);
                word
            })),
            None => last.extend(raw.map(OsString::from)),
        }
    }
    let mut filed = arguments(command, file, path)?;
    if let Some(at) = filed.iter().position(|word| word == "--") {
        last.extend(filed.split_off(at).into_iter().skip(1));
    }
    words.extend(filed);
    if !last.is_empty() {
        words.push("--".into());
        words.extend(last);
    }
    Ok(words)
}

/// What `file`, whose command this is, says: checked alone, so that what is wrong with it is said of it.
pub fn check(command: &Command, file: &Table, path: &Path) -> Result<()> {
    let words = arguments(command, file, path)?;
    let words = std::iter::once(OsString::from(command.get_name())).chain(words);
    match command.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        // The rest may be typed.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            Err(Error::data(path, first))
        }
    }
}
