//! What ranks say of pictures together: the same bytes as one process, whatever is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::launch::{LIMIT, PROGRAM, Said, TINY, alone, at_home, ended, on, pictures, wait};

/// One process, and so many ranks.
const RANKS: [Option<usize>; 5] = [None, Some(1), Some(2), Some(3), Some(4)];

fn command(ranks: Option<usize>, folder: &Path, words: &[&str]) -> Command {
    match ranks {
        None => alone(folder, words),
        Some(ranks) => on(ranks, folder, words),
    }
}

/// Every file below `folder`.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let entries = fs::read_dir(folder).into_iter().flatten();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).expect("a file"))),
        }
    }
    all
}

/// One process, and of the numbers of ranks every second one: by what is asked the even or the odd ones.
fn some(words: &[&str]) -> [Option<usize>; 3] {
    match words.concat().len() % 2 {
        0 => [None, Some(2), Some(4)],
        _ => [None, Some(1), Some(3)],
    }
}

/// That `words` have one process and some ranks exit with `code`, print the same, and write the same to `out`, which is
/// returned.
fn same(at: &Path, words: &[&str], code: i32) -> String {
    let mut expected = None;
    for ranks in some(words) {
        let said = ended(&mut command(ranks, at, words));
        assert_eq!(
            said.status.code(),
            Some(code),
            "{words:?} on {ranks:?}: {}",
            said.err
        );
        let written = files(&at.join("out"));
        let _ = fs::remove_dir_all(at.join("out"));
        fs::create_dir(at.join("out")).expect("a folder");
        let found = (said.out, written);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert_eq!(found.0, expected.0, "{words:?} on {ranks:?}");
        assert!(
            found.1 == expected.1,
            "{words:?} on {ranks:?} writes otherwise"
        );
    }
    expected.map_or(String::new(), |(out, _)| out)
}

/// A folder with so many pictures in `data`, and one for what is written.
fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "data", count);
    fs::create_dir(folder.path().join("out")).expect("a folder");
    folder
}

fn predict<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["predict"], words, &TINY[..]].concat()
}

#[test]
fn predictions_are_those_of_one_process() {
    // More than a round of groups on two ranks, fewer than there are ranks, one.
    for count in [40, 7, 1] {
        let folder = folder(count);
        for format in ["table", "csv", "jsonl", "json"] {
            let out = same(folder.path(), &predict(&["data", "--format", format]), 0);
            assert!(out.matches(".png").count() >= count, "{out}");
        }
        for layer in ["avgpool", "classifier.0", "features.0"] {
            let words = ["data", "--features", layer, "-o", "out/f.safetensors"];
            let out = same(folder.path(), &predict(&words), 0);
            let images = format!("({count} images, ");
            assert!(out.contains(&images), "{out}");
        }
        same(
            folder.path(),
            &predict(&["data", "--sort-into", "out/sorted"]),
            0,
        );
    }
}

#[test]
fn what_cannot_be_read_is_told_of_once() {
    let folder = folder(20);
    for bad in ["a/0", "b/10", "c/17"] {
        fs::write(folder.path().join(format!("data/{bad}.png")), b"no picture").expect("a file");
    }
    for format in ["table", "csv", "jsonl", "json"] {
        let words = ["data", "--skip-bad", "--format", format];
        same(folder.path(), &predict(&words), 0);
    }
    let words = ["data", "--skip-bad", "--features", "avgpool", "-o", "out/f"];
    same(folder.path(), &predict(&words), 0);
    let refused = |words: &[&str], says: &str, ends: &str| {
        for ranks in some(words) {
            let said = ended(&mut command(ranks, folder.path(), words));
            let error = said.error(3);
            assert!(error.contains(says) && error.ends_with(ends), "{error}");
        }
    };
    refused(&predict(&["data"]), "data/a/0.png: ", "(--skip-bad)");
    let none = ["data/b/10.png", "data/c/17.png", "--skip-bad"];
    let all = "data/b/10.png: this and every";
    refused(&predict(&none), all, "nothing is left to work on");
    fs::remove_file(folder.path().join("data/a/0.png")).expect("it was there");
    refused(&predict(&["data"]), "data/b/10.png: ", "(--skip-bad)");
    named(folder.path());
    refused(&eval(&["data"]), "data/axolotl/17.png: ", "(--skip-bad)");
}

#[test]
fn a_picture_from_stdin_is_the_leaders_and_everybodys() {
    let folder = folder(7);
    let picture = fs::read(folder.path().join("data/b/4.png")).expect("a picture");
    let said = |ranks| -> Said {
        let words = predict(&["data/a", "-", "data/c", "--format", "jsonl"]);
        let mut command = command(ranks, folder.path(), &words);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        stdin.write_all(&picture).expect("it is read");
        drop(stdin);
        wait(child, LIMIT).ok()
    };
    let expected = said(None).out;
    assert_eq!(expected.lines().count(), 6);
    for ranks in RANKS {
        assert_eq!(said(ranks).out, expected);
    }
}

#[test]
fn a_reader_that_leaves_ends_all_ranks() {
    let folder = folder(60);
    let at = folder.path();
    let words = predict(&["data", "--format", "jsonl"]);
    let first = |ranks| {
        let mut child = command(ranks, at, &words).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        (line, wait(child, LIMIT))
    };
    let (expected, said) = first(None);
    said.ok();
    // What mpirun exits with once its own reader has left is its business.
    for ranks in RANKS {
        assert_eq!(first(ranks).0, expected);
    }
    // A rank's reader leaves.
    for ranks in ["1", "2", "3", "4"] {
        let mut command = Command::new("mpirun");
        let script = "\"$@\" > >(head -n 1)";
        command.args(["-n", ranks, "bash", "-c", script, "-", PROGRAM]);
        command.args(&words);
        at_home(&mut command, at);
        let said = ended(&mut command).ok();
        assert_eq!(said.out, expected);
        assert!(!said.err.contains("error"), "{}", said.err);
    }
}

fn eval<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["eval"], words, &TINY[..]].concat()
}

/// `data` of classes that the base has.
fn named(folder: &Path) {
    for (class, name) in [("a", "goldfish"), ("b", "tench"), ("c", "axolotl")] {
        let class = folder.join("data").join(class);
        if class.exists() {
            fs::rename(class, folder.join("data").join(name)).expect("renamed");
        }
    }
}

#[test]
fn an_evaluation_is_that_of_one_process() {
    for count in [23, 7, 1] {
        let folder = folder(count);
        let at = folder.path();
        named(at);
        let files = ["--confusion", "out/c.csv", "--list-wrong", "out/w.csv"];
        for format in ["table", "csv", "json"] {
            let words = [&["data", "--format", format], &files[..]].concat();
            same(at, &eval(&words), 0);
        }
        if count < 7 {
            continue;
        }
        let train = [
            "train",
            "data",
            "-o",
            "run",
            "--epochs",
            "2",
            "--batch-size",
            "4",
        ];
        ended(&mut alone(at, &[&train[..], &TINY].concat())).ok();
        let bad = at.join("data/tench/bad.png");
        fs::write(&bad, b"no picture").expect("a file");
        let against = [
            "data",
            "--adapter",
            "run",
            "--compare-base",
            "--skip-bad",
            "--json",
        ];
        let out = same(at, &[&["eval"], &against[..], &files].concat(), 0);
        assert!(
            out.contains("\"against\"") && out.contains("bad.png"),
            "{out}"
        );
        same(
            at,
            &["predict", "data", "--adapter", "run", "--skip-bad"],
            0,
        );
    }
}

#[test]
fn a_dataset_is_examined_as_by_one_process() {
    for count in [40, 7, 1] {
        let folder = folder(count);
        let at = folder.path();
        pictures(at, "val", 2);
        let a = at.join("data/a");
        fs::copy(a.join("0.png"), a.join("twin.png")).expect("copied");
        for words in [&["--json"][..], &["--all"], &["--val", "val", "--json"]] {
            let words = [&["doctor", "data", "--classes", "own"], words].concat();
            let bad = count == 1 || words.contains(&"--val");
            let out = same(at, &words, if bad { 3 } else { 0 });
            assert!(out.contains("twin.png"), "{out}");
        }
        fs::write(a.join("bad.png"), b"no picture").expect("a file");
        same(at, &["doctor", "data", "--json", "--classes", "own"], 3);
    }
}

#[test]
fn ranks_of_other_weights_adapters_or_pictures_are_refused() {
    let folder = folder(7);
    let at = folder.path();
    named(at);
    for name in ["one", "two"] {
        let place = at.join(name);
        fs::create_dir(&place).expect("a folder");
        let data = at.join("data").display().to_string();
        pictures(&place, "pictures", if name == "one" { 7 } else { 8 });
        let train = [
            "train",
            &data,
            "--epochs",
            "2",
            "--batch-size",
            "4",
            "--arch",
            "vgg19-tiny",
            "--targets",
            "classifier",
        ];
        let train = [&train[..], &["--image-size", "64", "--weights", "random:3"]].concat();
        let of = |run| {
            [
                &train[..],
                &["-o", run, "--seed", if name == "one" { "1" } else { "2" }],
            ]
            .concat()
        };
        ended(&mut alone(&place, &of("run"))).ok();
        let merge = ["merge", "run", "-o", "base.safetensors"];
        ended(&mut alone(&place, &merge)).ok();
    }
    let data = at.join("data").display().to_string();
    let data = data.as_str();
    let tiny = &TINY[..];
    let base = [
        "--weights",
        "base.safetensors",
        "--image-size",
        "64",
        "--adapter",
        "none",
    ];
    let refused = [
        ("weights", [&["predict", data][..], &base].concat()),
        ("weights", [&["eval", data][..], &base].concat()),
        ("adapter", vec!["predict", data, "--adapter", "run"]),
        ("adapter", vec!["eval", data, "--adapter", "run"]),
        ("image files", [&["predict", "pictures"], tiny].concat()),
        ("pictures", vec!["doctor", "pictures", "--classes", "own"]),
    ];
    for (what, words) in refused {
        let mut command = Command::new("mpirun");
        for (more, place) in [(&[][..], "one"), (&[":"], "two")] {
            let place = at.join(place).display().to_string();
            command
                .args(more)
                .args(["-n", "1", "-wdir", &place, PROGRAM])
                .args(&words);
        }
        at_home(&mut command, at);
        let said = ended(&mut command);
        let error = said.error(6);
        assert!(error.contains("rank 1 on "), "{error}");
        assert!(
            error.contains(&format!("has not the same {what} as rank 0 on ")),
            "{error}"
        );
        assert_eq!(said.out, "");
    }
}
