//! The frozen layers' work, shared by several ranks: each computes its share of what is lacking, and hands the others, or rank
//! 0 alone, the rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cache::Cache;
use super::frozen::Frozen;
use super::normalize::Sent;
use super::prefix::{AHEAD, Prefix};
use crate::data::{Batch, ImageStore};
use crate::error::Result;
use crate::gpu::Readback;
use crate::world::World;

/// Batches of a rank that rank 0, which alone is sent them, has not kept yet, at most.
const UNTAKEN: usize = 2;

impl Prefix {
    /// The same on a rank of `world`, whose ranks share the images: each of them is to do as this one does.
    pub fn among(mut self, world: &World) -> Self {
        self.world = world.clone();
        self
    }

    /// The ranks that share the images.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Shares nothing from here on.
    pub(super) fn leave_world(&mut self) {
        self.world = World::alone();
    }

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
        let own = lasting.iter().map(|&image| self.frozen.lacks_row(image));
        let lacks = self.lacked(own.collect(), for_all)?;
        let order = lasting.iter().zip(lacks);
        let order: Vec<usize> = order.filter(|(_, lacks)| *lacks).map(|(&i, _)| i).collect();
        let mut done = lasting.len() - order.len();
        // Devices may differ, and all cut alike.
        let at_once = world.least(self.base().batch(images.transform().size))?;
        let batches = |rank: usize| order[world.share(rank, order.len(), at_once)].chunks(at_once);
        let rounds = (0..world.size()).map(|rank| batches(rank).len()).max();
        let own = batches(world.rank()).map(<[usize]>::to_vec).collect();

        let mut coming: VecDeque<(Batch, Readback)> = VecDeque::new();
        let mut own = images.batches(own).into_iter();
        let mut sent = 0;
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
                if !for_all && !world.leads() {
                    // Rank 0 keeps them as fast as it can, and no faster are they sent.
                    if sent >= UNTAKEN {
                        world.receive(0)?;
                    }
                    sent += 1;
                }
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
                    if !for_all {
                        world.send(rank, Vec::new())?;
                    }
                }
                done += batch.len();
            }
            progress(done.min(lasting.len()))?;
        }
        for _ in 0..sent.min(UNTAKEN) {
            world.receive(0)?;
        }
        Ok(())
    }

    /// Which images rows are asked for: those that rank 0 lacks, or where `for_all` any rank; `own` are those that this one lacks.
    fn lacked(&self, own: Vec<bool>, for_all: bool) -> Result<Vec<bool>> {
        let world = self.world();
        let bits = |lacks: &[bool]| -> Vec<u8> {
            let bytes = lacks.chunks(8).map(|eight| {
                let bits = eight.iter().enumerate();
                bits.fold(0, |byte, (at, &lacks)| byte | (u8::from(lacks) << at))
            });
            bytes.collect()
        };
        let all = match for_all {
            true => world.gather(bits(&own))?,
            false => vec![world.broadcast(world.leads().then(|| bits(&own)))?],
        };
        let mut lacked = vec![false; own.len()];
        for (rank, bits) in all.iter().enumerate() {
            if bits.len() != own.len().div_ceil(8) {
                return Err(world.garbled(rank));
            }
            for (at, lacked) in lacked.iter_mut().enumerate() {
                *lacked |= bits[at / 8] >> (at % 8) & 1 == 1;
            }
        }
        Ok(lacked)
    }

    /// Whether the frozen layers will be asked for rows on this rank: what any of those lacks that rows are for.
    ///
    /// # Errors
    /// As [`World::receive`](crate::world::World::receive).
    pub fn asked(frozen: &Frozen, world: &World, for_all: bool) -> Result<bool> {
        let lacks = vec![u8::from(!frozen.complete())];
        let all = match for_all {
            true => world.gather(lacks)?,
            false => vec![world.broadcast(world.leads().then_some(lacks))?],
        };
        Ok(all.iter().any(|lacks| lacks.first() != Some(&0)))
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
