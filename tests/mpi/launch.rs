//! Processes by mpirun, and the pictures that they work on.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_goldfish");
/// A small base, and nothing that is kept between runs.
pub const TINY: [&str; 6] = [
    "--arch",
    "vgg19-tiny",
    "--weights",
    "random:3",
    "--image-size",
    "64",
];
/// What takes longer than this hangs.
pub const LIMIT: Duration = Duration::from_secs(90);

/// What a process came to.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Said {
    /// It went well.
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.err);
        self
    }

    /// It ended with `code`, and the lines that say why are one: that.
    pub fn error(&self, code: i32) -> &str {
        assert_eq!(self.status.code(), Some(code), "{}", self.err);
        let mut errors = self.err.lines().filter(|line| line.starts_with("error: "));
        let first = errors.next().unwrap_or_else(|| panic!("{}", self.err));
        assert_eq!(errors.next(), None, "{}", self.err);
        first
    }
}

/// `train data -o TO` on the small base for so many epochs, and more.
pub fn train<'a>(to: &'a str, epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["train", "data", "-o", to, "--epochs", epochs];
    [&words[..], &TINY, more].concat()
}

/// `goldfish` in `folder`, alone.
pub fn alone(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words);
    at_home(&mut command, folder);
    command
}

/// `goldfish` in `folder` on so many ranks.
pub fn on(ranks: usize, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["-n", &ranks.to_string(), PROGRAM])
        .args(words);
    at_home(&mut command, folder);
    command
}

/// Keeps nothing outside `folder`, and lets mpirun start more ranks than there are cores, as root too.
pub fn at_home(command: &mut Command, folder: &Path) {
    command
        .current_dir(folder)
        .env("GOLDFISH_CACHE", folder.join(".cache"))
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Waits for it to end, which it does within [`LIMIT`].
pub fn ended(command: &mut Command) -> Said {
    wait(command.spawn().expect("it starts"), LIMIT)
}

/// What a process says, while it says it.
struct Heard(Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

impl Heard {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        let reader = spawn(move || {
            let (Some(mut stream), mut some) = (stream, [0; 4096]) else {
                return;
            };
            while let Ok(count @ 1..) = stream.read(&mut some) {
                all.lock().expect("nobody panics").extend(&some[..count]);
            }
        });
        Heard(heard, reader)
    }

    /// All of it. A daemon that mpirun has lost may hold the stream open: the rest is not waited for long.
    fn all(self) -> String {
        let ended = Instant::now() + Duration::from_secs(2);
        while !self.1.is_finished() && Instant::now() < ended {
            sleep(Duration::from_millis(10));
        }
        let all = self.0.lock().expect("nobody panics");
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Waits for it to end, which it does within `limit`.
pub fn wait(mut child: Child, limit: Duration) -> Said {
    let (out, err) = (
        Heard::of(child.stdout.take()),
        Heard::of(child.stderr.take()),
    );
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            break status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            panic!("it did not end within {limit:?}: {}", err.all());
        }
        sleep(Duration::from_millis(20));
    };
    Said {
        status,
        out: out.all(),
        err: err.all(),
    }
}

/// `DATA/<class>/<n>.png` below `folder`: so many pictures of classes a, b and c, in turn.
pub fn pictures(folder: &Path, data: &str, count: usize) {
    for n in 0..count {
        let class = folder.join(data).join(["a", "b", "c"][n % 3]);
        fs::create_dir_all(&class).expect("a folder");
        let pixel = |x: u32, y: u32| {
            let (n, grain) = (n as u32, (x * 31 + y * 17 + x * y) % 97);
            Rgb([
                (n * 53 % 160 + grain) as u8,
                (n * 97 % 160 + (grain * 3) % 90) as u8,
                (n * 29 % 160 + (grain * 7) % 90) as u8,
            ])
        };
        let picture = RgbImage::from_fn(48 + n as u32 % 5, 40, pixel);
        picture.save(class.join(format!("{n}.png"))).expect("saved");
    }
}

/// The files of a run that do not tell of the time or of the place.
pub fn run_files(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = [
        "adapter_model.safetensors",
        "adapter_config.json",
        "best/adapter_model.safetensors",
        "metrics.jsonl",
        "validation.jsonl",
    ];
    let there = names.iter().filter_map(|name| {
        let bytes = fs::read(run.join(name)).ok()?;
        Some((PathBuf::from(name), bytes))
    });
    there.collect()
}

/// Whether the run in `folder` has a state to go on from.
pub fn is_put_down(folder: &Path) -> bool {
    let states = fs::read_dir(folder.join("state"));
    let mut states = states.into_iter().flatten().flatten();
    states.any(|state| state.file_name().to_string_lossy().starts_with("step-"))
}
