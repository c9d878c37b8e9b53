//! What the tests share: trials with and without a device, fixtures, small datasets.

use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::LazyLock;

use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Arch, Choice, Identity, Loading, Source, Vgg};
use goldfish::random::Stream;
use goldfish::{Gpu, GpuOptions, Tensor, Tuning};
use libtest_mimic::Trial;
use predicates::Predicate;
use predicates::function::function;

/// A test that needs no device.
pub fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// A test that needs a device: ignored where there is none.
pub fn gpu_trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    static PRESENT: LazyLock<bool> = LazyLock::new(|| !goldfish::gpu::devices().is_empty());
    trial(name, test).with_ignored_flag(!*PRESENT)
}

/// The device that tests share, with production kernels.
pub fn gpu() -> Gpu {
    static SHARED: LazyLock<Gpu> = LazyLock::new(|| Gpu::new().expect("a device opens"));
    SHARED.clone()
}

/// A device of its own with the given options.
pub fn gpu_with(options: GpuOptions) -> Gpu {
    let device = std::env::var("GOLDFISH_DEVICE").ok();
    Gpu::open(&GpuOptions { device, ..options }).expect("a device opens")
}

/// Normal numbers from the stream `name` under `seed`.
pub fn normal(gpu: &Gpu, seed: u64, name: &str, shape: &[usize], deviation: f64) -> Tensor {
    let stream = Stream::new(seed, name);
    Tensor::from_fn(gpu, shape, |first, out| {
        stream.fill_normal(first, deviation, out)
    })
    .expect("a tensor")
}

/// A fresh adapter for `targets` (separated by commas) of `arch` and images of `side`.
pub fn adapter(
    gpu: &Gpu,
    arch: Arch,
    side: usize,
    targets: &str,
    [rank, alpha]: [usize; 2],
    (init, seed): (Init, u64),
) -> Adapter {
    let choice = Choice {
        targets: targets.split(',').map(str::to_string).collect(),
        rank,
        alpha: Some(alpha as f64),
        ..Choice::default()
    };
    let targets = choice.resolve(arch, side).expect("targets");
    Adapter::new(gpu, &targets, false, |_| init, seed).expect("an adapter")
}

/// The portable family whatever the device.
pub fn portable() -> Loading {
    Loading {
        portable: true,
        ..Loading::default()
    }
}

/// What is measured kept in `file`.
pub fn measuring(file: PathBuf) -> Tuning {
    Tuning::new(file, true)
}

/// A frozen network of seeded random weights, of the portable family or the device's own.
pub fn network(gpu: &Gpu, arch: Arch, seed: u64, portable: bool) -> Vgg {
    let how = Loading {
        portable,
        ..Loading::default()
    };
    Vgg::load(gpu, arch, &Source::Random(seed), &how, |_| Ok(())).expect("a network")
}

/// The narrow VGG19 of seeded random weights, the device's own, for steps on `adapter`.
pub fn network_under(gpu: &Gpu, seed: u64, adapter: &Adapter) -> Vgg {
    let how = Loading {
        ranks: adapter.ranks(),
        trained: true,
        ..Loading::default()
    };
    Vgg::load(gpu, VGG19_TINY, &Source::Random(seed), &how, |_| Ok(())).expect("a network")
}

/// What an adapter of the narrow VGG19 stands on.
pub fn random_base() -> Identity {
    let identity = Source::Random(0).identity(VGG19_TINY);
    identity.expect("random numbers are of any network")
}

/// A fixture's tensors as f64.
pub fn fixture(name: &str) -> BTreeMap<String, Vec<f64>> {
    let bytes =
        std::fs::read(root().join("tests/fixtures").join(name)).expect("the fixture is there");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let values = |data: &[u8]| {
        let words = data.chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]);
        words.map(|w| f64::from(f32::from_le_bytes(w))).collect()
    };
    file.iter()
        .map(|(name, view)| (name.to_string(), values(view.data())))
        .collect()
}

/// What the program says, with `/` in its paths on every system.
pub fn slashed(said: &str) -> String {
    said.replace(MAIN_SEPARATOR, "/")
}

/// That the program says `text`, whichever separators its paths have.
pub fn says(text: &str) -> impl Predicate<str> + use<> {
    let text = slashed(text);
    function(move |said: &str| slashed(said).contains(&text))
}

/// The files of a run by their names in its folder, with `/` on every system, but for those that tell of when and how long.
pub fn run_files(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![run.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(run).expect("below").to_string_lossy();
            let name = PathBuf::from(slashed(&name));
            if goldfish::train::TIMES
                .iter()
                .any(|times| name == Path::new(times))
            {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    files.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
    }
    files
}

/// The package's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The five illustrations' folder of categories.
pub fn illustrations() -> PathBuf {
    root().join("examples/illustrations")
}

/// Makes `folder/<category>/<n>.png` of the given sizes, each of another colour pattern.
pub fn pictures(folder: &Path, category: &str, sizes: &[(u32, u32)]) {
    let folder = folder.join(category);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (index, &(width, height)) in sizes.iter().enumerate() {
        let shift = index as u32 * 53 + category.len() as u32 * 17;
        let image = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([
                (x * 3 + shift) as u8,
                (y * 5 + shift * 2) as u8,
                (x * y / 7 + shift) as u8,
            ])
        });
        image
            .save(folder.join(format!("{index}.png")))
            .expect("a picture");
    }
}

/// The largest difference relative to the largest expected magnitude.
pub fn error(found: &[f32], expected: &[f64]) -> f64 {
    goldfish::check::relative_error(found, expected)
}

/// Ctrl-C, as a terminal sends it.
#[cfg(unix)]
pub fn interrupt(child: &std::process::Child) {
    signal("INT", child);
}

/// Sends a signal by its name.
#[cfg(unix)]
pub fn signal(name: &str, child: &std::process::Child) {
    let kill = std::process::Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
}
