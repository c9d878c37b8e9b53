//! From files to tensors: decode, resize and crop as torchvision does, normalise, batch and shuffle.

pub mod categories;
mod classes;
mod codecs;
mod dataset;
pub(crate) mod image;
mod origin;
mod resize;
mod store;
mod top;
mod walk;

pub use classes::Classes;
pub use dataset::{Dataset, Item, Labels};
pub(crate) use image::TRANSFORM_VERSION;
pub use image::{Decoded, Transform, decode, decode_bytes, is_image};
pub use origin::{ContentHash, Origin};
pub use resize::resize;
pub use store::{Batch, ImageStore, Known, Opening, Skipped};
pub use top::{Prediction, top};
pub use walk::{LeftOut, images_below};
