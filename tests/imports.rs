//! Which files of a crate import which: read from their words, a `use` or a path, and followed through re-exports to the
//! file that owns the name. A folder's face (`mod.rs`, `lib.rs`) may re-export what lies in it: that is no import.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Where a name that is written somewhere leads: from the crate's root.
type Names = Vec<String>;

/// The files of a crate, and which of them import which.
pub struct House {
    /// `src/ops/add.rs`.
    pub files: Vec<String>,
    /// For each file, the files that it imports from, each with the words that do so.
    pub imports: Vec<BTreeMap<usize, String>>,
}

/// What a file says.
#[derive(Default)]
struct Spoken {
    /// What it names, and whether only to show it from elsewhere.
    named: Vec<(Names, bool)>,
    /// What its own short names stand for.
    short: BTreeMap<String, Names>,
}

impl House {
    pub fn new(sources: Vec<(String, String)>) -> Self {
        let modules: Vec<Names> = sources.iter().map(|(file, _)| module(file)).collect();
        let spoken: Vec<Spoken> = sources
            .iter()
            .zip(&modules)
            .map(|((file, text), module)| {
                let tokens: TokenStream = text
                    .parse()
                    .unwrap_or_else(|e| panic!("{file} is no Rust: {e}"));
                listen(module, &modules, tokens)
            })
            .collect();
        let imports = spoken.iter().enumerate().map(|(from, said)| {
            let mut imports = BTreeMap::new();
            for (names, shown) in &said.named {
                let own = names.len() > modules[from].len() && names.starts_with(&modules[from]);
                if *shown && own {
                    continue;
                }
                if let Some(to) = owner(&modules, &spoken, names.clone()).filter(|&to| to != from) {
                    imports.entry(to).or_insert_with(|| names.join("::"));
                }
            }
            imports
        });
        let imports = imports.collect();
        House {
            files: sources.into_iter().map(|(file, _)| file).collect(),
            imports,
        }
    }
}

/// `src/ops/add.rs` is the module `ops::add`, `src/ops/mod.rs` is `ops`, and both crates have one root.
fn module(file: &str) -> Names {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let names = path
        .split('/')
        .filter(|name| !["mod", "lib", "main"].contains(name));
    names.map(str::to_string).collect()
}

/// The file that owns what `names` lead to, through what other files show.
fn owner(modules: &[Names], spoken: &[Spoken], mut names: Names) -> Option<usize> {
    // Longer chains than this are no longer re-exports but a mistake of this reader.
    for _ in 0..16 {
        let depth = (0..=names.len())
            .rev()
            .find(|&depth| modules.contains(&names[..depth].to_vec()))?;
        let file = modules.iter().position(|m| *m == names[..depth])?;
        let Some(shown) = names
            .get(depth)
            .and_then(|name| spoken[file].short.get(name))
        else {
            return Some(file);
        };
        names = [&shown[..], &names[depth + 1..]].concat();
    }
    panic!("{} leads nowhere", names.join("::"));
}

/// Reads a file's tokens.
fn listen(module: &Names, modules: &[Names], tokens: TokenStream) -> Spoken {
    let mut said = Said::default();
    said.read(module, tokens);
    let children = modules
        .iter()
        .filter(|m| m.len() == module.len() + 1 && m.starts_with(module));
    let mut short: BTreeMap<String, Names> = children
        .map(|m| (m[module.len()].clone(), m.clone()))
        .collect();
    let from_root = |scope: &Names, path: &[String], short: &BTreeMap<String, Names>| {
        let (mut at, mut rest) = match &*path[0] {
            "crate" | "goldfish" => (Vec::new(), &path[1..]),
            "self" | "super" => (scope.clone(), path),
            name => (short.get(name)?.clone(), &path[1..]),
        };
        while let Some(first) = rest
            .first()
            .filter(|name| ["self", "super"].contains(&&***name))
        {
            if first == "super" {
                at.pop();
            }
            rest = &rest[1..];
        }
        Some([&at[..], rest].concat())
    };
    let mut named = Vec::new();
    for (scope, path, name, shown) in &said.uses {
        if let Some(names) = from_root(scope, path, &short) {
            named.push((names.clone(), *shown));
            if name != "*" && *scope == *module {
                short.insert(name.clone(), names);
            }
        }
    }
    for (scope, path) in &said.paths {
        named.extend(from_root(scope, path, &short).map(|names| (names, false)));
    }
    Spoken { named, short }
}

/// The words of a file, as they are written.
#[derive(Default)]
struct Said {
    /// Scope, path, the name that it gets here, and whether it is shown on.
    uses: Vec<(Names, Names, String, bool)>,
    /// Scope and path.
    paths: Vec<(Names, Names)>,
}

impl Said {
    fn read(&mut self, scope: &Names, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut i = 0;
        let mut public = false;
        while i < tokens.len() {
            match &tokens[i] {
                TokenTree::Ident(word) if word == "pub" => {
                    public = true;
                    i += 1;
                    // `pub(in crate::ops)` says who may see it.
                    let whom = matches!(&tokens[i], TokenTree::Group(g) if g.delimiter() == Delimiter::Parenthesis);
                    i += usize::from(whom);
                    continue;
                }
                // `use<'a>` in a type says what it captures.
                TokenTree::Ident(word) if word == "use" && !is(&tokens[i + 1], '<') => {
                    let end = (i..tokens.len())
                        .find(|&at| is(&tokens[at], ';'))
                        .expect("a use ends");
                    self.tree(scope, &[], &tokens[i + 1..end], public);
                    i = end;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let [_, TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[i..] {
                        let inner = [&scope[..], &[name.to_string()]].concat();
                        self.read(&inner, body.stream());
                        i += 2;
                    }
                }
                TokenTree::Ident(_) => {
                    let (path, length) = path(&tokens[i..]);
                    if path.len() > 1 {
                        self.paths.push((scope.clone(), path));
                    }
                    i += length - 1;
                }
                TokenTree::Group(group) => self.read(scope, group.stream()),
                _ => {}
            }
            public = false;
            i += 1;
        }
    }

    /// One tree of a `use`, below `before`.
    fn tree(&mut self, scope: &Names, before: &[String], tokens: &[TokenTree], public: bool) {
        let (mut path, length) = path(tokens);
        path.splice(0..0, before.iter().cloned());
        match tokens.get(length) {
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inner
                    .split(|token| is(token, ','))
                    .filter(|b| !b.is_empty())
                {
                    self.tree(scope, &path, branch, public);
                }
            }
            Some(token) if is(token, '*') => {
                self.uses.push((scope.clone(), path, "*".into(), public));
            }
            other => {
                if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
                    path.pop();
                }
                let name = match (other, tokens.get(length + 1)) {
                    (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(name)))
                        if word == "as" =>
                    {
                        name.to_string()
                    }
                    _ => path.last().expect("a use names something").clone(),
                };
                self.uses.push((scope.clone(), path, name, public));
            }
        }
    }
}

/// `a::b::c` at the start of some tokens, and how many of them it has, a last `::` included.
fn path(tokens: &[TokenTree]) -> (Names, usize) {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        names.push(name.to_string());
        at += 1;
        if !(tokens.get(at).is_some_and(|t| is(t, ':'))
            && tokens.get(at + 1).is_some_and(|t| is(t, ':')))
        {
            break;
        }
        at += 2;
    }
    (names, at)
}

fn is(token: &TokenTree, what: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == what)
}
