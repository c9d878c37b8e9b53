//! A convolution of this family as its kernels are chosen for it, before there are any.

/// A layer as its kernels are chosen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) cin: usize,
    pub(crate) cout: usize,
    /// Of its planes.
    pub(crate) side: usize,
    /// Whether a 2x2 max-pool ends it.
    pub(crate) pooled: bool,
}

/// As the file of choices names it.
impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Site {
            cin, cout, side, ..
        } = self;
        write!(f, "planes, conv {cin} to {cout} at {side}")
    }
}

impl Site {
    /// Whether its planes are more numbers than its weights: then images go through it one by one.
    pub(crate) fn large_planes(self) -> bool {
        self.cin.max(self.cout) * self.side * self.side > self.cin * self.cout * 9
    }

    /// The gradient of its input, as a convolution.
    pub(crate) fn turned(self) -> Self {
        Site {
            cin: self.cout,
            cout: self.cin,
            pooled: false,
            ..self
        }
    }
}

/// What training needs of a convolution beyond its forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The gradient of its input.
    pub(crate) backward: bool,
    /// Rank of the LoRA that adds to it, 0 for none.
    pub(crate) rank: usize,
}
