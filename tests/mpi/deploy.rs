//! The scripts of deploy/ with mpirun, and stand-ins for Slurm: a run that is begun, told to end, gone on with, and whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::launch::{LIMIT, PROGRAM, TINY, alone, at_home, ended, pictures, run_files, wait};

/// What is trained: some seconds.
const WORDS: [&str; 6] = ["--epochs", "100", "--batch-size", "8", "--micro-batch", "2"];

/// Ranks by mpirun in the place of a cluster's.
const SRUN: &str = "#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo $$ >srun.pid
exec mpirun -n 2 \"$@\"
";
/// A signal for the ranks.
const SCANCEL: &str = "#!/bin/bash
[ \"$*\" = '--signal=TERM 7' ] || exit 1
pkill -TERM -P \"$(cat srun.pid)\" -x goldfish
";
const SCONTROL: &str = "#!/bin/bash
echo \"$*\" >>scontrol.log
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `command` in `folder`, before whose programs others stand: goldfish, and Slurm's.
fn dressed(mut command: Command, folder: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    at_home(&mut command, folder);
    command
        .args(TINY)
        .args(WORDS)
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("SLURM_JOB_ID", "7");
    command
}

/// A folder with pictures and programs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    symlink(PROGRAM, bin.join("goldfish")).expect("a link");
    for (name, text) in [("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)] {
        fs::write(bin.join(name), text).expect("a script");
        fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).expect("its mode");
    }
    pictures(folder.path(), "data", 24);
    folder
}

/// What begins and goes on with `run` under `script` is told to end by `signal`, goes on, and comes to the bytes of one process.
fn goes_on(signal: &str, script: impl Fn() -> Command) {
    let folder = folder();
    let at = folder.path();
    let child = dressed(script(), at).spawn().expect("it starts");
    let start = Instant::now();
    while !stepped(&at.join("run")) {
        assert!(start.elapsed() < LIMIT, "it makes no step");
        sleep(Duration::from_millis(10));
    }
    let kill = Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    let said = wait(child, LIMIT);
    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    let settings = fs::read_to_string(at.join("run/run.toml")).expect("the run's settings");
    assert!(settings.contains("ended = \"interrupted\""), "{settings}");
    // As often as one likes.
    for whole in [false, true] {
        let said = ended(&mut dressed(script(), at)).ok();
        let nothing_left = said.out.contains("nothing is left to do");
        assert_eq!(nothing_left, whole, "{}", said.out);
    }
    let words = ["train", "data", "-o", "one"];
    ended(alone(at, &words).args(TINY).args(WORDS)).ok();
    assert_eq!(run_files(&at.join("run")), run_files(&at.join("one")));
    let requeued = fs::read_to_string(at.join("scontrol.log")).ok();
    assert_eq!(
        requeued.as_deref(),
        (signal == "USR1").then_some("requeue 7\n")
    );
}

/// Whether steps of the run in `folder` are on the disk, in the hidden folder where it is built or in place.
fn stepped(folder: &Path) -> bool {
    let Ok(within) = fs::read_dir(folder) else {
        return false;
    };
    let places = within.flatten().map(|entry| entry.path());
    places.chain([folder.to_path_buf()]).any(|place| {
        fs::metadata(place.join("metrics.jsonl")).is_ok_and(|metrics| metrics.len() > 0)
    })
}

#[test]
fn slurm_s_job_goes_on_when_its_time_was_over() {
    goes_on("USR1", || {
        let mut bash = Command::new("bash");
        bash.arg(root().join("deploy/slurm.sh"))
            .args(["data", "run"]);
        bash
    });
}

#[test]
fn the_launcher_s_pod_goes_on_when_it_had_to_go() {
    let text = fs::read_to_string(root().join("deploy/trainjob.yaml")).expect("the file");
    let (_, script) = text.split_once("- -euc\n").expect("a script");
    let script: String = script
        .lines()
        .skip_while(|line| line.trim() != "- |")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with("- "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    goes_on("TERM", || {
        let mut bash = Command::new("bash");
        bash.args(["-euc", &script, "goldfish", "data", "run"]);
        bash
    });
}
