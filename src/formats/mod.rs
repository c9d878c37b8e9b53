//! Files: weights in, adapters in and out. What comes from a user is checked before it is believed, and
//! what is written appears whole or not at all.

pub mod adapter;
mod atomic;
mod weights;

pub use atomic::write_atomic;
pub use weights::Tensors;
