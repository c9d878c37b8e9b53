//! From files to tensors: decode, resize and crop as torchvision does, augment where that is asked for, normalise, batch and
//! shuffle; and from logits to what they say and how often it is right.

mod augment;
mod batch;
mod calibration;
pub mod categories;
mod classes;
mod codecs;
mod colour;
mod confusion;
mod dataset;
pub mod doctor;
pub mod duplicates;
mod evaluation;
pub(crate) mod image;
mod names;
mod origin;
mod resize;
mod score;
mod sharing;
mod split;
mod store;
mod top;
mod variants;
mod walk;

pub use augment::{Augment, Draw, Jitter, RandomCrop, Variant};
pub use batch::Batch;
pub use calibration::{BINS, Bin, Calibration};
pub use classes::Classes;
pub use colour::Adjustment;
pub use confusion::{ClassQuality, Confusion, Quality};
pub use dataset::{Dataset, Item, Labels};
pub(crate) use duplicates::PRINT_VERSION;
pub use evaluation::{Category, Evaluation, Figures, Matrix, Taken};
pub(crate) use image::TRANSFORM_VERSION;
pub use image::{Decoded, Transform, decode, decode_bytes, is_image};
pub use names::is_shown;
pub use origin::{ContentHash, Origin, files_digest};
pub use resize::{Region, resize};
pub use score::{Score, Tally, Verdict};
pub use split::{folds, split};
pub use store::{ImageStore, Known, Opening, Skipped};
pub use top::{Prediction, top};
pub use variants::Variants;
pub use walk::{LeftOut, images_below};
