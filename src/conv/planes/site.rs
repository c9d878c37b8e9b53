//! A convolution of this family as its kernels are chosen for it, before there are any.

/// A layer as its kernels are chosen for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    /// Of its planes.
    pub(crate) side: usize,
    /// Whether a 2x2 max-pool ends it.
    pub(crate) pooled: bool,
}

/// What training needs of a convolution beyond its forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The gradient of its input.
    pub(crate) backward: bool,
    /// Rank of the LoRA that adds to it, 0 for none.
    pub(crate) rank: usize,
}
