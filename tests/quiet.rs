//! What is said on stderr is advice: nothing ends because it cannot be said, and no work is lost when a terminal hangs up.
//! Of systems with signals.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cli::{TINY, dataset};
use crate::floors::sources;
use crate::support::{gpu_trial, signal, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("quiet::all_that_is_said_is_said_by_note", nothing_prints),
        gpu_trial("quiet::a_closed_stderr_costs_no_adapter", closed),
        gpu_trial("quiet::ctrl_c_is_heard_with_nobody_to_tell", unheard),
        #[cfg(target_os = "linux")]
        gpu_trial("quiet::a_log_on_a_full_disk_costs_no_adapter", full_log),
        gpu_trial("quiet::a_log_has_no_escape_codes", plain_log),
        hang_up_trial(),
        gpu_trial("quiet::nohup_outlives_a_hang_up", nohup),
        gpu_trial("quiet::a_limit_of_the_file_size_is_an_error", limited),
    ]
}

/// `eprintln!` and its like panic where nobody reads.
fn nothing_prints() {
    let macros = ["println!", "print!(", "dbg!("];
    let mut seen = 0;
    for (file, text) in sources() {
        let own = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        seen += own.matches("note!(").count();
        for (number, line) in own.lines().enumerate() {
            let words = line.split("//").next().unwrap_or_default();
            let found = macros.iter().find(|name| words.contains(**name));
            assert_eq!(found, None, "{file}:{}", number + 1);
        }
    }
    assert!(seen > 10, "only {seen} notes: this test reads nothing");
}

/// A run in `folder/run`, of so many epochs.
fn training(folder: &Path, epochs: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    command
        .current_dir(folder)
        .args(["train", "data", "-o", "run", "--epochs", epochs])
        // It is in its place as soon as it is put down for the first time.
        .args(["--save-every", "1"])
        .args(TINY)
        .env("GOLDFISH_CACHE", folder.join(".cache"))
        .stdout(Stdio::null());
    command
}

/// The same where stderr is a pipe whose reader has gone.
fn unread(mut command: Command) -> Child {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.stderr(writer).spawn().expect("it starts")
}

fn adapter(folder: &Path) -> u64 {
    fs::metadata(folder.join("run/adapter_model.safetensors")).map_or(0, |about| about.len())
}

/// Waits until the metrics have lines.
fn begun(child: &mut Child, folder: &Path) {
    let metrics = folder.join("run/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |about| about.len()) == 0 {
        let state = child.try_wait().expect("a state");
        assert!(state.is_none(), "it ended by itself: {state:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn closed() {
    let folder = dataset();
    let mut child = unread(training(folder.path(), "2"));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(adapter(folder.path()) > 0);
    // An error has its exit code all the same.
    let child = unread(training(Path::new("/"), "2")).wait();
    assert_eq!(child.expect("it ends").code(), Some(3));
}

/// The thread that waits for signals says so: it must live on, for the second one.
fn unheard() {
    let folder = dataset();
    let mut child = unread(training(folder.path(), "1000000"));
    begun(&mut child, folder.path());
    signal("INT", &child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(adapter(folder.path()) > 0);
}

/// A folder with a picture that the log has something to say about.
fn logged() -> tempfile::TempDir {
    let folder = dataset();
    let grey =
        image::ImageBuffer::from_fn(40, 40, |x, y| image::Luma([(x * 900 + y * 700) as u16]));
    let path = folder.path().join("data/tench/grey.png");
    grey.save(path).expect("a picture");
    folder
}

#[cfg(target_os = "linux")]
fn full_log() {
    let folder = logged();
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let status = training(folder.path(), "2")
        .env("GOLDFISH_LOG", "debug")
        .stderr(full)
        .status();
    assert_eq!(status.expect("it runs").code(), Some(0));
    assert!(adapter(folder.path()) > 0);
}

fn plain_log() {
    let folder = logged();
    let log = folder.path().join("log");
    let status = training(folder.path(), "2")
        .env("GOLDFISH_LOG", "debug")
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stderr(File::create(&log).expect("a file"))
        .status();
    assert_eq!(status.expect("it runs").code(), Some(0));
    let log = fs::read_to_string(log).expect("text");
    assert!(log.contains("DEBUG") && log.contains("device   "), "{log}");
    assert!(!log.contains(['\u{1b}', '\r']), "{log:?}");
}

fn hang_up_trial() -> Trial {
    let trial = gpu_trial("quiet::a_hang_up_keeps_the_adapter_so_far", hang_up);
    match outlives_hang_ups() {
        // Who does hands that down.
        true => trial.with_ignored_flag(true),
        false => trial,
    }
}

/// Whether these tests were started with `nohup`, where the system says so.
fn outlives_hang_ups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// A shell and the kernel both tell of it, one after the other.
fn hang_up() {
    let folder = dataset();
    let mut child = unread(training(folder.path(), "1000000"));
    begun(&mut child, folder.path());
    signal("HUP", &child);
    signal("HUP", &child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(adapter(folder.path()) > 0);
}

fn nohup() {
    let folder = dataset();
    let goldfish = training(folder.path(), "1000000");
    let mut command = Command::new("nohup");
    command
        .current_dir(folder.path())
        .arg(goldfish.get_program())
        .args(goldfish.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = unread(command);
    begun(&mut child, folder.path());
    let lines = || fs::metadata(folder.path().join("run/metrics.jsonl")).map_or(0, |m| m.len());
    signal("HUP", &child);
    // It would have ended after the step at hand.
    std::thread::sleep(Duration::from_millis(300));
    let before = lines();
    std::thread::sleep(Duration::from_millis(300));
    assert!(lines() > before, "it stopped");
    assert_eq!(child.try_wait().expect("a state"), None);
    signal("TERM", &child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(adapter(folder.path()) > 0);
}

/// The system sends SIGXFSZ, which ends a program that does not know it.
fn limited() {
    let folder = dataset();
    let run = training(folder.path(), "2");
    let output = Command::new("sh")
        .current_dir(folder.path())
        // In blocks of 512 or 1024 bytes; the adapter takes more than either.
        .args(["-c", "ulimit -f 1; exec \"$@\"", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        // The driver and the kernels' choice keep files of their own.
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("error: ") && said.contains("too large"),
        "{said}"
    );
    assert!(adapter(folder.path()) == 0);
}
