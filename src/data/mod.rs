//! From files to tensors: decode, resize and crop as torchvision does, normalise, batch and shuffle; and from logits to
//! what they say and how often it is right.

mod calibration;
pub mod categories;
mod classes;
mod codecs;
mod confusion;
mod dataset;
pub mod doctor;
pub mod duplicates;
pub(crate) mod image;
mod origin;
mod resize;
mod score;
mod split;
mod store;
mod top;
mod walk;

pub use calibration::{BINS, Bin, Calibration};
pub use classes::Classes;
pub use confusion::{ClassQuality, Confusion, Quality};
pub use dataset::{Dataset, Item, Labels};
pub use image::{Decoded, Transform, decode, decode_bytes, is_image};
pub use origin::Origin;
pub use resize::resize;
pub use score::{Score, Tally, Verdict};
pub use split::{folds, split};
pub use store::{Batch, ImageStore, Skipped};
pub use top::{Prediction, top};
pub use walk::{LeftOut, images_below};
