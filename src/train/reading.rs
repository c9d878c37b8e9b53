//! What a network says of images, read back while it works on the next ones, and on several ranks handed to rank 0.

use std::collections::VecDeque;

use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::tensor::Tensor;
use crate::world::World;

/// Rows of batches on their way to the host, in order.
pub(super) struct Answers {
    /// The images of each batch, and their rows.
    coming: VecDeque<(Vec<usize>, Readback)>,
    /// Batches that may be on their way.
    most: usize,
    /// Where a rank that is led hands them on.
    led: Option<World>,
}

impl Answers {
    pub(super) fn new(gpu: &Gpu, world: &World) -> Self {
        Answers {
            coming: VecDeque::new(),
            most: gpu.most_pending(),
            led: (!world.leads()).then(|| world.clone()),
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
                if let Some(world) = &self.led {
                    return world.send(0, bytemuck::cast_slice(&rows).to_vec());
                }
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

/// Gives `each`, on rank 0, what the other ranks of `world` found of their shares of the images in `which`, of which so many
/// went through the network together.
pub(super) fn of_others(
    world: &World,
    which: &[usize],
    at_once: usize,
    each: &mut impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    if !world.leads() {
        return Ok(());
    }
    for rank in 1..world.size() {
        for images in which[world.share(rank, which.len(), at_once)].chunks(at_once) {
            let rows = world.receive(rank)?;
            let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&rows);
            if rows.is_empty() || !rows.len().is_multiple_of(images.len()) {
                return Err(world.garbled(rank));
            }
            let length = rows.len() / images.len();
            let mut both = images.iter().zip(rows.chunks(length));
            both.try_for_each(|(&image, row)| each(image, row))?;
        }
    }
    Ok(())
}
