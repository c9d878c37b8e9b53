//! Reverse-mode differentiation: the list of what was computed, walked backwards, and what is handed down on it. Knows no
//! op.

mod gradient;
mod tape;

pub use gradient::Gradient;
pub use tape::{Backward, Gradients, Tape, Var};
