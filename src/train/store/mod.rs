//! What frozen layers make of images, kept from one run to the next in a folder of the user's.
//!
//! A shelf is a folder of packs, each of the rows of some images: all that decides a row's bits but the image (the base's
//! numbers, the layer, the engine, how images are made) is the shelf's [`Key`], and within it a row is found by the SHA-256
//! of the image's file. Rows are packed, some hundreds in a file, because a run reads them all: one file a row costs an
//! open and a close, and a block's rest on the disk, for each of them. A pack is written beside its place and renamed there, so
//! that whoever reads sees it whole or not at all, and no process waits for another; nothing is ever changed in it. Each row
//! has a checksum: one that does not fit is as if it were not there. What cannot be read or written is told and never an
//! error: the run computes what it lacks. Beside features lie the pictures' prints, in a shelf of their own: whether pictures to
//! validate with are trained with too is then known without decoding one.

mod disk;
mod key;
mod pack;
mod prints;
mod shelf;

pub use disk::{Kept, Store};
pub use key::{Holds, Images, Key, PrintKey};
pub use prints::Prints;
pub(in crate::train) use shelf::Found;
pub use shelf::{Counts, Shelf};
