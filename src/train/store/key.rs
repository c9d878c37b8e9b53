//! What decides the bits of a shelf's rows, beside the image.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::duplicates::Print;
use crate::data::{PRINT_VERSION, TRANSFORM_VERSION, Transform};
use crate::error::Result;
use crate::nn::digest::hex;
use crate::nn::{Adapter, Arch, Engine, Identity};

/// Raised when packs or keys are laid out otherwise.
const FORMAT: u32 = 1;

/// What a shelf's rows are: what the layers below the lowest adapted one make of an image, and what that layer's frozen
/// weight makes of it, where it is linear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    format: u32,
    /// The base's name, as [`Identity`] has it.
    pub base: String,
    /// SHA-256 of its numbers, of the trunk's where no row has to do with the last layer; none of random ones.
    pub sha256: Option<String>,
    /// Whose input it is: a layer's, the head's, or nobody's, which is the logits.
    pub layer: String,
    /// Side of the images.
    pub side: usize,
    /// Whether they are turned as their EXIF orientation says.
    pub exif: bool,
    /// Of how images are decoded, resized and normalised.
    transform: u32,
    /// Outputs of the last layer, where rows have to do with it.
    classes: Option<usize>,
    /// Numbers of a row: of what the layer takes, and of the product.
    numbers: [usize; 2],
    /// What computes them.
    pub engine: Engine,
}

/// How a run's images are made.
#[derive(Clone, Copy, Debug)]
pub struct Images {
    /// What all go through.
    pub transform: Transform,
    /// Whether they are turned as their EXIF orientation says.
    pub exif: bool,
}

/// What prints are of: see [`Print`](crate::data::duplicates::Print).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrintKey {
    /// Of how they are made.
    print: u32,
    /// Side of the images.
    pub side: usize,
    /// Whether they are turned as their EXIF orientation says.
    pub exif: bool,
    /// Of how images are decoded and resized.
    transform: u32,
}

/// What the rows of a shelf are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "a shelf has one")]
pub enum Holds {
    /// What frozen layers make of an image.
    Features(Key),
    /// What tells an image from others.
    Prints(PrintKey),
}

impl From<Key> for Holds {
    fn from(key: Key) -> Self {
        Holds::Features(key)
    }
}

impl Key {
    /// Of the rows that training `adapter` on `base` needs; `None` where the lowest adapted layer is the first, which takes
    /// the images themselves.
    ///
    /// `engine` gives what computes the layers below a layer, `None` where nobody can tell.
    ///
    /// # Errors
    /// What `engine` returned.
    pub fn new(
        base: (&Identity, Arch),
        adapter: &Adapter,
        images: Images,
        engine: impl FnOnce(usize) -> Result<Option<Engine>>,
    ) -> Result<Option<Self>> {
        let (identity, arch) = base;
        let from = adapter.lowest(arch);
        if from == 0 {
            return Ok(None);
        }
        let Some(engine) = engine(from)? else {
            return Ok(None);
        };
        let headless = adapter.head.is_some() || arch.classes == 0;
        let layers = arch.below_head(headless);
        let layer = match layers.get(from) {
            Some(layer) => layer.name.clone(),
            None if headless => "head".into(),
            None => "logits".into(),
        };
        // The last layer's weight made the logits, and makes the product of what it takes.
        let last = !headless && from + 1 >= layers.len();
        let side = images.transform.size;
        Ok(Some(Key {
            format: FORMAT,
            base: identity.name.clone(),
            sha256: match last {
                true => identity.sha256.clone(),
                false => identity.trunk.clone(),
            },
            layer,
            side,
            exif: images.exif,
            transform: TRANSFORM_VERSION,
            classes: last.then_some(arch.classes),
            numbers: [
                arch.row_len(headless, from, side),
                arch.product_len(headless, from).unwrap_or(0),
            ],
            engine,
        }))
    }

    /// Of the prints of the same images.
    pub(super) fn prints(&self) -> PrintKey {
        PrintKey {
            print: PRINT_VERSION,
            side: self.side,
            exif: self.exif,
            transform: self.transform,
        }
    }
}

impl Holds {
    /// Bytes of a row.
    pub(super) fn row(&self) -> usize {
        match self {
            Holds::Features(key) => key.numbers.iter().sum::<usize>() * 4,
            Holds::Prints(_) => Print::BYTES,
        }
    }

    /// As the shelf's folder has it.
    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("words and numbers become JSON")
    }

    /// Which shelf that is.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text()).into()
    }

    /// What its folder is called.
    pub(super) fn folder(&self) -> String {
        hex(&self.digest())[..32].to_string()
    }
}
