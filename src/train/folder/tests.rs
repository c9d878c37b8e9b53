//! Ends in the middle of every change, one after another.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;

/// What ends a process in the middle.
struct Killed;

/// Does `work` until it is about to make the change after so many; whether it came to its end.
fn killed_after(changes: usize, work: impl FnOnce(&mut Disk) -> Result<()>) -> bool {
    let mut left = changes;
    let mut before = || match left {
        0 => resume_unwind(Box::new(Killed)),
        _ => left -= 1,
    };
    let mut disk = Disk {
        before: &mut before,
    };
    let done = catch_unwind(AssertUnwindSafe(|| work(&mut disk)));
    match done {
        Ok(done) => done.map(|()| true).expect("no fault but the end"),
        Err(end) => {
            assert!(end.is::<Killed>());
            false
        }
    }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(inside).expect("a folder").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("inside").to_path_buf();
                    found.insert(name, fs::read(&path).expect("a file"));
                }
            }
        }
    }
    found
}

/// A run of these names in `folder`, each file with `said` in it.
fn run(folder: &Path, said: &str, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, said).expect("written");
    }
}

const RUN: &[&str] = &[
    "run.toml",
    "metrics.jsonl",
    "report.html",
    "events/train/events.out.tfevents.goldfish",
    "state/images.tsv",
    "state/step-00000003.safetensors",
    "best/adapter_model.safetensors",
    "best/adapter_config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
];
/// What people put into a run's folders.
const FOREIGN: &[&str] = &[
    "notes.txt",
    "best/notes.txt",
    "best/mine/deep.txt",
    "state/step-3.copy",
    "state/step-3.safetensors",
    "events/other/events.out.tfevents.goldfish",
    "events/train/notes.txt",
    "events/train/events.out.tfevents.1712.myhost.1.0",
];

/// A folder with a whole run, and another one that is built to take its place and has no best adapter.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), "old", RUN);
    run(folder.path(), "mine", FOREIGN);
    run(&folder.path().join(NEW), "new", &RUN[..6]);
    run(&folder.path().join(NEW), "new", &RUN[8..]);
    folder
}

/// What must be there: the one run or the other, and what is nobody's, where the run that is built is left out.
fn whole(folder: &Path) -> &'static str {
    let found = files(folder);
    let there: Files = found
        .into_iter()
        .filter(|(name, _)| !name.starts_with(NEW))
        .collect();
    let said = match there.get(Path::new("run.toml")).map(Vec::as_slice) {
        Some(b"old") => "old",
        Some(b"new") => "new",
        other => panic!("{other:?} in {:?}", there.keys()),
    };
    let expected = tempfile::tempdir().expect("a folder");
    run(expected.path(), "mine", FOREIGN);
    match said {
        "old" => run(expected.path(), said, RUN),
        _ => {
            run(expected.path(), said, &RUN[..6]);
            run(expected.path(), said, &RUN[8..]);
        }
    }
    assert_eq!(there, files(expected.path()), "{said}");
    said
}

/// Whoever is killed at any change, and whoever mends it and is killed after each change or two of that: what is found at
/// last is one run or the other, and nothing of anybody else's is lost.
#[test]
fn a_run_takes_another_s_place_whole_or_not_at_all_wherever_it_is_killed() {
    let (mut ends, mut kills) = (Vec::new(), 0);
    for changes in 0.. {
        let folder = folder();
        let done = killed_after(changes, |disk| disk.put_in_place(folder.path()));
        // Further each time, so that it ends.
        for again in changes % 2.. {
            kills += 1;
            if killed_after(again, |disk| disk.mend(folder.path())) {
                break;
            }
        }
        ends.push(whole(folder.path()));
        if done {
            break;
        }
    }
    // First it is the old one, and once it is not any more it never is again.
    let old = ends.iter().take_while(|end| **end == "old").count();
    assert!(old > 0 && ends[old..].iter().all(|end| *end == "new"));
    assert!(kills > 100, "{kills}");
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_stays_where_it_is() {
    let (folder, elsewhere) = (folder(), tempfile::tempdir().expect("a folder"));
    let best = folder.path().join(BEST);
    fs::remove_dir_all(&best).expect("removed");
    run(elsewhere.path(), "mine", &["notes.txt"]);
    std::os::unix::fs::symlink(elsewhere.path(), &best).expect("a link");
    on_disk(|disk| disk.put_in_place(folder.path())).expect("put in place");
    assert!(elsewhere.path().join("notes.txt").exists());
    assert!(!best.exists() && !is_to_mend(folder.path()).expect("a folder"));
}

#[test]
fn what_a_run_writes_is_its_own_and_nothing_else_is() {
    let inside = |name: &&&str| FOLDERS.iter().any(|folder| name.starts_with(folder));
    for name in RUN.iter().filter(inside) {
        assert!(is_own(Path::new(name)), "{name}");
    }
    for name in &FOREIGN[1..] {
        let path = Path::new(name);
        let above = path.parent().expect("a folder");
        assert!(!is_own(path) || !is_own(above), "{name}");
    }
}
