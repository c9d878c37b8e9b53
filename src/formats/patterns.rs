//! Names of modules as PEFT's settings give them: lists of names, and regular expressions of Python.
//!
//! Python's `re` and Rust's `regex` spell some things alike and mean others by them, so an expression is read by its
//! parts: what both know and both take for the same is matched, everything else is refused.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast};
use serde_json::{Map, Value};

/// The longest expression that is read.
const MAX_LENGTH: usize = 4096;
/// The most memory of one compiled expression.
const MAX_COMPILED: usize = 1 << 20;
/// The most entries that are read of a pattern; VGG19 has 19 layers.
const MAX_ENTRIES: usize = 256;

/// What PEFT finds in a module's name with `re.match`, from its start.
fn compile(expression: &str) -> Result<Regex, String> {
    let refused = |why: &str| format!("the regular expression {expression:?} is not read ({why})");
    if expression.len() > MAX_LENGTH {
        return Err(format!(
            "a regular expression of {} characters is not read",
            expression.len()
        ));
    }
    let parsed = ast::parse::Parser::new().parse(expression);
    let parsed = parsed.map_err(|e| refused(&e.kind().to_string()))?;
    ast::visit(&parsed, AsPython).map_err(refused)?;
    RegexBuilder::new(&format!("^(?:{expression})"))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|_| refused("it is too large"))
}

/// Ends with an error at the first part of an expression that Python does not know or takes for something else.
struct AsPython;

impl ast::Visitor for AsPython {
    type Output = ();
    type Err = &'static str;

    fn finish(self) -> Result<(), Self::Err> {
        Ok(())
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), Self::Err> {
        use ast::AssertionKind::{EndLine, NotWordBoundary, StartLine, StartText, WordBoundary};
        match part {
            Ast::Flags(_) => Err("flags are not supported"),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) if !flags.items.is_empty() => {
                    Err("flags are not supported")
                }
                ast::GroupKind::CaptureName {
                    starts_with_p: false,
                    ..
                } => Err("Python writes (?P<name>...)"),
                _ => Ok(()),
            },
            Ast::Assertion(at) => match at.kind {
                StartLine | EndLine | StartText | WordBoundary | NotWordBoundary => Ok(()),
                _ => Err("Python has another meaning for this assertion"),
            },
            Ast::Repetition(repeated) => match *repeated.ast {
                Ast::Repetition(_) => Err("a repetition of a repetition, or a possessive one"),
                Ast::Assertion(_) => Err("a repetition of nothing"),
                _ => Ok(()),
            },
            Ast::ClassUnicode(_) => Err("Python has no classes \\p{...}"),
            Ast::Literal(literal) => plain(literal),
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ast::ClassSetItem::Literal(literal) => plain(literal),
            ast::ClassSetItem::Range(range) => plain(&range.start).and(plain(&range.end)),
            ast::ClassSetItem::Ascii(_)
            | ast::ClassSetItem::Unicode(_)
            | ast::ClassSetItem::Bracketed(_) => Err("Python has no such class within a class"),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(
        &mut self,
        _: &ast::ClassSetBinaryOp,
    ) -> Result<(), Self::Err> {
        Err("Python has no operations on classes")
    }
}

/// Whether a character is written as Python writes it.
fn plain(literal: &ast::Literal) -> Result<(), &'static str> {
    match literal.kind {
        ast::LiteralKind::HexBrace(_) => Err("Python has no \\x{...}"),
        _ => Ok(()),
    }
}

/// `rank_pattern` or `alpha_pattern`: values by what a module's name ends with, in the file's order.
#[derive(Clone, Debug)]
pub(super) struct Patterns<T>(Vec<(Regex, T)>);

impl<T: Copy> Patterns<T> {
    /// Reads the setting; the parts of `config` that it may lack are no patterns.
    pub(super) fn read(
        config: &Map<String, Value>,
        setting: &str,
        value: impl Fn(&Value) -> Option<T>,
    ) -> Result<Self, String> {
        let entries = match config.get(setting) {
            None | Some(Value::Null) => return Ok(Patterns(Vec::new())),
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(format!("{setting} is not an object")),
        };
        if entries.len() > MAX_ENTRIES {
            return Err(format!(
                "{setting} has {} entries; at most {MAX_ENTRIES} are read",
                entries.len()
            ));
        }
        let entry = |(key, found): (&String, &Value)| {
            let value = value(found)
                .ok_or_else(|| format!("{setting}: {key:?} has the impossible value {found}"))?;
            // PEFT's `get_pattern_key`.
            let regex = compile(&format!(r"(.*\.)?({key})$"));
            Ok((regex.map_err(|e| format!("{setting}: {e}"))?, value))
        };
        entries
            .iter()
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Patterns)
    }

    /// The value of the first entry that fits.
    pub(super) fn of(&self, module: &str) -> Option<T> {
        let fits = |(key, _): &&(Regex, T)| key.is_match(module);
        self.0.iter().find(fits).map(|(_, value)| *value)
    }
}

/// `target_modules` or `exclude_modules`: which modules are meant.
#[derive(Clone, Debug)]
pub(super) enum Modules {
    /// These, each by all of its name or by its last parts.
    Named(Vec<String>),
    /// Those whose whole name matches.
    Matching(Regex),
    /// Every linear layer.
    Linear,
}

impl Modules {
    /// Reads the setting; nothing where it is not given.
    pub(super) fn read(config: &Map<String, Value>, setting: &str) -> Result<Option<Self>, String> {
        match config.get(setting) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(names)) => {
                let name = |name: &Value| name.as_str().map(str::to_string);
                let names: Option<Vec<String>> = names.iter().map(name).collect();
                names
                    .map(|names| Some(Modules::Named(names)))
                    .ok_or_else(|| format!("{setting} has a name that is not text"))
            }
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text))
                if setting == "target_modules" && text.eq_ignore_ascii_case("all-linear") =>
            {
                Ok(Some(Modules::Linear))
            }
            Some(Value::String(text)) => {
                // By itself first: within the parentheses below, others of its own could close them.
                compile(text)
                    .and_then(|_| compile(&format!("(?:{text})$")))
                    .map(|regex| Some(Modules::Matching(regex)))
                    .map_err(|e| format!("{setting}: {e}"))
            }
            Some(_) => Err(format!("{setting} is neither a list nor an expression")),
        }
    }

    /// Whether all of the module's name is in the list.
    pub(super) fn names(&self, module: &str) -> bool {
        matches!(self, Modules::Named(names) if names.iter().any(|name| name == module))
    }

    /// Whether the module is meant.
    pub(super) fn has(&self, module: &str, linear: bool) -> bool {
        let ends = |name: &String| {
            let rest = module.strip_suffix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self {
            Modules::Named(names) => names.iter().any(ends),
            Modules::Matching(whole) => whole.is_match(module),
            Modules::Linear => linear,
        }
    }
}
