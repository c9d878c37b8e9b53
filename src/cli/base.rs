//! The frozen base as the command line names it: `--weights`, `--arch`, `--image-size`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use goldfish::data::{Classes, Transform};
use goldfish::formats::{Tensors, standing};
use goldfish::nn::arch::{Layer, VGG19};
use goldfish::nn::{Arch, Identity, LoadStep, Loading, Source, Vgg};
use goldfish::{Error, Gpu, Precision, Result};
use serde::Serialize;

use super::folders::choices_file;
use super::progress::{Progress, Tuning};
use super::stop::go_on;
use super::terminal::note;
use super::weights::place;

#[derive(Args, Clone)]
#[command(next_help_heading = "The base and its images")]
pub struct BaseArgs {
    /// Base weights: a safetensors file or PyTorch's (.pth) under torchvision's or timm's names, a folder with such files, or random[:SEED]
    /// [default: GOLDFISH_WEIGHTS, else those of the network in ./weights, else those that `goldfish weights fetch` put
    /// into the user's data, else random:0]
    #[arg(short, long, value_name = "FILE|DIR|random[:SEED]", value_parser = OsStringValueParser::new().try_map(Weights::from_os))]
    pub weights: Option<Weights>,
    /// Network: vgg11, vgg13, vgg16 or vgg19, with batch norm vgg19_bn and so on, narrow vgg19-tiny and so on, to try
    /// things out [default: what the weights are of; vgg19 where they are random, or of several networks]
    #[arg(long)]
    pub arch: Option<String>,
    /// Side of the square that images are cropped to; the short side is resized to 8/7 of it [default: 224]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<usize>,
    /// Turn images the way their EXIF orientation says
    #[arg(long)]
    pub exif: bool,
    /// Go on without images that cannot be read, and list them
    #[arg(long)]
    pub skip_bad: bool,
    /// Numbers of the frozen weights on the device: f32, or f16 for half the memory and, where the device has them,
    /// cooperative matrices; what is trained is f32 always
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    pub precision: Precision,
    /// Kernels: the device's own (auto), or portable, which are for GPUs and run everywhere
    #[arg(long, value_enum, default_value = "auto")]
    pub kernels: Kernels,
    /// Use the kernels that were measured as the fastest on this device (and, of a CPU, this processor), kept in the cache
    /// folder; what was not yet is measured on GPUs (auto) or on every device (on; some 25 s on a CPU, once). Or use the
    /// same kernels on every device (off)
    #[arg(long, value_enum, default_value = "auto")]
    pub tune: Tune,
    /// Take adapters though they were trained on another base
    #[arg(long)]
    pub any_base: bool,
    /// Memory for decoded images, in MiB; beyond it files are decoded again when needed
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub image_memory: u64,
}

/// `--kernels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernels {
    Auto,
    Portable,
}

/// `--tune`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tune {
    Auto,
    On,
    Off,
}

/// `--weights`: a file or a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    File(PathBuf),
    Random(u64),
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("random") {
            Some("") => Ok(Weights::Random(0)),
            Some(seed) if seed.starts_with(':') => seed[1..]
                .parse()
                .map(Weights::Random)
                .map_err(|_| format!("the seed {:?} is not a whole number", &seed[1..])),
            _ => Ok(Weights::File(text.into())),
        }
    }
}

impl Weights {
    fn open(&self) -> Result<Numbers> {
        match self {
            Weights::File(path) => Ok(Numbers::File(Tensors::open(path)?)),
            Weights::Random(seed) => Ok(Numbers::Random(*seed)),
        }
    }

    /// A name that is not UTF-8 is a file's.
    fn from_os(text: OsString) -> Result<Self, String> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(Weights::File(text.into())),
        }
    }
}

impl std::fmt::Display for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Weights::File(path) => write!(f, "{}", path.display()),
            Weights::Random(seed) => write!(f, "random:{seed}"),
        }
    }
}

/// The numbers themselves, in a file that is open or out of a seed.
enum Numbers {
    File(Tensors),
    Random(u64),
}

/// The network that weights are of and what its logits mean; `asked` is what the user says it is, of any number of classes.
fn network(numbers: &Numbers, asked: Option<Arch>) -> Result<(Arch, Classes)> {
    let Numbers::File(file) = numbers else {
        return Ok((asked.unwrap_or(VGG19), Classes::imagenet()));
    };
    let arch = file.arch()?;
    if let Some(asked) = asked.filter(|asked| asked.name != arch.name) {
        let problem = format!(
            "holds a {}, and --arch asks for {}: leave --arch out, or name other weights",
            arch.name, asked.name
        );
        return Err(Error::data(file.path(), problem));
    }
    let imagenet = Classes::imagenet();
    let classes = match file.classes(arch.classes)? {
        Some(classes) => classes,
        None if arch.classes == imagenet.len() => imagenet,
        None => Classes::numbered(arch.classes),
    };
    Ok((arch, classes))
}

/// What results say of the base that they come of.
#[derive(Serialize)]
pub struct BaseReport {
    #[serde(flatten)]
    pub identity: Identity,
    /// Of one that is not trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

impl BaseReport {
    pub fn new(identity: Identity) -> Self {
        let random = "on a random base: this shows the mechanics, not a classifier";
        BaseReport {
            note: (!identity.trained).then_some(random),
            identity,
        }
    }

    /// The note as the line that a table ends with.
    pub fn line(&self) -> String {
        let line = |note| format!("base     {}: {note}\n", self.identity);
        self.note.map_or(String::new(), line)
    }
}

/// The base, decided but not loaded.
pub struct Base {
    pub arch: Arch,
    pub weights: Weights,
    numbers: Numbers,
    /// Whether adapters of other bases are taken.
    any: bool,
    /// What its own logits mean.
    pub classes: Classes,
    pub transform: Transform,
    pub precision: Precision,
    pub kernels: Kernels,
    pub tune: Tune,
    /// Read once: see [`goldfish::Tuning`].
    tuning: OnceLock<Option<goldfish::Tuning>>,
}

/// What is wrong with a side of images.
pub fn check_size(side: usize) -> Result<(), String> {
    match (32..=4096).contains(&side) {
        true => Ok(()),
        false => Err(format!("must lie between 32 and 4096, found {side}")),
    }
}

impl BaseArgs {
    /// `--image-memory` in bytes.
    pub fn memory(&self) -> u64 {
        self.image_memory.saturating_mul(1 << 20)
    }

    /// Fills in the defaults and says so where the base is not a trained one.
    pub fn resolve(&self) -> Result<Base> {
        let asked = self.arch.as_deref().map(Arch::named).transpose()?;
        let size = self.image_size.unwrap_or(224);
        check_size(size).map_err(|why| Error::Usage(format!("--image-size {why}")))?;
        let weights = find(self.weights.as_ref(), asked)?;
        let numbers = weights.open()?;
        let (arch, classes) = network(&numbers, asked)?;
        Ok(Base {
            arch,
            weights,
            numbers,
            any: self.any_base,
            classes,
            transform: Transform { size },
            precision: self.precision,
            kernels: self.kernels,
            tune: self.tune,
            tuning: OnceLock::new(),
        })
    }
}

/// The weights of the network that is `asked` for, else of VGG19 or of the only other one that there is: as `given`, or by
/// the environment, or where they are looked for, or none but random ones.
fn find(given: Option<&Weights>, asked: Option<Arch>) -> Result<Weights> {
    let arch = asked.unwrap_or(VGG19).name;
    let among = |folders: &[PathBuf]| {
        let file = folders.iter().find_map(|f| place::inside(f, arch));
        file.or_else(|| {
            let (other, file) = place::only(folders).filter(|_| asked.is_none())?;
            note!("notice   there are no weights of {arch}: those of {other} are taken, the only ones there are");
            Some(file)
        })
    };
    if let Some(given) = given {
        return match given {
            Weights::File(folder) if folder.is_dir() => {
                let inside = among(std::slice::from_ref(folder));
                let problem = || format!("holds no weights of {arch}: name the file itself");
                let file = inside.ok_or_else(|| Error::data(folder, problem()))?;
                Ok(Weights::File(file))
            }
            _ => Ok(given.clone()),
        };
    }
    if let Some(text) = place::named() {
        let named = Weights::from_os(text);
        let named = named.map_err(|e| Error::Usage(format!("{}: {e}", place::WEIGHTS)))?;
        match &named {
            // It is searched first, and may have those of another network only.
            Weights::File(folder) if folder.is_dir() => {}
            Weights::File(file) if !file.exists() => {
                return Err(Error::data(
                    file,
                    format!("is not there, and {} names it", place::WEIGHTS),
                ));
            }
            _ => return Ok(named),
        }
    }
    if let Some(file) = among(&place::folders()) {
        return Ok(Weights::File(file));
    }
    note!(
        "notice   {}: the base is seeded random weights; `goldfish weights fetch` gets the trained ones",
        place::sought(arch)
    );
    Ok(Weights::Random(0))
}

impl Base {
    /// `how` with what the command line says of the kernels.
    pub fn loading(&self, gpu: &Gpu, how: Loading) -> Loading {
        let measure = match self.tune {
            Tune::Auto => Some(!gpu.is_software()),
            Tune::On => Some(true),
            Tune::Off => None,
        };
        let tuning = self.tuning.get_or_init(|| {
            let measure = measure?;
            let file = choices_file(gpu, measure)?;
            Some(goldfish::Tuning::new(file, measure))
        });
        Loading {
            side: self.transform.size,
            portable: self.kernels == Kernels::Portable,
            precision: self.precision,
            tuning: tuning.clone(),
            ..how
        }
    }

    /// Loads or makes the weights on the device.
    pub fn load(&self, gpu: &Gpu, how: Loading) -> Result<Vgg> {
        let how = &self.loading(gpu, how);
        let layers = self.arch.below_head(how.headless);
        let mut bytes: u64 = layers[how.lowest..].iter().map(Layer::bytes).sum();
        if how.product {
            bytes -= layers[how.lowest].bytes();
        }
        let total = bytes >> 20;
        let (mut tuning, mut base) = (Tuning::default(), None);
        let mut loaded = 0;
        let report = |step: LoadStep| {
            match step {
                LoadStep::Measured { done, of } => tuning.set(done, of),
                LoadStep::Loaded(bytes) => {
                    loaded += bytes;
                    let bar = base.get_or_insert_with(|| Progress::new("base", "MiB", total));
                    bar.set(loaded >> 20, "");
                }
            }
            go_on(0)
        };
        let network = self.with_source(|source| Vgg::load(gpu, self.arch, source, how, report))?;
        let progress = base.unwrap_or_else(|| Progress::new("base", "MiB", total));
        progress.finish(&format!(
            "{}, {} {}, {} kernels{}{}",
            match how.lowest {
                0 => "",
                _ => " of what is above the layers that nothing needs",
            },
            self.arch.name,
            self.weights,
            network.family(),
            match self.precision {
                Precision::F32 => "",
                Precision::F16 => " in f16",
            },
            match network.measured() {
                0 => String::new(),
                n => format!(", {n} measured on this device"),
            }
        ));
        if let Some(why) = network.unkept() {
            note!(
                "notice   what was measured could not be kept ({why}): two runs may choose differently, and then round \
                 differently. Make the cache folder writable, or take fixed kernels with --tune off"
            );
        }
        Ok(network)
    }

    /// Hands the weights to `work`.
    pub fn with_source<T>(&self, work: impl FnOnce(&Source) -> Result<T>) -> Result<T> {
        match &self.numbers {
            Numbers::Random(seed) => work(&Source::Random(*seed)),
            Numbers::File(file) => work(&file.source(self.arch)?),
        }
    }

    /// Which base this is. A file is read for it once.
    pub fn identity(&self) -> Result<Identity> {
        self.with_source(|source| source.identity(self.arch))
    }

    /// Refuses the adapter at `path` where it says that it was trained on another base.
    pub fn check(&self, path: &Path) -> Result<()> {
        let Some(stands) = standing(path)? else {
            return Ok(());
        };
        let own = self.identity()?;
        if stands.base.fits(&own, stands.own_last_layer) {
            return Ok(());
        }
        let both = format!("was trained on {}, and the base here is {own}", stands.base);
        if self.any {
            note!("notice   {}: {both}", path.display());
            return Ok(());
        }
        let problem =
            format!("{both}. Name its own with --weights, or take it all the same with --any-base");
        Err(Error::data(path, problem))
    }
}
