//! What is wrong on any rank ends all of them with one message, which names it.

use std::fs;
use std::process::Command;

use super::launch::{PROGRAM, TINY, alone, at_home, ended, on, pictures, train};

/// Two ranks, each with words of its own.
fn each(folder: &std::path::Path, one: &[&str], other: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", "1", PROGRAM]).args(one);
    command.args([":", "-n", "1", PROGRAM]).args(other);
    at_home(&mut command, folder);
    command
}

#[test]
fn what_is_wrong_everywhere_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 7);
    let base = [&["train", "data", "-o", "run"], &TINY[..]].concat();
    for (words, code, says) in [
        (&["train", "nothere"][..], 3, "nothere"),
        (
            &[&base[..], &["--lr", "0"]].concat(),
            2,
            "lr must be a positive number",
        ),
        (
            &[&base[..], &["--micro-batch", "0"]].concat(),
            2,
            "--micro-batch must be at least 1",
        ),
        (
            &[&base[..], &["--micro-batch", "9"]].concat(),
            2,
            "--micro-batch 9 is more than a batch has, 5",
        ),
        (
            &["sweep", "data"],
            2,
            "`goldfish sweep` is the work of one process, and 3 were started",
        ),
        (
            &[&base[..], &["--kfold", "2"]].concat(),
            2,
            "--kfold is the work of one process",
        ),
    ] {
        let said = ended(&mut on(3, at, words));
        let line = said.error(code);
        assert!(line.starts_with("error: rank 0 on "), "{line}");
        assert!(line.contains(says), "{line}");
        assert_eq!(said.out, "");
    }
    // Of what is typed wrong the help is shown, once.
    let said = ended(&mut on(3, at, &["train", "--nope"]));
    assert_eq!(said.status.code(), Some(2));
    assert_eq!(
        said.err.matches("unexpected argument").count(),
        1,
        "{}",
        said.err
    );
    let said = ended(&mut on(3, at, &["--version"])).ok();
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
}

#[test]
fn a_bad_picture_is_named_whoever_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 9);
    fs::write(at.join("data/c/8.png"), b"no picture").expect("written");
    let words = [&["train", "data", "-o", "run", "--epochs", "1"], &TINY[..]].concat();
    let said = ended(&mut on(3, at, &words));
    let line = said.error(3);
    assert!(line.contains("data/c/8.png"), "{line}");
    assert!(line.ends_with("(--skip-bad)"), "{line}");
    let words = [&words[..], &["--skip-bad"]].concat();
    let said = ended(&mut on(3, at, &words)).ok();
    assert!(
        said.err
            .contains("8 images in 3 classes of your own; unreadable: 1"),
        "{}",
        said.err
    );
}

#[test]
fn ranks_that_were_given_different_things_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 7);
    pictures(at, "elsewhere/data", 7);
    let words = [&["train", "data", "-o", "run", "--epochs", "1"], &TINY[..]].concat();
    let other = [&words[..], &["--seed", "2"]].concat();
    let line = ended(&mut each(at, &words, &other));
    let line = line.error(6);
    assert!(line.starts_with("error: rank 1 on "), "{line}");
    assert!(
        line.contains("has not the same command line as rank 0 on "),
        "{line}"
    );
    // Nor are words that one of them does not know.
    for words in [&["train", "data", "--nope"][..], &["--help"]] {
        let said = ended(&mut each(at, &other, words));
        let line = said.error(6);
        assert!(
            line.contains("has not the same command line as rank 0 on "),
            "{line}"
        );
    }
    // A device of its own is each rank's right.
    let device = [&["--device", "0"], &words[..]].concat();
    let said = ended(&mut each(at, &words, &device)).ok();
    assert_eq!(said.err.matches("notice").count(), 0, "{}", said.err);
    // The same words, and other files behind them.
    let mut script = Command::new("mpirun");
    let words = [
        &["train", "data", "-o", "other", "--epochs", "1"],
        &TINY[..],
    ]
    .concat();
    let changed = "test \"$OMPI_COMM_WORLD_RANK\" = 0 || cd elsewhere; exec \"$@\"";
    script
        .args(["-n", "2", "sh", "-c", changed, "sh", PROGRAM])
        .args(&words);
    at_home(&mut script, at);
    fs::remove_file(at.join("elsewhere/data/a/6.png")).expect("removed");
    let said = ended(&mut script);
    let line = said.error(6);
    assert!(
        line.contains("has not the same image files as rank 0 on "),
        "{line}"
    );
}

#[test]
fn a_run_that_diverges_keeps_its_last_good_adapter_and_ends_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 7);
    let words = [
        "train",
        "data",
        "-o",
        "run",
        "--lr",
        "1e30",
        "--micro-batch",
        "2",
    ];
    let said = ended(&mut on(2, at, &[&words[..], &TINY].concat()));
    let line = said.error(5);
    assert!(line.contains("the loss became NaN at step"), "{line}");
    assert!(at.join("run/adapter_model.safetensors").exists());
}

#[test]
fn a_run_that_was_begun_alone_goes_on_on_ranks() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 10);
    let more = ["--micro-batch", "2", "--val-split", "0.3"];
    let words = |to, epochs| train(to, epochs, &more);
    ended(&mut alone(at, &words("whole", "6"))).ok();
    ended(&mut alone(at, &words("run", "2"))).ok();
    ended(&mut on(
        2,
        at,
        &["train", "--resume", "run", "--epochs", "4"],
    ))
    .ok();
    ended(&mut on(
        3,
        at,
        &["train", "--resume", "run", "--epochs", "6"],
    ))
    .ok();
    let files = |run: &str| super::launch::run_files(&at.join(run));
    assert!(files("whole") == files("run"));
    // And there is nothing left to do.
    ended(&mut on(2, at, &["train", "--resume", "run"])).ok();
    assert!(files("whole") == files("run"));
}

#[test]
fn ranks_may_have_caches_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 10);
    let words = |to, more: &[&'static str]| {
        let words = ["train", "data", "-o", to, "--epochs", "2", "--overwrite"];
        [&words[..], &TINY, more].concat()
    };
    for more in [&["--micro-batch", "2"][..], &[]] {
        ended(&mut alone(at, &words("alone", more))).ok();
        let expected = super::launch::run_files(&at.join("alone"));
        // Nothing is kept anywhere; by rank 0 alone, which is the one that keeps; by the others alone.
        for kept in ["none", "$r", "$r", "$((2 - r))", "$((2 - r))"] {
            let script = format!(
                "r=$OMPI_COMM_WORLD_RANK; export GOLDFISH_CACHE=$PWD/cache-{kept}; exec \"$@\""
            );
            let mut job = Command::new("mpirun");
            job.args(["-n", "3", "sh", "-c", &script, "sh", PROGRAM])
                .args(words("run", more));
            at_home(&mut job, at);
            let said = ended(&mut job).ok();
            let found = super::launch::run_files(&at.join("run"));
            assert!(found == expected, "{kept}: {}", said.err);
        }
    }
}

#[test]
fn what_one_rank_may_not_read_is_told_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 9);
    // Rank 1, which reads those in the middle, finds a folder where a picture is.
    pictures(at, "elsewhere/data", 9);
    let gone = at.join("elsewhere/data/b/4.png");
    fs::remove_file(&gone).expect("removed");
    std::os::unix::fs::symlink("4.png", &gone).expect("a link to itself");
    let changed = "test \"$OMPI_COMM_WORLD_RANK\" = 0 || cd elsewhere; exec \"$@\"";
    let words = [&["train", "data", "-o", "run", "--epochs", "1"], &TINY[..]].concat();
    let mut job = Command::new("mpirun");
    job.args(["-n", "2", "sh", "-c", changed, "sh", PROGRAM])
        .args(words);
    at_home(&mut job, at);
    let said = ended(&mut job);
    assert!(!said.status.success());
    assert!(said.err.contains("rank 1 on "), "{}", said.err);
}
