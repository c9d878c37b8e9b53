//! The house has floors: a file of `src/` imports from its own floor and from those below it, and no files import each
//! other in a circle. Read from the sources, so it needs no device.

use std::collections::BTreeSet;
use std::path::Path;

use libtest_mimic::Trial;

use crate::imports::House;
use crate::support::{root, trial};

/// The rooms of each floor, from the ground up. The README's table has the same.
const FLOORS: &[&[&str]] = &[
    &["error", "random", "files"],
    &["world"],
    &["gpu"],
    &["tensor"],
    &["autograd"],
    &["check"],
    &["ops", "optim"],
    &["conv"],
    &["nn"],
    &["formats", "data"],
    &["train"],
    &["bench"],
    &["selftest"],
    &["cli"],
    &["main"],
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("floors::no_file_imports_from_above", || {
            let house = House::new(sources());
            assert_eq!(house.faults(FLOORS), Vec::<String>::new());
        }),
        trial("floors::no_files_import_each_other_in_a_circle", || {
            let house = House::new(sources());
            assert_eq!(house.circle(), None);
        }),
        trial("floors::the_readme_has_the_same_floors", readme),
        trial("floors::an_arrow_upward_is_named", upward),
        trial("floors::a_circle_is_named", circles),
        trial("floors::a_face_may_show_what_is_in_its_folder", faces),
        trial("floors::every_way_to_name_a_file_is_seen", spellings),
        trial("floors::what_only_looks_like_an_import_is_none", lookalikes),
        trial("floors::a_room_without_a_floor_is_named", homeless),
    ]
}

impl House {
    /// What is wrong with the floors: every arrow upward, and every file without a floor.
    fn faults(&self, floors: &[&[&str]]) -> Vec<String> {
        let floor = |file: &str| {
            let room = room(file);
            let at = floors.iter().position(|rooms| rooms.contains(&room));
            at.map(|at| (at, floors[at].join(" ")))
        };
        let mut faults = Vec::new();
        for (file, imports) in self.files.iter().zip(&self.imports) {
            let Some((own, rooms)) = floor(file) else {
                // The library's face shows what others own, and owns nothing.
                if file != "src/lib.rs" || !imports.is_empty() {
                    faults.push(format!("{file} has no floor"));
                }
                continue;
            };
            for (&to, words) in imports {
                let to = &self.files[to];
                if let Some((other, others)) = floor(to).filter(|(other, _)| *other > own) {
                    faults.push(format!(
                        "{file} (floor {own}: {rooms}) imports {words} from {to} (floor {other}: {others}), which \
                         stands above it"
                    ));
                }
            }
        }
        faults
    }

    /// Some files that import each other in a circle.
    fn circle(&self) -> Option<String> {
        let mut done = BTreeSet::new();
        let mut path = Vec::new();
        let circle = (0..self.files.len()).find_map(|file| self.walk(file, &mut path, &mut done));
        circle.map(|files| {
            let names: Vec<&str> = files.iter().map(|&file| &*self.files[file]).collect();
            names.join(" -> ")
        })
    }

    fn walk(
        &self,
        file: usize,
        path: &mut Vec<usize>,
        done: &mut BTreeSet<usize>,
    ) -> Option<Vec<usize>> {
        if let Some(start) = path.iter().position(|&f| f == file) {
            return Some([&path[start..], &[file]].concat());
        }
        if done.contains(&file) {
            return None;
        }
        path.push(file);
        let found = self.imports[file]
            .keys()
            .find_map(|&to| self.walk(to, path, done));
        path.pop();
        done.insert(file);
        found
    }
}

/// The folder, or the file at the top, that a file belongs to.
fn room(file: &str) -> &str {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').next().unwrap_or(path)
}

/// The crate's own files.
pub fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a text file");
                sources.push((name(&path), text));
            }
        }
    }
    sources.sort();
    assert!(sources.len() > FLOORS.len(), "the sources are there");
    sources
}

fn name(path: &Path) -> String {
    let below = path.strip_prefix(root()).expect("below the package");
    let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
    parts.collect::<Vec<_>>().join("/")
}

/// The table's first cells, from its heading down.
fn readme() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let table = text.split("| floor, from the ground up |").nth(1);
    let rows = table.expect("the table of floors").lines().skip(2);
    let floors: Vec<Vec<String>> = rows
        .take_while(|row| row.starts_with('|'))
        .map(|row| {
            let cell = row.split('|').nth(1).expect("a cell");
            let words = cell.split('`').skip(1).step_by(2);
            words
                .map(|word| {
                    word.trim_end_matches('/')
                        .trim_end_matches(".rs")
                        .to_string()
                })
                .collect()
        })
        .collect();
    assert_eq!(floors, FLOORS);
}

/// Files that exist nowhere, each with what it says.
fn house(files: &[(&str, &str)]) -> House {
    let owned = files.iter().map(|(f, t)| (f.to_string(), t.to_string()));
    House::new(owned.collect())
}

const TWO: &[&[&str]] = &[&["low"], &["high"]];

fn upward() {
    let wrong = house(&[
        ("src/low/mod.rs", "mod cellar;"),
        ("src/low/cellar.rs", "use crate::high::Roof; fn f() {}"),
        ("src/high.rs", "pub struct Roof; use crate::low;"),
    ]);
    assert_eq!(
        wrong.faults(TWO),
        [
            "src/low/cellar.rs (floor 0: low) imports high::Roof from src/high.rs (floor 1: high), which stands above it"
        ]
    );
}

fn circles() {
    let circle = house(&[
        ("src/low/mod.rs", "mod a; mod b; mod c;"),
        ("src/low/a.rs", "use super::b::B; pub struct A;"),
        ("src/low/b.rs", "use super::c::C; pub struct B;"),
        ("src/low/c.rs", "pub struct C(crate::low::a::A);"),
    ]);
    assert_eq!(circle.faults(TWO), Vec::<String>::new());
    assert_eq!(
        circle.circle().as_deref(),
        Some("src/low/a.rs -> src/low/b.rs -> src/low/c.rs -> src/low/a.rs")
    );
    // A parent that uses its child, which uses its parent's own.
    let circle = house(&[
        ("src/low/mod.rs", "mod a; pub struct Own; fn f() { a::g() }"),
        ("src/low/a.rs", "use super::Own; pub fn g() {}"),
    ]);
    assert_eq!(
        circle.circle().as_deref(),
        Some("src/low/mod.rs -> src/low/a.rs -> src/low/mod.rs")
    );
}

fn faces() {
    let shown = house(&[
        (
            "src/lib.rs",
            "mod low; mod high; pub use high::Roof; pub use low::A;",
        ),
        (
            "src/low/mod.rs",
            "mod a; mod b; pub use a::A; pub(crate) use b::{B, C as D};",
        ),
        ("src/low/a.rs", "use crate::low::D; pub struct A;"),
        ("src/low/b.rs", "pub struct B; pub struct C;"),
        ("src/high.rs", "use crate::low::{A, B}; pub struct Roof;"),
    ]);
    assert_eq!(shown.faults(TWO), Vec::<String>::new());
    assert_eq!(shown.circle(), None);
    let [a, b, high] = [2, 3, 4];
    assert_eq!(Vec::from_iter(shown.imports[a].keys()), [&b]);
    assert_eq!(Vec::from_iter(shown.imports[high].keys()), [&a, &b]);
    // What a face shows hides no arrow: the name leads to the file that owns it.
    let hidden = house(&[
        ("src/lib.rs", "mod low; mod high; pub use high::Roof;"),
        ("src/low.rs", "use crate::Roof;"),
        ("src/high.rs", "pub struct Roof;"),
    ]);
    assert_eq!(
        hidden.faults(TWO),
        [
            "src/low.rs (floor 0: low) imports Roof from src/high.rs (floor 1: high), which stands above it"
        ]
    );
    // Nor may it show what lies above it.
    let above = house(&[
        ("src/low/mod.rs", "pub use crate::high::Roof;"),
        ("src/high.rs", "pub struct Roof;"),
    ]);
    assert_eq!(above.faults(TWO).len(), 1);
}

fn spellings() {
    for upward in [
        "use crate::high::Roof;",
        "use crate::{low, high::{self, Roof as R}};",
        "use crate::high::*;",
        "use goldfish::high::Roof;",
        "use super::high::Roof;",
        "use crate::high; fn f() { high::g(); }",
        "fn f() -> crate::high::Roof { todo() }",
        "fn f() { println!(\"{}\", crate::high::g()); }",
        "fn f() { super::high::g(); }",
        "fn f() { use crate::high::g; g() }",
        "mod tests { use super::super::high::Roof; }",
        "macro_rules! m { () => { crate::high::g() } }",
    ] {
        let house = house(&[("src/low.rs", upward), ("src/high.rs", "")]);
        assert_eq!(house.faults(TWO).len(), 1, "{upward}");
    }
}

fn lookalikes() {
    for text in [
        "// use crate::high::Roof;\n/// See [`crate::high::Roof`].\nfn f() {}",
        "const S: &str = \"use crate::high::Roof;\";",
        "use other::high::Roof;",
        "pub(in crate::high) fn f() {}",
        "mod tests { use super::f; } fn f() {}",
        "fn f() { let high = 1; g(high) }",
        "fn f<'a>() -> impl Iterator<Item = u8> + use<'a> { g() }",
    ] {
        let house = house(&[("src/low.rs", text), ("src/high.rs", "")]);
        assert_eq!(house.faults(TWO), Vec::<String>::new(), "{text}");
        assert_eq!(house.circle(), None, "{text}");
    }
}

fn homeless() {
    let house = house(&[("src/low.rs", ""), ("src/shed/mod.rs", "")]);
    assert_eq!(house.faults(TWO), ["src/shed/mod.rs has no floor"]);
}
