//! Ranks that die or stand still: the job ends within seconds, and goes on to the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::launch::{
    LIMIT, PROGRAM, Said, TINY, alone, at_home, ended, is_put_down, on, pictures, run_files, wait,
};

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

/// Whether there was a process to send it to.
fn signal(name: &str, pid: u32) -> bool {
    let sent = Command::new("kill").args([name, &pid.to_string()]).output();
    sent.expect("kill runs").status.success()
}

/// When a signal is sent: so long after the ranks are there, or after the run was first put down.
#[derive(Clone, Copy)]
enum At {
    Begun(u64),
    PutDown(u64),
}

/// Starts `job`, which writes to `run`, has a signal sent to one of its ranks, and waits for its end; `None` where it was over before.
fn hit(mut job: Command, run: &Path, at: At, rank: usize, with: &str) -> Option<Said> {
    job.env("GOLDFISH_RANK_TIMEOUT", "3");
    let child = job.spawn().expect("mpirun starts");
    let start = Instant::now();
    let pid = loop {
        let found = ranks(child.id());
        if let Some((_, pid)) = found.iter().find(|(of, _)| *of == rank) {
            break *pid;
        }
        assert!(start.elapsed() < LIMIT, "mpirun starts no ranks");
        sleep(Duration::from_millis(5));
    };
    let after = match at {
        At::Begun(after) => after,
        At::PutDown(after) => {
            while !is_put_down(run) {
                assert!(start.elapsed() < LIMIT, "nothing is put down");
                sleep(Duration::from_millis(5));
            }
            after
        }
    };
    sleep(Duration::from_millis(after));
    let sent = signal(with, pid);
    let said = wait(child, SOON);
    (sent && !said.status.success()).then_some(said)
}

#[test]
fn a_killed_rank_ends_the_job_and_it_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 20);
    ended(&mut alone(at, &words("whole", "60"))).ok();
    let (whole, run) = (run_files(&at.join("whole")), at.join("run"));
    let mut put_down = 0;
    let moments = [
        At::Begun(50),
        At::Begun(400),
        At::PutDown(0),
        At::PutDown(20),
        At::PutDown(70),
        At::PutDown(160),
        At::PutDown(300),
    ];
    for (n, moment) in moments.into_iter().enumerate() {
        let _ = fs::remove_dir_all(&run);
        let job = on(3, at, &words("run", "60"));
        let hit = hit(job, &run, moment, n % 3, "-KILL");
        let there = run.join("run.toml").exists();
        put_down += usize::from(there && hit.is_some());
        let again = match there {
            true => vec!["train", "--resume", "run"],
            false => [&words("run", "60")[..], &["--overwrite"]].concat(),
        };
        let said = ended(&mut on(1 + n % 4, at, &again)).ok();
        assert!(run_files(&run) == whole, "moment {n}: {}", said.err);
    }
    assert!(put_down > 1, "{put_down} were put down");
}

/// A job of so many ranks that stands still in one of them; with more words for mpirun.
fn stands_still(size: usize, rank: usize, more: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 20);
    // Far more than can be done before it is stopped.
    let mut job = Command::new("mpirun");
    job.args(more)
        .args(["-n", &size.to_string(), PROGRAM])
        .args(words("run", "100000"));
    at_home(&mut job, at);
    let said = hit(job, &at.join("run"), At::PutDown(200), rank, "-STOP").expect("it goes on");
    assert_eq!(said.status.code(), Some(6), "{}", said.err);
    // One that goes on when mpirun ends it may say that it was interrupted.
    let lost = format!("rank {rank} on ");
    let told = said
        .err
        .lines()
        .filter(|line| line.contains("has not been heard of for 3 s"));
    let told: Vec<&str> = told.collect();
    assert!(told.len() == 1 && told[0].contains(&lost), "{}", said.err);
}

#[test]
fn a_rank_that_stands_still_is_named() {
    for (size, rank) in [(3, 1), (3, 0), (2, 1)] {
        stands_still(size, rank, &[]);
    }
    // A message may be half sent.
    stands_still(2, 1, &["--mca", "btl", "tcp,self"]);
    stands_still(2, 0, &["--mca", "btl", "tcp,self"]);
}
