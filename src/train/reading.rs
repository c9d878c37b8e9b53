//! What a network says of images, read back while it works on the next ones.

use std::collections::VecDeque;

use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::tensor::Tensor;

/// Rows of batches on their way to the host, in order.
pub(super) struct Answers {
    /// The images of each batch, and their rows.
    coming: VecDeque<(Vec<usize>, Readback)>,
    /// Batches that may be on their way.
    most: usize,
}

impl Answers {
    pub(super) fn new(gpu: &Gpu) -> Self {
        Answers {
            coming: VecDeque::new(),
            most: gpu.most_pending(),
        }
    }

    /// Has `rows`, [N, length], of `images` read, and gives `each` those of the batches that have had their time.
    pub(super) fn push(
        &mut self,
        images: Vec<usize>,
        rows: &Tensor,
        each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.coming.push_back((images, rows.read()?));
        self.settle(self.most, each)
    }

    /// Gives `each` the rest; nothing where it failed before.
    pub(super) fn finish(
        mut self,
        each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.settle(0, each)
    }

    fn settle(
        &mut self,
        most: usize,
        each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        while self.coming.len() > most
            && let Some((images, reading)) = self.coming.pop_front()
        {
            let given = reading.wait().and_then(|rows| {
                let length = rows.len() / images.len();
                let mut both = images.iter().zip(rows.chunks(length));
                both.try_for_each(|(&image, row)| each(image, row))
            });
            if given.is_err() {
                self.coming.clear();
                return given;
            }
        }
        Ok(())
    }
}
