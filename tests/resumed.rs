//! A run that goes on from somewhere else than where it was put down, or from less than it had: what must be the same is, and
//! what is missing is named with what to type.

use std::fs;
use std::path::Path;

use assert_cmd::assert::Assert;
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::cli::{TINY, goldfish};
use crate::fetch::sha256;
use crate::support::{gpu_trial, pictures, run_files, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("resumed::images_and_runs_may_be_moved", moved),
        #[cfg(target_os = "linux")]
        gpu_trial("resumed::a_folder_of_any_name_is_named_again", not_utf8),
        gpu_trial("resumed::what_is_missing_is_named", missing),
        gpu_trial(
            "resumed::a_damaged_state_gives_way_to_the_one_before_and_the_bytes_are_the_same",
            damaged,
        ),
        gpu_trial("resumed::another_device_or_version_is_told_of", elsewhere),
        gpu_trial(
            "resumed::the_adapter_to_start_from_must_be_the_same",
            started,
        ),
        gpu_trial(
            "resumed::the_adapter_to_start_from_may_be_replaced_or_gone",
            begun_from,
        ),
        gpu_trial(
            "resumed::metrics_cut_short_cost_the_newest_state_and_no_byte",
            cut_short,
        ),
        gpu_trial("resumed::as_many_states_are_kept_as_there_are", kept),
        trial("resumed::what_is_no_run_is_said_to_be_none", no_run),
    ]
}

/// `data/` with two classes of four images.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc"] {
        let sizes = [(40, 50), (60, 40), (33, 90), (48, 37)];
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

fn train(at: &Path, words: &[&str]) -> Assert {
    let mut command = goldfish(at);
    command.arg("train").args(words).assert()
}

/// Two epochs of two steps in `run`.
fn begun(at: &Path, more: &[&str]) {
    let words = ["data", "-o", "run", "-e", "2", "-b", "4"];
    train(at, &[&words[..], &TINY, more].concat()).success();
}

fn moved() {
    let folder = data();
    let at = folder.path();
    begun(at, &["--val", "data"]);
    let on = |words: &[&str]| train(at, &[words, &["-e", "3"]].concat());
    fs::rename(at.join("data"), at.join("pictures")).expect("moved");
    on(&["--resume", "run"])
        .code(3)
        .stderr(contains("data: is not there").and(contains("goldfish train DATA --resume run")));
    on(&["pictures", "--resume", "run"])
        .code(3)
        .stderr(contains("goldfish train --resume run --val DIR"));
    on(&["pictures", "--resume", "run", "--val", "pictures"]).success();
    // The run itself, which knows its images from where it was.
    fs::create_dir(at.join("deep")).expect("a folder");
    fs::rename(at.join("run"), at.join("deep/run")).expect("moved");
    let on = |words: &[&str]| train(at, &[words, &["-e", "4"]].concat());
    on(&["--resume", "deep/run"])
        .code(3)
        .stderr(contains("goldfish train DATA --resume deep/run"));
    on(&["pictures", "--resume", "deep/run", "--val", "pictures"]).success();
    let settings = fs::read_to_string(at.join("deep/run/run.toml")).expect("settings");
    assert!(settings.contains("data = \"../../pictures\""), "{settings}");
}

#[cfg(target_os = "linux")]
fn not_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = data();
    let at = folder.path();
    let name = OsStr::from_bytes(b"d\xff");
    fs::rename(at.join("data"), at.join(name)).expect("moved");
    let mut first = goldfish(at);
    first.arg("train").arg(name).args(["-o", "run", "-e", "2"]);
    first.args(TINY).assert().success();
    train(at, &["--resume", "run", "-e", "3"])
        .code(3)
        .stderr(contains("goldfish train DATA --resume run"));
    let mut named = goldfish(at);
    named
        .arg("train")
        .arg(name)
        .args(["--resume", "run", "-e", "3"]);
    named.assert().success();
}

fn missing() {
    let folder = data();
    let at = folder.path();
    begun(at, &[]);
    let list = at.join("run/state/images.tsv");
    let text = fs::read(&list).expect("the list");
    let on = || train(at, &["--resume", "run", "-e", "3"]);
    fs::remove_file(&list).expect("removed");
    let lists = "it lists the images that the run was begun with";
    on().code(3)
        .stderr(contains("images.tsv: is not there").and(contains(lists)));
    for wrong in [&b"no such thing"[..], b"\xff\xfe"] {
        fs::write(&list, wrong).expect("written");
        on().code(3)
            .stderr(contains("images.tsv: is no ").and(contains(lists)));
    }
    fs::write(&list, text).expect("as it was");
    on().success();
}

fn damaged() {
    let folder = data();
    let at = folder.path();
    begun(
        at,
        &["--save-every", "1", "--keep", "2", "--dropout", "0.3"],
    );
    let whole = run_files(&at.join("run"));
    let changed = || {
        let about = fs::metadata(at.join("run")).expect("a folder");
        about.modified().expect("a time")
    };
    let before = changed();
    train(at, &["--resume", "run"])
        .success()
        .stdout(contains("nothing is left to do"));
    assert_eq!(changed(), before, "not even a lock");
    let state = |steps: u64| at.join(format!("run/state/step-{steps:08}.safetensors"));
    assert!(state(2).exists() && state(4).exists());
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).expect("a state");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    damage(&state(4));
    unended(at);
    train(at, &["--resume", "run"])
        .success()
        .stderr(contains("is damaged").and(contains("The state before it is taken")));
    let again = run_files(&at.join("run"));
    assert!(whole.keys().eq(again.keys()));
    for (name, bytes) in &whole {
        assert!(*bytes == again[name], "{}", name.display());
    }
    // What cannot be read may be whole, and what another version wrote is: neither is passed over, nor removed.
    unended(at);
    #[cfg(unix)]
    {
        let kept = fs::read(state(4)).expect("a state");
        fs::remove_file(state(4)).expect("removed");
        std::os::unix::fs::symlink(state(4), state(4)).expect("a link to itself");
        train(at, &["--resume", "run"])
            .code(3)
            .stderr(contains("step-00000004.safetensors: cannot"));
        assert!(state(4).is_symlink() && state(2).exists());
        fs::remove_file(state(4)).expect("removed");
        fs::write(state(4), kept).expect("as it was");
    }
    let kept = fs::read(state(4)).expect("a state");
    rewritten(&state(4), |note| {
        note["version"] = 1.into();
        let position = note["position"].as_object_mut().expect("a position");
        position.remove("count_bits").expect("what version 2 has");
    });
    train(at, &["--resume", "run"])
        .code(3)
        .stderr(contains("is of version 1 and this goldfish writes 2"));
    fs::write(state(4), kept).expect("as it was");
    train(at, &["--resume", "run"]).success();
    // Where none is left, nothing is begun again over what there is.
    damage(&state(2));
    damage(&state(4));
    unended(at);
    let before = fs::read(at.join("run/adapter_model.safetensors")).expect("an adapter");
    train(at, &["--resume", "run"])
        .code(3)
        .stderr(contains("has no state left that is whole").and(contains("is damaged")));
    let after = fs::read(at.join("run/adapter_model.safetensors")).expect("an adapter");
    assert!(before == after);
}

/// The run as one that was killed after its last state.
fn unended(at: &Path) {
    let path = at.join("run/run.toml");
    let settings = fs::read_to_string(&path).expect("settings");
    let before = settings.replace("ended = \"complete\"", "ended = \"not-yet\"");
    assert_ne!(before, settings);
    fs::write(path, before).expect("written");
}

/// A state as if it had been written with another note.
fn rewritten(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let bytes = fs::read(path).expect("a state");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let (header, numbers) = (&bytes[8..8 + length], &bytes[8 + length..]);
    let mut header: serde_json::Value = serde_json::from_slice(header).expect("JSON");
    let notes = &mut header["__metadata__"];
    let note = notes["goldfish.state"].as_str().expect("a note");
    let mut note: serde_json::Value = serde_json::from_str(note).expect("JSON");
    change(&mut note);
    let note = note.to_string();
    let digest = sha256(&[note.as_bytes(), numbers].concat());
    notes["goldfish.state"] = note.into();
    notes["goldfish.state_sha256"] = digest.into();
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length, &header[..], numbers].concat()).expect("written");
}

fn elsewhere() {
    let folder = data();
    let at = folder.path();
    begun(at, &[]);
    let on = |epochs: &str| train(at, &["--resume", "run", "-e", epochs]).success();
    on("3").stderr(contains("bytes may differ").not());
    rewritten(&at.join("run/state/step-00000006.safetensors"), |note| {
        note["beside"]["made_on"]["device"] = "Abacus".into();
    });
    on("4").stderr(
        contains("the bytes may differ")
            .and(contains("made on Abacus (").and(contains("goes on on "))),
    );
    // From here on it is this one's.
    on("5").stderr(contains("bytes may differ").not());
    let state = |epoch: usize| at.join(format!("run/state/step-{:08}.safetensors", 2 * epoch));
    rewritten(&state(5), |note| {
        note["beside"]["made_on"]["kernels"] = "winograd9".into();
    });
    on("6").stderr(
        contains("the bytes may differ")
            .and(contains("other kernels were measured").and(contains("--tune"))),
    );
    // An older state does not say.
    rewritten(&state(6), |note| {
        let made_on = note["beside"]["made_on"].as_object_mut();
        made_on.expect("an object").remove("kernels");
    });
    on("7").stderr(contains("bytes may differ").not());
}

fn started() {
    let folder = data();
    let at = folder.path();
    begun(at, &[]);
    fs::rename(at.join("run"), at.join("first")).expect("moved");
    let words = ["data", "-o", "run", "-e", "2", "--init-adapter", "first"];
    train(at, &[&words[..], &TINY].concat()).success();
    fs::rename(at.join("first"), at.join("elsewhere")).expect("moved");
    let on = |epochs: &str, adapter: &str| {
        train(
            at,
            &["--resume", "run", "-e", epochs, "--init-adapter", adapter],
        )
    };
    on("3", "elsewhere").success();
    on("4", "run").code(3).stderr(contains("init_adapter was "));
}

fn begun_from() {
    let folder = data();
    let at = folder.path();
    begun(at, &[]);
    fs::rename(at.join("run"), at.join("first")).expect("moved");
    let from = |run: &str, epochs: &str, more: &[&str]| {
        let words = ["data", "-o", run, "-e", epochs, "-b", "4", "--init-adapter"];
        train(at, &[&words[..], more, &TINY].concat()).success();
    };
    let on = |run: &str| train(at, &["--resume", run, "-e", "3"]);
    let adapter = |run: &str| fs::read(at.join(run).join("adapter_model.safetensors"));
    from("whole", "3", &["first"]);
    from("second", "2", &["first"]);
    // Over the one that it begins from, which is another one then.
    from("first", "2", &["first", "--overwrite"]);
    on("first").success();
    let expected = adapter("whole").expect("an adapter");
    assert!(adapter("first").expect("an adapter") == expected);
    // From one that is gone.
    fs::remove_dir_all(at.join("first")).expect("removed");
    on("second").success();
    assert!(adapter("second").expect("an adapter") == expected);
}

fn cut_short() {
    let folder = data();
    let at = folder.path();
    begun(at, &["--save-every", "1", "--keep", "2"]);
    let whole = run_files(&at.join("run"));
    let metrics = at.join("run/metrics.jsonl");
    let cut = |length: usize| {
        let lines = &whole[Path::new("metrics.jsonl")];
        fs::write(&metrics, &lines[..length]).expect("written");
        unended(at);
        train(at, &["--resume", "run"])
    };
    cut(whole[Path::new("metrics.jsonl")].len() - 10)
        .success()
        .stderr(contains("metrics.jsonl: has ").and(contains("The state before it is taken")));
    let again = run_files(&at.join("run"));
    assert!(whole.keys().eq(again.keys()));
    for (name, bytes) in &whole {
        assert!(*bytes == again[name], "{}", name.display());
    }
    cut(10)
        .code(3)
        .stderr(contains("has no state left that is whole"));
}

fn kept() {
    let folder = data();
    let at = folder.path();
    let most = usize::MAX.to_string();
    begun(at, &["--save-every", "1", "--keep", &most]);
    let states = fs::read_dir(at.join("run/state")).expect("states").count();
    // And the list of the images.
    assert_eq!(states, 3);
    let mut dry = goldfish(at);
    dry.args(["estimate", "--config", "run/run.toml"]);
    dry.assert().success();
}

fn no_run() {
    let folder = data();
    let at = folder.path();
    for (run, said) in [
        ("nowhere", "nowhere: is not there"),
        ("data/b/0.png", "0.png: is a file, and a run is a folder"),
        ("data", "data: holds no run to go on with"),
    ] {
        let named = "the folder that a run was put into";
        let asked = train(at, &["--resume", run]).code(3);
        let asked = asked.stderr(contains(said));
        if !run.ends_with("png") {
            asked.stderr(contains(named));
        }
    }
    assert!(!at.join("data/run.lock").exists() && !at.join("nowhere").exists());
    // One that was to take the place of a whole one.
    fs::create_dir_all(at.join("run/.goldfish-new")).expect("a folder");
    for name in ["run/run.toml", "run/.goldfish-new/run.toml"] {
        fs::write(at.join(name), "").expect("a file");
    }
    let here = Path::new("run").join(".goldfish-new");
    train(at, &["--resume", "run"])
        .code(3)
        .stderr(contains(format!(
            "holds a whole run, and in {}",
            here.display()
        )));
}
