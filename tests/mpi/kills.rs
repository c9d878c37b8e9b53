//! Ranks that die or stand still: the job ends within seconds, and goes on to the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::launch::{TINY, alone, ended, on, pictures, run_files, wait};

/// A job whose rank has died ends within this: mpirun gives the others some seconds to end by themselves.
const SOON: Duration = Duration::from_secs(20);

fn words(run: &'static str, epochs: &'static str) -> Vec<&'static str> {
    let words = [
        "train",
        "data",
        "-o",
        run,
        "--batch-size",
        "8",
        "--micro-batch",
        "2",
    ];
    let more = ["--save-every", "1", "--dropout", "0.1", "--epochs", epochs];
    [&words[..], &TINY, &more].concat()
}

/// The processes of the ranks that `launcher` has started, by rank.
fn ranks(launcher: u32) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let parent = format!("PPid:\t{launcher}\n");
        let environment = read("environ");
        let mut set = environment.split(|byte| *byte == 0);
        let rank = set.find_map(|set| set.strip_prefix(b"OMPI_COMM_WORLD_RANK="));
        if let Some(rank) = rank.filter(|_| status.contains(&parent)) {
            let rank = String::from_utf8_lossy(rank).parse().expect("a number");
            found.push((rank, pid));
        }
    }
    found.sort_unstable();
    found
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Starts a job of three, has `signal` sent to one of its ranks after a while, and waits for its end.
fn hit(at: &Path, job: &[&str], after: Duration, rank: usize, with: &str) -> (Option<i32>, String) {
    let mut command = on(3, at, job);
    command.env("GOLDFISH_RANK_TIMEOUT", "3");
    let child = command.spawn().expect("mpirun starts");
    let start = Instant::now();
    let pid = loop {
        let found = ranks(child.id());
        if let Some((_, pid)) = found.iter().find(|(of, _)| *of == rank) {
            break *pid;
        }
        assert!(start.elapsed() < SOON, "mpirun starts no ranks");
        sleep(Duration::from_millis(5));
    };
    sleep(after);
    signal(with, pid);
    let said = wait(child, SOON);
    (said.status.code(), said.err)
}

#[test]
fn a_killed_rank_ends_the_job_and_it_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 20);
    ended(&mut alone(at, &words("whole", "60"))).ok();
    let whole = run_files(&at.join("whole"));
    let mut put_down = 0;
    for (n, after) in [50, 300, 700, 900, 1100, 1400, 1900]
        .into_iter()
        .enumerate()
    {
        let _ = fs::remove_dir_all(at.join("run"));
        let (code, said) = hit(
            at,
            &words("run", "60"),
            Duration::from_millis(after),
            n % 3,
            "-KILL",
        );
        assert_ne!(code, Some(0), "rank {} after {after} ms: {said}", n % 3);
        let some = at.join("run/run.toml").exists();
        put_down += usize::from(some);
        let again = match some {
            true => vec!["train", "--resume", "run"],
            false => [&words("run", "60")[..], &["--overwrite"]].concat(),
        };
        let said = ended(&mut on(1 + n % 4, at, &again)).ok();
        let found = run_files(&at.join("run"));
        assert!(
            found == whole,
            "rank {} after {after} ms: {}",
            n % 3,
            said.err
        );
    }
    assert!(put_down > 1, "{put_down} were put down");
}

#[test]
fn a_rank_that_stands_still_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 20);
    // Far more than can be done before it is stopped.
    let words = words("run", "100000");
    for rank in [1, 0] {
        let (code, said) = hit(at, &words, Duration::from_millis(1500), rank, "-STOP");
        assert_eq!(code, Some(6), "{said}");
        let named = format!("rank {rank} on ");
        let line = said
            .lines()
            .find(|line| line.starts_with("error: "))
            .expect("a message");
        assert!(
            line.contains(&named) && line.contains("has not been heard of for 3 s"),
            "{said}"
        );
        let _ = fs::remove_dir_all(at.join("run"));
    }
}
