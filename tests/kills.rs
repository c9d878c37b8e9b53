//! A training process is killed at random moments and taken up again until it ends: with the bytes of one that nobody
//! disturbed. `GOLDFISH_KILLS` says how often at least for each kind of run; the suite kills each a few times.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use goldfish::random::Stream;
use libtest_mimic::Trial;

use crate::cli::TINY;
use crate::support::{gpu_trial, pictures, run_files};

pub fn trials() -> Vec<Trial> {
    let kinds: [(&str, &[&str]); 7] = [
        ("pixels", &["--targets", "pixels"]),
        (
            "pixels_with_dropout",
            &["--targets", "pixels", "--dropout", "0.3"],
        ),
        (
            "a_classifier_with_a_head",
            &["--classes", "own", "--targets", "head,classifier.0"],
        ),
        (
            "a_convolution_with_dropout",
            &["--targets", "features.28", "--dropout", "0.2"],
        ),
        (
            "augmented_pictures_with_dropout",
            &["--augment", "strong", "--dropout", "0.2"],
        ),
        (
            "a_recipe",
            &[
                "--targets",
                "classifier",
                "--optimizer",
                "adamw",
                "--weight-decay",
                "0.01",
                "--schedule",
                "cosine",
                "--grad-accum",
                "2",
                "--augment",
                "light",
                "--cache-variants",
                "2",
            ],
        ),
        (
            "the_best_epoch",
            &["--classes", "own", "--val-split", "0.4", "--keep", "2"],
        ),
    ];
    let trials = kinds.into_iter().map(|(name, settings)| {
        gpu_trial(&format!("kills::{name}"), move || killed(name, settings))
    });
    trials.collect()
}

/// So that there are some hundred moments to be killed at, each with something to lose.
const EPOCHS: &str = "20";

fn train(folder: &Path, to: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
    command
        .current_dir(folder)
        .arg("train")
        .args(to)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn killed(name: &str, settings: &[&str]) {
    let wanted = std::env::var("GOLDFISH_KILLS").ok();
    let wanted: usize = wanted.map_or(2, |count| count.parse().expect("a number of kills"));
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    pictures(&data, "goldfish", &[(40, 50), (60, 40), (33, 90)]);
    pictures(&data, "tench", &[(64, 64), (48, 37), (50, 50)]);
    let begin = |run: &str| {
        let mut words = vec!["data".to_string(), "-o".into(), run.into()];
        words.extend(
            ["--epochs", EPOCHS, "--batch-size", "2", "--save-every", "1"].map(String::from),
        );
        words.extend(TINY.iter().chain(settings).map(|word| word.to_string()));
        words
    };
    let start = Instant::now();
    let whole = begin("whole");
    let words: Vec<&str> = whole.iter().map(String::as_str).collect();
    let output = train(folder.path(), &words).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let longest = start.elapsed().as_secs_f64() * 1.1;
    let expected = run_files(&folder.path().join("whole"));

    let moments = Stream::new(7, &format!("kills of {name}"));
    let (mut kills, mut tries, mut runs, mut resumed) = (0, 0, 0, 0);
    while kills < wanted {
        let run = format!("run{runs}");
        runs += 1;
        let at = folder.path().join(&run);
        let mut taken_up = false;
        loop {
            let fresh = begin(&run);
            let words: Vec<&str> = match taken_up {
                true => vec!["--resume", &run],
                false => fresh.iter().map(String::as_str).collect(),
            };
            let log = folder.path().join("said");
            let mut child = train(folder.path(), &words)
                .stderr(fs::File::create(&log).expect("a file"))
                .spawn()
                .expect("it starts");
            // A run that is killed early each time would never end.
            let late = 1.0 + f64::from(tries % 8 == 7) * 20.0;
            let share = f64::from(moments.word(tries)) / 2f64.powi(32);
            let wait = longest * share * late;
            tries += 1;
            let begun = Instant::now();
            let mut ended = None;
            while ended.is_none() && begun.elapsed().as_secs_f64() < wait {
                std::thread::sleep(Duration::from_millis(1));
                ended = child.try_wait().expect("a state");
            }
            if let Some(status) = ended {
                let said = fs::read_to_string(&log).expect("text");
                // Killed before it had so much as its settings, or its folder.
                let nothing = ["no run to go on with", "is not there: name the folder"]
                    .iter()
                    .any(|words| taken_up && said.contains(words));
                if nothing {
                    taken_up = false;
                    continue;
                }
                assert!(status.success(), "after {kills} kills: {said}");
                break;
            }
            child.kill().expect("SIGKILL");
            child.wait().expect("it is dead");
            kills += 1;
            resumed += usize::from(taken_up);
            taken_up = true;
        }
        let found = run_files(&at);
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<PathBuf> {
            files.keys().cloned().collect()
        };
        assert_eq!(names(&found), names(&expected), "{run} after {kills} kills");
        for (name, bytes) in &expected {
            assert!(
                found[name] == *bytes,
                "{}: {} is another after {kills} kills: {:?} instead of {:?}",
                at.display(),
                name.display(),
                String::from_utf8_lossy(&found[name])
                    .chars()
                    .take(2000)
                    .collect::<String>(),
                String::from_utf8_lossy(bytes)
                    .chars()
                    .take(2000)
                    .collect::<String>(),
            );
        }
        fs::remove_dir_all(&at).expect("it goes");
    }
    if wanted > 2 {
        eprintln!(
            "{name}: {kills} kills, {resumed} of them of a run that was taken up, {runs} runs ended alike"
        );
    }
}
