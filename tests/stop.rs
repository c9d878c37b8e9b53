//! Ctrl-C is heard in every phase, exits 130, and leaves what is done or nothing, never half of something.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use goldfish::data::{Classes, ImageStore, Transform};
use goldfish::formats::{Export, Input, Kind, Merged, convert, write_merged, write_onnx};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Adapter, Loading, Source, Vgg};
use goldfish::{Error, Result};
use libtest_mimic::Trial;

use crate::support::{gpu, gpu_trial, pictures, trial};

pub fn trials() -> Vec<Trial> {
    let trials = vec![
        trial("stop::reading_ends_where_its_progress_says", reading),
        gpu_trial("stop::loading_ends_where_its_progress_says", loading),
        gpu_trial("stop::a_file_half_written_is_not_left", half_written),
    ];
    #[cfg(unix)]
    let trials = trials.into_iter().chain(signals::trials()).collect();
    trials
}

fn interrupted<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Interrupted { step: 7 }))
}

fn reading() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "tench", &[(40, 50), (60, 40)]);
    let picture = |name: &str| folder.path().join("tench").join(name);
    // One that cannot be read is not why it ends.
    fs::write(picture("0.png"), b"").expect("a file");
    for number in 2..500 {
        fs::hard_link(picture("1.png"), picture(&format!("{number}.png"))).expect("a link");
    }
    let paths: Vec<_> = (0..500).map(|n| picture(&format!("{n}.png"))).collect();
    let heard = AtomicUsize::new(0);
    for skip_bad in [false, true] {
        let read = ImageStore::open(&paths, Transform { size: 32 }, false, 0, skip_bad, |_| {
            heard.fetch_add(1, Ordering::Relaxed);
            Err(Error::Interrupted { step: 7 })
        });
        assert!(interrupted(read));
    }
    // One for each thread that was at work.
    assert!(heard.into_inner() < 400);
}

fn loading() {
    let mut heard = 0;
    let how = Loading::default();
    let network = Vgg::load(&gpu(), VGG19_TINY, &Source::Random(1), &how, |_| {
        heard += 1;
        match heard {
            3 => Err(Error::Interrupted { step: 7 }),
            _ => Ok(()),
        }
    });
    assert!(interrupted(network) && heard == 3);
}

fn half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (adapter, classes) = (Adapter::default(), Classes::imagenet());
    let merged = || Merged {
        arch: VGG19_TINY,
        source: &Source::Random(1),
        adapter: &adapter,
        sign: 1.0,
        classes: &classes,
    };
    write_merged(&gpu(), &at("whole.safetensors"), &merged(), |_| Ok(())).expect("written");
    let late = || {
        let mut heard = 0;
        move |_: u64| {
            heard += 1;
            match heard {
                5 => Err(Error::Interrupted { step: 7 }),
                _ => Ok(()),
            }
        }
    };
    assert!(interrupted(write_merged(
        &gpu(),
        &at("merged.safetensors"),
        &merged(),
        late()
    )));
    let export = Export {
        merged: merged(),
        transform: Transform { size: 32 },
        base: &Source::Random(1).identity(VGG19_TINY).expect("a seed"),
        input: Input::Floats,
    };
    assert!(interrupted(write_onnx(
        &gpu(),
        &at("x.onnx"),
        &export,
        late()
    )));
    let whole = at("whole.safetensors");
    let converted = convert(&whole, &at("x.pth"), Some(Kind::Pth), &mut late());
    assert!(interrupted(converted));
    assert_eq!(names(folder.path()), ["whole.safetensors"]);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
mod signals {
    use std::fs::{self, File};
    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use libtest_mimic::Trial;
    use serde_json::Value;

    use super::names;
    use crate::cli::TINY;
    use crate::support::{gpu_trial, interrupt, pictures, signal, trial};

    pub fn trials() -> Vec<Trial> {
        vec![
            gpu_trial("stop::while_pictures_are_read", pictures_read),
            gpu_trial("stop::while_the_frozen_layers_run", frozen),
            gpu_trial("stop::while_images_are_predicted", predicted),
            gpu_trial("stop::while_images_are_sorted", sorted),
            gpu_trial("stop::while_images_are_scored", scored),
            gpu_trial("stop::while_a_device_is_measured", measured),
            trial("stop::while_stdin_says_nothing", nothing_comes),
            gpu_trial("stop::twice_ends_what_nobody_reads", unread),
        ]
    }

    /// A folder with `data/tench/`: so many times a picture that takes a while.
    fn many(count: usize, side: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        pictures(&folder.path().join("data"), "tench", &[(side, side)]);
        let tench = folder.path().join("data/tench");
        for number in 1..count {
            let link = tench.join(format!("{number}.png"));
            fs::hard_link(tench.join("0.png"), link).expect("a link");
        }
        folder
    }

    fn goldfish(folder: &Path, arguments: &[&str], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldfish"));
        command
            .current_dir(folder)
            .args(arguments)
            .args(more)
            .env("GOLDFISH_CACHE", folder.join(".cache"))
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("said")).expect("a file"));
        command
    }

    /// Waits until stderr has a line that starts so.
    fn wait_for(child: &mut Child, folder: &Path, start: &str) {
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(folder.join("said")).expect("text");
            if said.lines().any(|line| line.starts_with(start)) {
                return;
            }
            let state = child.try_wait().expect("a state");
            assert!(state.is_none(), "it ended by itself: {said}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Interrupts the program; what is on stdout and stderr when it has ended.
    fn ends(mut child: Child, folder: &Path) -> (String, String) {
        interrupt(&child);
        let mut out = String::new();
        let mut stdout = child.stdout.take().expect("stdout");
        stdout.read_to_string(&mut out).expect("text");
        let code = child.wait().expect("it ends").code();
        let said = fs::read_to_string(folder.join("said")).expect("text");
        assert_eq!(code, Some(130), "{said}");
        (out, said)
    }

    fn pictures_read() {
        let folder = many(400, 1500);
        let train = ["train", "data", "-o", "run", "--classes", "imagenet"];
        let mut child = goldfish(folder.path(), &train, &TINY)
            .spawn()
            .expect("it starts");
        wait_for(&mut child, folder.path(), "device   ");
        let (out, said) = ends(child, folder.path());
        assert!(out.is_empty() && !said.contains("images   "), "{out}{said}");
        assert!(!folder.path().join("run/adapter_model.safetensors").exists());
    }

    fn frozen() {
        let folder = many(400, 60);
        let train = ["train", "data", "-o", "run", "--classes", "imagenet"];
        let mut more = TINY;
        more[5] = "160";
        let mut child = goldfish(folder.path(), &train, &more)
            .spawn()
            .expect("it starts");
        wait_for(&mut child, folder.path(), "base     ");
        let (out, said) = ends(child, folder.path());
        assert!(out.is_empty() && !said.contains("frozen   "), "{out}{said}");
        let run = folder.path().join("run");
        assert!(!run.join("adapter_model.safetensors").exists());
        if run.exists() {
            let left = names(&run);
            assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
        }
    }

    const SLOW: [&str; 4] = ["predict", "data", "--adapter", "none"];

    fn predicted() {
        let folder = many(400, 700);
        for format in ["jsonl", "json", "table"] {
            let predict = [&SLOW[..], &["--format", format]].concat();
            let mut child = goldfish(folder.path(), &predict, &TINY)
                .spawn()
                .expect("it starts");
            let mut reader = BufReader::new(child.stdout.take().expect("stdout"));
            let mut out = String::new();
            match format {
                "json" => wait_for(&mut child, folder.path(), "base     "),
                _ => drop(reader.read_line(&mut out).expect("a line")),
            }
            interrupt(&child);
            reader.read_to_string(&mut out).expect("text");
            assert_eq!(child.wait().expect("it ends").code(), Some(130), "{out}");
            match format {
                // What is printed is whole, and nothing says that it were all.
                "jsonl" => {
                    let lines: Vec<Value> = out
                        .lines()
                        .map(|line| serde_json::from_str(line).expect("JSON"))
                        .collect();
                    assert!((1..400).contains(&lines.len()));
                }
                "json" => assert_eq!(out, ""),
                _ => assert!(
                    out.lines().count().is_multiple_of(6) && !out.contains("base "),
                    "{out}"
                ),
            }
        }
    }

    fn sorted() {
        let folder = many(400, 700);
        let predict = [&SLOW[..], &["--sort-into", "sorted"]].concat();
        let mut child = goldfish(folder.path(), &predict, &TINY)
            .spawn()
            .expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("stdout"));
        reader.read_line(&mut String::new()).expect("a line");
        interrupt(&child);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        let classes = names(&folder.path().join("sorted"));
        let files = classes
            .iter()
            .flat_map(|class| names(&folder.path().join("sorted").join(class)));
        let files: Vec<String> = files.collect();
        assert!((1..400).contains(&files.len()));
        assert!(files.iter().all(|name| name.ends_with(".png")), "{files:?}");
        let said = fs::read_to_string(folder.path().join("said")).expect("text");
        assert!(said.contains(&format!("{}", files.len())), "{said}");
    }

    fn scored() {
        let folder = many(400, 700);
        let eval = ["eval", "data", "--adapter", "none", "--json"];
        let mut child = goldfish(folder.path(), &eval, &TINY)
            .spawn()
            .expect("it starts");
        wait_for(&mut child, folder.path(), "device   ");
        assert_eq!(ends(child, folder.path()).0, "");
    }

    fn measured() {
        let folder = many(1, 60);
        let bench = ["bench", "forward", "--batch", "256", "--image-size", "64"];
        let tiny = &TINY[..4];
        let mut child = goldfish(folder.path(), &bench, tiny)
            .spawn()
            .expect("it starts");
        wait_for(&mut child, folder.path(), "device   ");
        assert_eq!(ends(child, folder.path()).0, "");
    }

    /// Nothing can look at a flag meanwhile.
    fn nothing_comes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = goldfish(folder.path(), &["predict", "-"], &TINY);
        let child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(500));
        assert!(ends(child, folder.path()).1.contains("interrupted"));
    }

    /// Both of its outputs are pipes that are full.
    fn unread() {
        let folder = many(300, 60);
        for number in 0..2000 {
            let name = format!("{}{number}.png", "long".repeat(40));
            fs::write(folder.path().join("data").join(name), b"no picture").expect("a file");
        }
        let predict = [&SLOW[..], &["--skip-bad", "--format", "jsonl"]].concat();
        let mut child = goldfish(folder.path(), &predict, &TINY)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let running = |child: &mut Child| child.try_wait().expect("a state").is_none();
        std::thread::sleep(Duration::from_millis(1500));
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(running(&mut child), "it was to hang in what nobody reads");
        signal("TERM", &child);
        let begun = Instant::now();
        while running(&mut child) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(child.wait().expect("it ended").code(), Some(130));
    }
}
