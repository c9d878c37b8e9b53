//! What a system does to a program at the worst moment: a full disk, a folder that cannot be written, a limit, another run in
//! the same place. A run that was there is whole, byte by byte, until a whole one stands in its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
#[cfg(target_os = "linux")]
use std::sync::LazyLock;

use libtest_mimic::Trial;

use crate::cli::{TINY, dataset};
#[cfg(unix)]
use crate::support::signal;
use crate::support::{gpu_trial, run_files};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "faults::bad_weights_leave_the_run_that_was_there",
            bad_weights,
        ),
        gpu_trial(
            "faults::of_runs_begun_at_once_in_a_folder_one_goes_on",
            at_once,
        ),
        #[cfg(unix)]
        gpu_trial("faults::a_run_that_goes_on_keeps_others_out", locked),
        #[cfg(unix)]
        gpu_trial("faults::files_obey_the_umask", umask),
        #[cfg(unix)]
        gpu_trial("faults::no_limit_of_the_file_size_leaves_a_mixture", limits),
        #[cfg(target_os = "linux")]
        mount_trial("faults::no_full_disk_leaves_a_mixture", full_disk),
        #[cfg(target_os = "linux")]
        mount_trial(
            "faults::a_disk_that_fills_up_costs_no_state_or_it_is_said",
            filled_up,
        ),
        #[cfg(target_os = "linux")]
        mount_trial(
            "faults::a_folder_that_cannot_be_written_is_found_out_first",
            read_only,
        ),
    ]
}

/// A test that mounts a file system of its own; ignored where this user may not.
#[cfg(target_os = "linux")]
fn mount_trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    static MAY: LazyLock<bool> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "mount -t tmpfs -o size=64k none \"$1\"";
        let output = mounted(folder.path(), script, &[]).output();
        output.is_ok_and(|output| output.status.success())
    });
    let trial = gpu_trial(name, test);
    if !*MAY {
        return trial.with_ignored_flag(true);
    }
    trial
}

/// `script` with a name space of its own for mounts; `folder` is its `$1`.
#[cfg(target_os = "linux")]
fn mounted(folder: &Path, script: &str, more: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-ec", script, "sh"])
        .arg(folder)
        .args(more)
        .env("GOLDFISH_CACHE", folder.with_file_name(".cache"))
        .stdin(Stdio::null());
    command
}

/// `goldfish train data -o RUN` on a small base, and more.
fn words<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", "data", "-o", run, "--epochs", "2"];
    [&fixed[..], &TINY, more].concat()
}

fn goldfish(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    command.current_dir(folder).args(words).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two runs of the same data and other seeds, `old` and `new`: the folder they are in, and their files.
fn two_runs() -> (tempfile::TempDir, [Files; 2]) {
    let folder = dataset();
    for (run, seed) in [("old", "1"), ("new", "2")] {
        let output = goldfish(folder.path(), &words(run, &["--seed", seed])).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", said(&output));
    }
    let both = ["old", "new"].map(|run| run_files(&folder.path().join(run)));
    assert_ne!(both[0], both[1]);
    (folder, both)
}

const ADAPTER: &str = "adapter_model.safetensors";

/// The files of a run, by their names in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// `found`, the files of a run with the settings of `new` over `old` that met with something, is the one or the other.
fn no_mixture(found: &Files, [old, new]: &[Files; 2], code: Option<i32>, case: &str) {
    let names: Vec<_> = found.keys().collect();
    match found.get(Path::new(ADAPTER)) == old.get(Path::new(ADAPTER)) {
        true => {
            assert_ne!(
                code,
                Some(0),
                "{case}: it has failed and says that it has not"
            );
            for (name, bytes) in old {
                assert!(
                    found.get(name) == Some(bytes),
                    "{case}: {} of {names:?}",
                    name.display()
                );
            }
            assert_eq!(found.len(), old.len(), "{case}: {names:?}");
        }
        false => {
            // The adapter and what describes it; where there was no room for more, less of the rest.
            for name in [ADAPTER, "adapter_config.json"].map(Path::new) {
                assert!(
                    found.get(name) == new.get(name),
                    "{case}: {} of {names:?}",
                    name.display()
                );
            }
            let settings = String::from_utf8_lossy(&found[Path::new("run.toml")]);
            assert!(settings.contains("seed = 2"), "{case}: {settings}");
            if code == Some(0) {
                for (name, bytes) in new.iter().filter(|(name, _)| !name.ends_with("run.toml")) {
                    assert!(
                        found.get(name) == Some(bytes),
                        "{case}: {} of {names:?}",
                        name.display()
                    );
                }
            }
        }
    }
    let left = |name: &&PathBuf| name.to_string_lossy().ends_with(".tmp");
    assert_eq!(found.keys().find(left), None, "{case}");
}

fn bad_weights() {
    let (folder, both) = two_runs();
    let before = both[0].clone();
    fs::write(folder.path().join("bad.safetensors"), b"not so").expect("a file");
    let narrow = crate::support::root().join("tests/fixtures/narrow.safetensors");
    let cut = fs::read(narrow).expect("the fixture");
    fs::write(
        folder.path().join("cut.safetensors"),
        &cut[..cut.len() - 1000],
    )
    .expect("a file");
    for weights in [
        "nowhere.safetensors",
        "bad.safetensors",
        "cut.safetensors",
        ".",
    ] {
        let mut words = words("old", &["--overwrite", "--seed", "2"]);
        let at = words
            .iter()
            .position(|word| *word == "random:3")
            .expect("it is there");
        words[at] = weights;
        let output = goldfish(folder.path(), &words).output().expect("it runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{weights}: {said}");
        assert!(
            !said.contains("images   "),
            "it is known before pictures are read: {said}"
        );
        assert_eq!(run_files(&folder.path().join("old")), before, "{weights}");
    }
}

fn at_once() {
    let (folder, both) = two_runs();
    for (run, more) in [("old", &["--overwrite"][..]), ("fresh", &[])] {
        let words = words(run, &[&["--seed", "2"], more].concat());
        let children: Vec<_> = (0..4)
            .map(|_| {
                goldfish(folder.path(), &words)
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("it starts")
            })
            .collect();
        let ends: Vec<Output> = children
            .into_iter()
            .map(|child| child.wait_with_output().expect("it ends"))
            .collect();
        let good = ends.iter().filter(|end| end.status.success()).count();
        // One after the other is as well; without leave to overwrite the first keeps its place.
        assert!(good >= 1, "{}", said(&ends[0]));
        for end in ends.iter().filter(|end| !end.status.success()) {
            let said = said(end);
            assert_eq!(end.status.code(), Some(3), "{said}");
            assert!(
                said.contains("process") || said.contains("holds an adapter"),
                "{said}"
            );
        }
        no_mixture(&run_files(&folder.path().join(run)), &both, Some(0), run);
    }
}

#[cfg(unix)]
fn locked() {
    let (folder, both) = two_runs();
    let long = words("old", &["--overwrite", "--seed", "2"]);
    let mut long: Vec<&str> = long;
    let at = long
        .iter()
        .position(|word| *word == "--epochs")
        .expect("it is there");
    long[at + 1] = "1000000";
    let said_at = folder.path().join("said");
    let mut child = goldfish(folder.path(), &long)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said_at).expect("a file"))
        .spawn()
        .expect("it starts");
    while !fs::read_to_string(&said_at)
        .expect("text")
        .contains("frozen   ")
    {
        assert!(child.try_wait().expect("a state").is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for other in [
        words("old", &["--overwrite"]),
        vec!["train", "--resume", "old"],
    ] {
        let output = goldfish(folder.path(), &other).output().expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(
            said(&output).contains(&child.id().to_string()),
            "{}",
            said(&output)
        );
    }
    signal("KILL", &child);
    child.wait().expect("it is dead");
    // Its lock is nobody's.
    let output = goldfish(
        folder.path(),
        &words("old", &["--overwrite", "--seed", "2"]),
    )
    .output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    no_mixture(
        &run_files(&folder.path().join("old")),
        &both,
        Some(0),
        "after a kill",
    );
}

#[cfg(unix)]
fn umask() {
    use std::os::unix::fs::PermissionsExt;
    let folder = dataset();
    for (mask, file, within) in [
        ("077", 0o600, 0o700),
        ("022", 0o644, 0o755),
        ("002", 0o664, 0o775),
    ] {
        let run = format!("run{mask}");
        let output = Command::new("sh")
            .current_dir(folder.path())
            .args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_goldfish"))
            .args(words(&run, &["--val-split", "0.4"]))
            .env("GOLDFISH_CACHE", folder.path().join(".cache"))
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "{}", said(&output));
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        let run = folder.path().join(run);
        assert_eq!(mode(&run), within);
        for name in run_files(&run).keys() {
            assert_eq!(
                mode(&run.join(name)),
                file,
                "umask {mask}: {}",
                name.display()
            );
            let folder = run.join(name);
            assert_eq!(
                mode(folder.parent().expect("a folder")),
                within,
                "{}",
                name.display()
            );
        }
    }
}

#[cfg(unix)]
fn limits() {
    let (folder, both) = two_runs();
    let mut failed = 0;
    for blocks in [0, 1, 2, 4, 8, 16, 40, 200, 320, 330, 640, 1300, 4000] {
        let output = Command::new("sh")
            .current_dir(folder.path())
            .args(["-c", "ulimit -f $0; exec \"$@\"", &blocks.to_string()])
            .arg(env!("CARGO_BIN_EXE_goldfish"))
            .args(words("old", &["--overwrite", "--seed", "2"]))
            // The driver keeps files of its own.
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("GOLDFISH_CACHE", folder.path().join(".cache"))
            .output()
            .expect("sh runs");
        let code = output.status.code();
        assert!(
            [Some(0), Some(3)].contains(&code),
            "{blocks}: {}",
            said(&output)
        );
        failed += usize::from(code == Some(3));
        let case = format!("{blocks} blocks, {}", said(&output));
        no_mixture(&run_files(&folder.path().join("old")), &both, code, &case);
        restore(&folder.path().join("old"), &both[0]);
    }
    assert!(failed > 2, "only {failed} have met the limit");
}

#[cfg(unix)]
fn restore(run: &Path, kept: &Files) {
    fs::remove_dir_all(run).expect("it goes");
    for (name, bytes) in kept {
        let path = run.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

/// Pages of a disk that all files below a folder take, with their folders'.
#[cfg(target_os = "linux")]
fn pages(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let of = |path: PathBuf| match path.is_dir() {
        true => 1 + pages(&path),
        false => fs::metadata(&path).expect("a file").len() / 4096 + 2,
    };
    paths.map(of).sum()
}

/// Every size of disk from one that has room for nothing to one that has room for all, in steps of a few pages. How many of
/// them `GOLDFISH_DISKS` says.
#[cfg(target_os = "linux")]
fn full_disk() {
    let (folder, both) = two_runs();
    let disks = std::env::var("GOLDFISH_DISKS").ok();
    let disks: u64 = disks.map_or(14, |count| count.parse().expect("a number of disks"));
    let pages = |run: &str| pages(&folder.path().join(run));
    let (least, most) = (pages("old"), pages("old") + 4 * pages("new"));
    let script = "
        disk=$1; folder=$2; pages=$3; shift 3
        mount -t tmpfs -o size=$((4096 * pages)) none \"$disk\"
        cp -r \"$folder/old\" \"$disk/old\"
        cd \"$folder\"
        set +e
        \"$@\"
        code=$?
        rm -rf \"$folder/after\"
        cp -r \"$disk/old\" \"$folder/after\"
        exit $code";
    let place = folder.path().join("disk");
    fs::create_dir(&place).expect("a folder");
    let run = place.join("old");
    let here = folder.path().to_str().expect("text");
    let (mut failed, mut done) = (0, 0);
    for disk in 0..disks {
        // The smaller ones closer together.
        let share = (disk as f64 / (disks - 1) as f64).powi(2);
        let pages = least + (share * (most - least) as f64) as u64;
        let words = words(run.to_str().expect("text"), &["--overwrite", "--seed", "2"]);
        let pages = pages.to_string();
        let more = [&[here, &pages, env!("CARGO_BIN_EXE_goldfish")], &words[..]].concat();
        let output = mounted(&place, script, &more).output().expect("it runs");
        let code = output.status.code();
        let case = format!("{pages} pages, {}", said(&output));
        assert!([Some(0), Some(3)].contains(&code), "{case}");
        failed += usize::from(code == Some(3));
        done += usize::from(code == Some(0));
        no_mixture(&run_files(&folder.path().join("after")), &both, code, &case);
    }
    assert!(
        failed > 2 && done > 0,
        "{failed} disks were full and {done} not"
    );
}

/// The disk fills up once the run is in its place. It keeps the room for its adapter, and so its state stays; where
/// somebody has taken that too, the state goes, and that is said.
#[cfg(target_os = "linux")]
fn filled_up() {
    let script = "
        disk=$1; folder=$2; taken=$3; shift 3
        mount -t tmpfs -o size=4m none \"$disk\"
        cd \"$folder\"
        \"$@\" &
        until ls \"$disk\"/run/state/step-* >/dev/null 2>&1; do sleep 0.01; done
        # Between two writes: the half-written file of one that fails would leave its room to the next. A signal is sent
        # before all threads have stopped.
        stopped() {
            for thread in /proc/$1/task/*/status; do
                grep -q '^State:.T' \"$thread\" || return 1
            done
        }
        while kill -STOP $!; do
            until stopped $!; do sleep 0.01; done
            test \"$(find \"$disk/run\" -name '.goldfish-*' -o -name 'step-*' | wc -l)\" != 2 || break
            kill -CONT $!
            sleep 0.01
        done
        test \"$taken\" = no || rm \"$disk/run/.goldfish-reserve.tmp\"
        head -c 8m /dev/zero >\"$disk/fill\" 2>/dev/null || true
        kill -CONT $!
        wait $! || true
        rm \"$disk/fill\"
        ls \"$disk\"/run/state
        \"$GOLDFISH\" train --resume \"$disk/run\" --epochs 401";
    for (taken, code) in [("no", 0), ("yes", 3)] {
        // Once in a long while a file was half written all the same, and left room enough.
        let mut tries = 3;
        loop {
            tries -= 1;
            let folder = dataset();
            let place = folder.path().join("disk");
            fs::create_dir(&place).expect("a folder");
            let run = place.join("run");
            let mut words = words(run.to_str().expect("text"), &["--save-every", "1"]);
            words[5] = "400";
            let here = folder.path().to_str().expect("text");
            let program = env!("CARGO_BIN_EXE_goldfish");
            let more = [&[here, taken, program], &words[..]].concat();
            let mut command = mounted(&place, script, &more);
            let output = command.env("GOLDFISH", program).output().expect("it runs");
            let (said, listed) = (said(&output), String::from_utf8_lossy(&output.stdout));
            assert!(said.contains("could not be put down here"), "{said}");
            let told = said.contains("cannot be resumed. `goldfish train DATA --init-adapter");
            if taken == "yes" && !told && output.status.success() && tries > 0 {
                continue;
            }
            assert_eq!(output.status.code(), Some(code), "{taken}: {said}");
            assert_eq!(listed.contains("step-"), taken == "no", "{listed}");
            assert_eq!(told, taken == "yes", "{said}");
            break;
        }
    }
}

#[cfg(target_os = "linux")]
fn read_only() {
    let (folder, _) = two_runs();
    let place = folder.path().join("disk");
    fs::create_dir(&place).expect("a folder");
    let script = "
        disk=$1; folder=$2; shift 2
        mount -t tmpfs none \"$disk\"
        cp -r \"$folder/old\" \"$disk/old\"
        mount -o remount,ro \"$disk\"
        cd \"$folder\"
        exec \"$@\"";
    let here = folder.path().to_str().expect("text");
    for (run, more) in [
        ("old", &["--overwrite"][..]),
        ("fresh", &[]),
        ("a/b/c", &[]),
    ] {
        let run = place.join(run);
        let words = words(run.to_str().expect("text"), more);
        let more = [&[here, env!("CARGO_BIN_EXE_goldfish")], &words[..]].concat();
        let output = mounted(&place, script, &more).output().expect("it runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("Read-only file system"), "{said}");
        assert!(
            !said.contains("images   "),
            "pictures were read before: {said}"
        );
    }
}
