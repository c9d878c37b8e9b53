//! Fills `corpus/<target>` with what the tests' fixtures have, and `corpus/run` with the runs in the folders that it is given.

use std::fs;
use std::path::Path;

use goldfish::formats::Tensors;

/// Larger files make a fuzzer slow.
const MOST: u64 = 100_000;

fn main() -> std::io::Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().expect("the package's folder");
    for target in ["safetensors", "pth", "adapter", "image", "run"] {
        fs::create_dir_all(own.join("corpus").join(target))?;
    }
    below(&root.join("tests/fixtures"), own)?;
    below(&root.join("examples/illustrations"), own)?;
    let keep = |name: &str, bytes: &[u8]| {
        let name = name.replace('/', "_");
        fs::write(own.join("corpus/image").join(name), bytes).expect("a seed");
    };
    let pictures = root.join("tests/fixtures/pictures.safetensors");
    let pictures = Tensors::open(&pictures).expect("the tests' pictures");
    pictures.each(|name, _, _, bytes| {
        if !name.ends_with(".rgb") {
            keep(name, bytes);
        }
    });
    for run in std::env::args_os().skip(1) {
        self::run(Path::new(&run), own)?;
    }
    Ok(())
}

/// A run as the target takes it apart: without images, as the target says that there are none.
fn run(folder: &Path, own: &Path) -> std::io::Result<()> {
    let settings = fs::read(folder.join("run.toml"))?;
    for entry in fs::read_dir(folder.join("state"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "safetensors")
        {
            let whole = [&settings[..], b"\0\0", &fs::read(&path)?].concat();
            fs::write(own.join("corpus/run").join(name(&path)), whole)?;
        }
    }
    Ok(())
}

fn below(folder: &Path, own: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.join("adapter_config.json").exists() {
                adapter(&path, own)?;
            }
            below(&path, own)?;
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let target = match &*ending {
            "safetensors" => "safetensors",
            "pth" | "bin" => "pth",
            "png" | "jpg" | "gif" | "bmp" | "webp" => "image",
            _ => continue,
        };
        if path.metadata()?.len() < MOST {
            fs::copy(&path, own.join("corpus").join(target).join(name(&path)))?;
        }
    }
    Ok(())
}

/// The parts of a folder as the target takes them apart.
fn adapter(folder: &Path, own: &Path) -> std::io::Result<()> {
    let model = fs::read(folder.join("adapter_model.safetensors")).unwrap_or_default();
    if model.len() as u64 >= MOST {
        return Ok(());
    }
    let config = fs::read(folder.join("adapter_config.json"))?;
    let classes = fs::read(folder.join("classes.txt")).unwrap_or_default();
    let whole = [&config[..], b"\0", &classes, b"\0", &model].concat();
    fs::write(own.join("corpus/adapter").join(name(folder)), whole)
}

/// The last two parts of a path as a name.
fn name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(2)..].join("_")
}
