//! The frozen layers' work, shared by several ranks: each computes its share of what is lacking, and hands the others, or rank
//! 0 alone, the rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cache::Cache;
use super::normalize::Sent;
use super::prefix::{AHEAD, Prefix};
use crate::data::{Batch, ImageStore};
use crate::error::Result;
use crate::gpu::Readback;

impl Prefix {
    /// Fills what is kept on every rank, or where not `for_all` on rank 0, in rounds of a batch a rank: while they exchange
    /// those of one round their devices work on the next. `progress` hears how many images are done.
    pub(super) fn fill_together(
        &mut self,
        images: &Arc<ImageStore>,
        for_all: bool,
        progress: &mut impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let Some(Cache::Features { .. }) = self.frozen.cache else {
            return Ok(());
        };
        let world = self.world().clone();
        let lasting = images.lasting();
        let lacks = lasting
            .iter()
            .map(|&image| u8::from(self.frozen.lacks_row(image)));
        let lacks = world.gather(lacks.collect())?;
        // What rank 0 lacks, or where all need it any.
        let asking = if for_all { &lacks[..] } else { &lacks[..1] };
        let lacking = |at: usize| asking.iter().any(|lacks| lacks.get(at) == Some(&1));
        let order = lasting.iter().enumerate();
        let order: Vec<usize> = order
            .filter(|(at, _)| lacking(*at))
            .map(|(_, &i)| i)
            .collect();
        let mut done = lasting.len() - order.len();
        // Devices may differ, and all cut alike.
        let at_once = world.least(self.base().batch(images.transform().size))?;
        let batches = |rank: usize| order[world.share(rank, order.len(), at_once)].chunks(at_once);
        let rounds = (0..world.size()).map(|rank| batches(rank).len()).max();
        let own = batches(world.rank()).map(<[usize]>::to_vec).collect();

        let mut coming: VecDeque<(Batch, Readback)> = VecDeque::new();
        let mut own = images.batches(own).into_iter();
        for round in 0..rounds.unwrap_or(0) {
            while coming.len() <= AHEAD
                && let Some(batch) = own.next()
            {
                let batch = batch?;
                let reading = self.rows(&batch)?;
                coming.push_back((batch, reading));
            }
            if let Some((batch, reading)) = coming.pop_front() {
                let numbers = reading.wait()?;
                let to = if for_all { 0..world.size() } else { 0..1 };
                for to in to.filter(|&to| to != world.rank()) {
                    world.send(to, bytemuck::cast_slice(&numbers).to_vec())?;
                }
                if for_all || world.leads() {
                    self.frozen.accept(images, &batch.indices, &numbers)?;
                }
            }
            for rank in
                (0..world.size()).filter(|&rank| for_all || world.leads() || rank == world.rank())
            {
                let Some(batch) = batches(rank).nth(round) else {
                    continue;
                };
                if rank != world.rank() {
                    let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&world.receive(rank)?);
                    if numbers.len() != batch.len() * self.frozen.row_numbers() {
                        return Err(world.garbled(rank));
                    }
                    self.frozen.accept(images, batch, &numbers)?;
                }
                done += batch.len();
            }
            progress(done.min(lasting.len()))?;
        }
        Ok(())
    }

    /// What the frozen layers make of a batch, and its products where the lowest adapted layer has some: on its way to the host.
    fn rows(&mut self, batch: &Batch) -> Result<Readback> {
        let gpu = self.base().gpu().clone();
        let all: Vec<usize> = (0..batch.indices.len()).collect();
        let rows = self.compute(&mut Sent::new(&gpu, batch), &all)?;
        let products = match self.frozen.has_products() {
            true => self.base().product(&rows, self.frozen.from)?,
            false => None,
        };
        rows.read_with(products.as_ref())
    }
}
