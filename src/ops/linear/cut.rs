//! How the products with a long weight are cut up for a GPU: what can be chosen, and what is where nothing was measured.

use super::kernels::{BACKWARD_X_QUADS, FORWARD_QUADS, stored};
use super::narrow;
use crate::gpu::{Gpu, IMAGE_LEAST, Kernel};
use crate::tensor::Precision;

/// Columns that one workgroup of `forward` sums.
pub(super) const SPAN: usize = 2048;
/// More of them, for a device that so many workgroups keep busy.
const LONG: usize = 8192;
/// Rows of the weight that one dispatch of `backward_x` sums where its splits have no room.
pub(super) const ROWS_PER_PASS: usize = 4096;
/// Workgroups that `backward_x` has for eight rows of dy, where the weight is large enough: a GPU needs as many to read as
/// fast as it can.
const GROUPS: usize = 2048;
/// Least rows of the weight that one of its workgroups sums.
const LEAST_ROWS: usize = 64;

/// A product with a frozen weight as a choice is made for it: the same for any number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Columns of the weight.
    pub(crate) k: usize,
    /// Rows of it.
    pub(crate) out: usize,
    pub(crate) precision: Precision,
    /// The gradient of what it takes: `dy w`.
    pub(crate) gradient: bool,
}

/// As the file of choices names it.
impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Site {
            k, out, precision, ..
        } = self;
        write!(f, "linear {k} to {out}, {precision}")?;
        match self.gradient {
            true => f.write_str(", of a gradient"),
            false => Ok(()),
        }
    }
}

/// What a workgroup takes. Only `span` decides in which order a sum is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Rows of what is multiplied at most.
    pub(super) rows: usize,
    /// Rows of the weight at a time.
    pub(super) outs: usize,
    /// What it sums: columns of the weight, or rows of it for a gradient.
    pub(super) span: usize,
}

/// As the file of choices spells it.
impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} in {}", self.rows, self.outs, self.span)
    }
}

/// What was chosen for one weight: `None` is fixed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) forward: Option<Cut>,
    pub(crate) backward: Option<Cut>,
}

impl Cut {
    /// Of a forward product with so many rows of weight, where nothing was measured: all rows of a low-rank factor's at a
    /// time, so that x is read once.
    pub(super) fn forward(out: usize) -> Self {
        let outs = if out <= 16 { out } else { 4 };
        Cut {
            // As many as let the workgroup's sums fit 16 KiB.
            rows: 8.min(62 / outs),
            outs,
            span: SPAN,
        }
    }

    /// Of a gradient of `k` columns.
    pub(super) fn backward(k: usize, out: usize) -> Self {
        let columns = if k.is_multiple_of(4) { k / 4 } else { k };
        let span = out.div_ceil(GROUPS.div_ceil(columns.div_ceil(64)));
        Cut {
            rows: 8,
            outs: 4,
            span: span.clamp(LEAST_ROWS, ROWS_PER_PASS),
        }
    }
}

impl Site {
    /// What is used where nothing was measured.
    pub(super) fn fixed(&self) -> Cut {
        match self.gradient {
            true => Cut::backward(self.k, self.out),
            false => Cut::forward(self.out),
        }
    }

    /// Whether there is something to choose: not for short weights, nor for those that are images.
    pub(super) fn suits(&self, gpu: &Gpu) -> bool {
        let row = self.k as u64 * 4;
        let read = if self.gradient {
            row * self.out as u64
        } else {
            row
        };
        let image = gpu.has_textures() && self.precision == Precision::F32 && read >= IMAGE_LEAST;
        self.k.is_multiple_of(4) && self.k > narrow::MOST && self.out > 16 && !image
    }

    /// What is worth measuring, the fixed one first.
    pub(super) fn candidates(&self) -> Vec<Cut> {
        let fixed = self.fixed();
        // Fewer rows of the weight at a time are more workgroups, more are fewer loads of x.
        let (sizes, spans): (&[[usize; 2]], Vec<usize>) = match self.gradient {
            true => {
                let most = self.out.clamp(LEAST_ROWS, ROWS_PER_PASS);
                let spans = [fixed.span, fixed.span / 2, fixed.span * 2];
                let spans = spans.map(|span| span.clamp(LEAST_ROWS, most));
                (&[[8, 4], [4, 4]], spans.into())
            }
            false => {
                let long = (self.k > SPAN).then_some(LONG);
                let spans = std::iter::once(SPAN).chain(long);
                (&[[8, 4], [8, 7], [8, 2], [4, 8]], spans.collect())
            }
        };
        let mut cuts = Vec::new();
        for span in spans {
            for &[rows, outs] in sizes {
                let cut = Cut { rows, outs, span };
                if !cuts.contains(&cut) {
                    cuts.push(cut);
                }
            }
        }
        cuts
    }

    /// What `cut` dispatches for `n` rows.
    pub(super) fn kernel(&self, cut: Cut, n: usize) -> &'static Kernel {
        let kernel = match self.gradient {
            true => &BACKWARD_X_QUADS,
            false => &FORWARD_QUADS,
        };
        stored(kernel, self.precision, n.min(cut.rows), cut.outs)
    }
}

#[cfg(test)]
mod tests {
    use super::{Precision, ROWS_PER_PASS, Site};

    #[test]
    fn candidates_are_different_and_fit_a_workgroup_and_the_first_is_the_fixed_one() {
        for [k, out] in [
            [25088, 4096],
            [4096, 4096],
            [4096, 1000],
            [1176, 64],
            [64, 17],
            [1 << 22, 5000],
        ] {
            for gradient in [false, true] {
                let site = Site {
                    k,
                    out,
                    precision: Precision::F32,
                    gradient,
                };
                let all = site.candidates();
                assert_eq!(all[0], site.fixed(), "{site}");
                for (index, cut) in all.iter().enumerate() {
                    assert!(!all[..index].contains(cut), "{site}: {cut} twice");
                    // Sums of 64 lanes and one more, in 16 KiB.
                    assert!(cut.rows * cut.outs <= 63, "{site}: {cut}");
                    assert!(cut.span.is_multiple_of(4) || gradient, "{site}: {cut}");
                    assert!(!gradient || cut.span <= ROWS_PER_PASS, "{site}: {cut}");
                }
            }
        }
    }
}
