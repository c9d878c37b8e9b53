//! What goes together, what does not, and the way back to a file and line.

use super::{Constant, Given, Wgsl};

/// `top.wgsl` and what it imports, of files that exist nowhere.
fn join(
    files: &'static [(&'static str, &'static str)],
    imports: &[(&'static str, &'static str)],
    constants: &[(&'static str, Constant)],
) -> Result<Wgsl, String> {
    let text = |path: &str| files.iter().find(|f| f.0 == path).map(|f| f.1);
    let given = Given {
        imports,
        constants,
        text: &text,
    };
    Wgsl::new("top.wgsl", text("top.wgsl").expect("a top"), &given)
}

#[test]
fn files_stand_behind_what_they_import_once_each() {
    let wgsl = join(
        &[
            (
                "top.wgsl",
                "// top\n#import left.wgsl\n#import which\n#const N: u32 // of them\ntop\n",
            ),
            ("left.wgsl", "#import base.wgsl\n#const N: u32\nleft\n"),
            (
                "right.wgsl",
                "enable f16;\n#import base.wgsl\n#const B: bool\nright",
            ),
            ("base.wgsl", "base\n"),
        ],
        &[("which", "right.wgsl")],
        &[("N", 3.into()), ("B", true.into())],
    );
    let wgsl = wgsl.expect("they go together");
    assert_eq!(
        wgsl.files(),
        ["base.wgsl", "left.wgsl", "right.wgsl", "top.wgsl"]
    );
    assert_eq!(
        wgsl.text(),
        "enable f16;\nbase\nconst N: u32 = 3u;\nleft\nconst B: bool = true;\nright\n// top\ntop\n"
    );
}

#[test]
fn places_lead_back_through_imports_constants_and_loops() {
    let wgsl = join(
        &[
            (
                "top.wgsl",
                "#import low.wgsl\n// unroll\nfor (var i = 0u; i < N; i++) {\n    a[i] = wrong;\n}\nend\n",
            ),
            ("low.wgsl", "// low\n#const N: u32\nlow\n"),
        ],
        &[],
        &[("N", 12.into())],
    );
    let wgsl = wgsl.expect("they go together");
    for (row, line) in wgsl.text().lines().enumerate() {
        for (word, place) in [
            ("wrong", "top.wgsl:4:12"),
            ("end", "top.wgsl:6:1"),
            ("low", "low.wgsl:3:1"),
        ] {
            if let Some(column) = line.find(word).filter(|_| !line.starts_with("//")) {
                let message = format!(
                    "error: no\n  ┌─ wgsl:{}:{}\n{:>3} │ {line}",
                    row + 1,
                    column + 1,
                    row + 1
                );
                // A value of two digits puts what follows one further, but not back.
                let explained = wgsl.explain(&message);
                assert!(explained.contains(&format!("┌─ {place}\n")), "{explained}");
                let number = place.split(':').nth(1).expect("a line");
                assert!(
                    explained.contains(&format!("\n  {number} │ ")),
                    "{explained}"
                );
            }
        }
    }
    assert_eq!(wgsl.text().matches("wrong").count(), 12);
    assert_eq!(wgsl.explain("no place"), "top.wgsl: no place");
}

#[test]
fn what_does_not_go_together_is_an_error_with_its_line() {
    let error = |files, imports: &[_], constants: &[_]| {
        join(files, imports, constants).expect_err("it does not go together")
    };
    let n: &[(&str, Constant)] = &[("N", 3.into())];
    for (files, imports, constants, expected) in [
        (
            &[("top.wgsl", "\n#import low.wgsl")][..],
            &[][..],
            &[][..],
            "top.wgsl:2: there is no shader \"low.wgsl\" to import",
        ),
        (
            &[("top.wgsl", "#import low")],
            &[],
            &[],
            "top.wgsl:1: the kernel gives no file for the import \"low\"",
        ),
        (
            &[("top.wgsl", "#import low")],
            &[("low", "low.wgsl")],
            &[],
            "top.wgsl:1: there is no shader \"low.wgsl\" to import",
        ),
        (
            &[
                ("top.wgsl", "#import a.wgsl"),
                ("a.wgsl", "#import b.wgsl"),
                ("b.wgsl", "#import a.wgsl"),
            ],
            &[],
            &[],
            "b.wgsl:1: imports go in a circle: a.wgsl -> b.wgsl -> a.wgsl",
        ),
        (
            &[("top.wgsl", "#const N: u32")],
            &[],
            &[],
            "top.wgsl:1: the kernel gives no constant N",
        ),
        (
            &[("top.wgsl", "#const N: bool")],
            &[],
            n,
            "top.wgsl:1: N is bool here, the kernel gives u32",
        ),
        (
            &[("top.wgsl", "#const N")],
            &[],
            n,
            "top.wgsl:1: \"N\" is not NAME: TYPE",
        ),
        (
            &[("top.wgsl", "#include x")],
            &[],
            &[],
            "top.wgsl:1: \"#include x\" is neither #import nor #const",
        ),
        (
            &[("top.wgsl", "")],
            &[],
            n,
            "no file asks for \"N\", which the kernel gives",
        ),
        (
            &[("top.wgsl", ""), ("low.wgsl", "")],
            &[("low", "low.wgsl")],
            &[],
            "no file asks for \"low\", which the kernel gives",
        ),
        (
            &[
                ("top.wgsl", "#import low.wgsl\n\n// unroll\nwhile true {}"),
                ("low.wgsl", "low\nlow"),
            ],
            &[],
            &[],
            "top.wgsl:4:1: \"while true\" is not a loop that can be unrolled",
        ),
    ] {
        assert_eq!(error(files, imports, constants), expected);
    }
}
