//! The text that a kernel's compiler sees: its file behind the files that it imports, its constants filled in, its marked
//! loops written out. And the way back, from a place in that text to the file and line that a person wrote.
//!
//! A file says what it builds on in lines of its own, at its top:
//!
//! - `#import snippets/packed.wgsl`: a file of `shaders/`, which stands in the text once, whoever imports it.
//! - `#import stored`: the file that the kernel gives under this name ([`Kernel::import`](super::Kernel::import)).
//! - `#const ROWS: u32`: a number (or `bool`) that the kernel gives ([`Kernel::constant`](super::Kernel::constant)).

use super::shaders;
use super::unroll::{Unrolled, unroll};

/// A number that a kernel gives its shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// `u32`
    Count(usize),
    /// `bool`
    Flag(bool),
}

impl Constant {
    /// Its type in WGSL.
    fn kind(self) -> &'static str {
        match self {
            Constant::Count(_) => "u32",
            Constant::Flag(_) => "bool",
        }
    }
}

impl std::fmt::Display for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Constant::Count(count) => write!(f, "{count}u"),
            Constant::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl From<usize> for Constant {
    fn from(count: usize) -> Self {
        Constant::Count(count)
    }
}

impl From<bool> for Constant {
    fn from(flag: bool) -> Self {
        Constant::Flag(flag)
    }
}

/// What a kernel gives its files: names and what they stand for.
pub(super) struct Given<'a> {
    pub(super) imports: &'a [(&'static str, &'static str)],
    pub(super) constants: &'a [(&'static str, Constant)],
    /// The text of a file that is imported.
    pub(super) text: &'a dyn Fn(&str) -> Option<&'static str>,
}

/// WGSL as it is compiled, and where it comes from.
#[derive(Clone, Debug)]
pub struct Wgsl {
    unrolled: Unrolled,
    lines: Vec<Line>,
    files: Vec<&'static str>,
}

/// A line of the text before loops are written out.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Its first byte.
    start: usize,
    /// The file it is of, by its index.
    file: usize,
    /// Its number there, from 1.
    number: usize,
}

impl Wgsl {
    /// `file`, which has this `text`, with what it imports.
    pub(super) fn new(
        file: &'static str,
        text: &'static str,
        given: &Given,
    ) -> Result<Self, String> {
        let mut joined = Joined {
            given,
            open: Vec::new(),
            files: Vec::new(),
            constants: Vec::new(),
            names: Vec::new(),
            enabled: Vec::new(),
            lines: Vec::new(),
        };
        joined.add(file, text)?;
        joined.finish()
    }

    /// What is compiled.
    pub fn text(&self) -> &str {
        &self.unrolled.text
    }

    /// The files it is made of, each behind those that it imports. The last is the kernel's own.
    pub fn files(&self) -> &[&'static str] {
        &self.files
    }

    /// A compiler's message about this text, as naga writes them, with the places of the files: `shaders/ops/relu.wgsl:12:5`
    /// for `wgsl:317:5`.
    pub fn explain(&self, message: &str) -> String {
        let mut placed = false;
        let mut lines = Vec::new();
        for line in message.lines() {
            let place = line.split_once("┌─ ").and_then(|(margin, place)| {
                let mut parts = place.rsplitn(3, ':');
                let (column, row) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
                Some(format!("{margin}┌─ {}", self.place(row, column)?))
            });
            placed |= place.is_some();
            lines.push(
                place
                    .or_else(|| self.quoted(line))
                    .unwrap_or_else(|| line.to_string()),
            );
        }
        let explained = lines.join("\n");
        match self.files.last() {
            Some(file) if !placed => format!("{}: {explained}", shown(file)),
            _ => explained,
        }
    }

    /// `  317 │ code` with the line's number in its file.
    fn quoted(&self, line: &str) -> Option<String> {
        let (margin, code) = line.split_once(" │")?;
        let row = margin.trim_start().parse().ok()?;
        let text = self.text().lines().nth(usize::checked_sub(row, 1)?)?;
        let indent = text.chars().take_while(|c| c.is_whitespace()).count();
        let (_, number, _) = self.origin(row, indent + 1)?;
        Some(format!(
            "{number:>width$} │{code}",
            width = margin.chars().count()
        ))
    }

    /// Where the place of the text at this row and column, from 1, was written.
    fn place(&self, row: usize, column: usize) -> Option<String> {
        let (file, number, column) = self.origin(row, column)?;
        Some(format!("{}:{number}:{column}", shown(file)))
    }

    fn origin(&self, row: usize, column: usize) -> Option<(&'static str, usize, usize)> {
        let line = self.text().split_inclusive('\n').nth(row.checked_sub(1)?)?;
        let start = line.as_ptr() as usize - self.text().as_ptr() as usize;
        let within: usize = line
            .chars()
            .take(column.checked_sub(1)?)
            .map(char::len_utf8)
            .sum();
        let at = self.unrolled.origin(start + within);
        let line = self.lines[..self.lines.partition_point(|line| line.start <= at)].last()?;
        Some((self.files[line.file], line.number, at - line.start + 1))
    }
}

/// A file as messages call it: what is embedded lies in `shaders/`.
fn shown(file: &str) -> String {
    match shaders::text(file) {
        Some(_) => format!("shaders/{file}"),
        None => file.to_string(),
    }
}

/// Files while they are put together.
struct Joined<'a> {
    given: &'a Given<'a>,
    /// Files that wait for their imports.
    open: Vec<&'static str>,
    files: Vec<&'static str>,
    /// Constants that were declared, and names that were imported.
    constants: Vec<&'static str>,
    names: Vec<&'static str>,
    /// `enable` directives, which WGSL wants first.
    enabled: Vec<(Line, String)>,
    lines: Vec<(Line, String)>,
}

impl Joined<'_> {
    /// Adds a file behind what it imports.
    fn add(&mut self, file: &'static str, text: &'static str) -> Result<(), String> {
        if self.files.contains(&file) {
            return Ok(());
        }
        self.open.push(file);
        let mut own = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let fault = |problem: String| format!("{}:{number}: {problem}", shown(file));
            let line = if let Some(name) = line.strip_prefix("#import ") {
                self.import(name.trim(), &fault)?;
                continue;
            } else if let Some(declared) = line.strip_prefix("#const ") {
                match self.constant(declared).map_err(fault)? {
                    Some(declaration) => declaration,
                    None => continue,
                }
            } else if line.starts_with('#') {
                return Err(fault(format!("{line:?} is neither #import nor #const")));
            } else {
                line.to_string()
            };
            own.push((number, line));
        }
        self.open.pop();
        self.files.push(file);
        let of = self.files.len() - 1;
        for (number, line) in own {
            let to = match line.starts_with("enable ") {
                true => &mut self.enabled,
                false => &mut self.lines,
            };
            to.push((
                Line {
                    start: 0,
                    file: of,
                    number,
                },
                line,
            ));
        }
        Ok(())
    }

    fn import(
        &mut self,
        name: &'static str,
        fault: &dyn Fn(String) -> String,
    ) -> Result<(), String> {
        let file = match self.given.imports.iter().find(|(given, _)| *given == name) {
            Some((given, file)) => {
                self.names.push(given);
                file
            }
            None if name.ends_with(".wgsl") => &name,
            None => {
                return Err(fault(format!(
                    "the kernel gives no file for the import {name:?}"
                )));
            }
        };
        if let Some(at) = self.open.iter().position(|open| open == file) {
            let circle = [&self.open[at..], &[*file]].concat().join(" -> ");
            return Err(fault(format!("imports go in a circle: {circle}")));
        }
        let text = (self.given.text)(file);
        let text = text.ok_or_else(|| fault(format!("there is no shader {file:?} to import")))?;
        self.add(file, text)
    }

    /// `NAME: TYPE // why` as a declaration with its value, once.
    fn constant(&mut self, declared: &'static str) -> Result<Option<String>, String> {
        let (code, comment) = declared.split_once("//").unwrap_or((declared, ""));
        let (name, kind) = code
            .split_once(':')
            .map(|(name, kind)| (name.trim(), kind.trim()))
            .ok_or_else(|| format!("{declared:?} is not NAME: TYPE"))?;
        let given = self.given;
        let given = given.constants.iter().find(|(given, _)| *given == name);
        let (name, value) = given.ok_or_else(|| format!("the kernel gives no constant {name}"))?;
        if value.kind() != kind {
            return Err(format!(
                "{name} is {kind} here, the kernel gives {}",
                value.kind()
            ));
        }
        if self.constants.contains(name) {
            return Ok(None);
        }
        self.constants.push(name);
        let comment = if comment.is_empty() { "" } else { " //" }.to_string() + comment;
        Ok(Some(format!("const {name}: {kind} = {value};{comment}")))
    }

    fn finish(self) -> Result<Wgsl, String> {
        let constants = self.given.constants.iter().map(|(name, _)| name);
        let imports = self.given.imports.iter().map(|(name, _)| name);
        let unused = constants.filter(|name| !self.constants.contains(name));
        let mut unused = unused.chain(imports.filter(|name| !self.names.contains(name)));
        if let Some(name) = unused.next() {
            return Err(format!("no file asks for {name:?}, which the kernel gives"));
        }
        let (mut text, mut lines) = (String::new(), Vec::new());
        for (line, code) in self.enabled.into_iter().chain(self.lines) {
            lines.push(Line {
                start: text.len(),
                ..line
            });
            text += &code;
            text.push('\n');
        }
        let mut wgsl = Wgsl {
            unrolled: Unrolled::plain(text),
            lines,
            files: self.files,
        };
        wgsl.unrolled = unroll(wgsl.text()).map_err(|(at, problem)| {
            let row = wgsl.text()[..at].matches('\n').count() + 1;
            format!("{}: {problem}", wgsl.place(row, 1).unwrap_or_default())
        })?;
        Ok(wgsl)
    }
}

#[cfg(test)]
mod tests;
