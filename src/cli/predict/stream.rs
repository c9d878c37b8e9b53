//! Images in groups: the next is read while one is worked on, so that results come as soon as there are any, and no more
//! than two groups are in memory. Several ranks take the groups in turn: see [`relay`](super::relay).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use goldfish::Result;
use goldfish::data::{ImageStore, Origin, Skipped, Transform};
use goldfish::world::World;

use super::relay::{Heard, Leash, LeftOut, Told, dismiss, go_on_with, hear, left_out};
use crate::cli::base::BaseArgs;
use crate::cli::images::tell_skipped;
use crate::cli::progress::Progress;
use crate::cli::stop::go_on;
use crate::cli::world::world;

/// Images of the first group, so that the first result is there soon; each has twice as many as the one before.
const FIRST: usize = 8;
/// Images of a group at most: a multiple of what goes through the network together.
const MOST: usize = 64;
/// Bytes of a group's answers that a rank sends at most, unless one image's are more.
const ROOM: usize = 64 << 20;

/// The images of a command, not read yet.
pub struct Stream {
    origins: Vec<Origin>,
    transform: Transform,
    exif: bool,
    memory: u64,
    skip_bad: bool,
    world: World,
}

/// A group that was read: its images, and those that were left out.
type Group = (Arc<ImageStore>, Vec<Skipped>);

/// Takes what the network says of an image.
pub type Put<'a> = dyn FnMut(usize, &[f32]) -> Result<()> + 'a;

/// What there is to show of an image, in their order.
pub enum Shown<'a> {
    /// That it is left out, and why.
    LeftOut(&'a Skipped),
    /// What the network says of it.
    Answer(&'a Path, &'a [f32]),
}

impl Stream {
    pub fn new(args: &BaseArgs, transform: Transform, origins: Vec<Origin>) -> Self {
        Stream {
            origins,
            transform,
            exif: args.exif,
            memory: args.memory(),
            skip_bad: args.skip_bad,
            world: world(),
        }
    }

    /// The side of the square that the network takes of each.
    pub fn side(&self) -> usize {
        self.transform.size
    }

    /// What results call the images.
    pub fn names(&self) -> Vec<String> {
        let names = self.origins.iter().map(|origin| origin.name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Has `compute` work on the images, a group at a time, whose answers have `length` numbers each; `show` is given all in
    /// order, on rank 0.
    pub fn each(
        &self,
        label: &'static str,
        length: usize,
        compute: impl FnMut(&Arc<ImageStore>, &mut Put) -> Result<()>,
        show: impl FnMut(&mut Progress, Shown) -> Result<()>,
    ) -> Result<()> {
        let groups = groups(self.origins.len(), self.world.size(), 4 * length);
        if !self.world.leads() {
            return self.compute_own(&groups, compute);
        }
        let progress = Progress::new(label, "images", self.origins.len() as u64);
        let ended = self.show_all(&groups, progress, length, compute, show);
        // Whatever came, nothing more is wanted of them.
        let dismissed = dismiss(&self.world);
        ended.and(dismissed)
    }

    /// Rank 0: its own groups are computed and shown, and between them those of the others.
    fn show_all(
        &self,
        groups: &[Range<usize>],
        mut progress: Progress,
        length: usize,
        mut compute: impl FnMut(&Arc<ImageStore>, &mut Put) -> Result<()>,
        mut show: impl FnMut(&mut Progress, Shown) -> Result<()>,
    ) -> Result<()> {
        let world = &self.world;
        let (mut read, mut first_bad) = (0, None);
        let mut show = |shown: Shown| {
            if let Shown::LeftOut(bad) = shown {
                progress.aside(|| tell_skipped(std::slice::from_ref(bad)));
            }
            show(&mut progress, shown)
        };
        self.reading(groups, |own| {
            for (turn, range) in groups.iter().enumerate() {
                let (rank, group) = (turn % world.size(), &self.origins[range.clone()]);
                let mut shown = InOrder::default();
                if rank == 0 {
                    let Ok(read) = own.recv() else { break };
                    let (images, skipped) = read?;
                    shown = InOrder::new(group, left_out(group, &skipped));
                    compute(&images, &mut |_, row| shown.row(row, &mut show))?;
                } else {
                    hear(world, rank, group, length, |heard| match heard {
                        Heard::Begun(left_out) => {
                            shown = InOrder::new(group, left_out);
                            Ok(())
                        }
                        Heard::Row(row) => shown.row(row, &mut show),
                    })?;
                    go_on_with(world, rank)?;
                }
                shown.end(&mut show)?;
                read += shown.answers;
                first_bad = first_bad.take().or(shown.first_bad);
            }
            Ok(())
        })?;
        match first_bad.filter(|_| read == 0) {
            Some(bad) => Err(bad.alone()),
            None => {
                progress.finish("");
                Ok(())
            }
        }
    }

    /// A rank that is led: rank 0 is told what its groups come to.
    fn compute_own(
        &self,
        groups: &[Range<usize>],
        mut compute: impl FnMut(&Arc<ImageStore>, &mut Put) -> Result<()>,
    ) -> Result<()> {
        let world = &self.world;
        let own = self.own(groups);
        Leash::held(world, |leash| {
            self.reading(groups, |read| {
                for range in own {
                    if !leash.wait() {
                        return Ok(());
                    }
                    let Ok(group) = read.recv() else { break };
                    let told = Told::new(world, &self.origins[range]);
                    let computed = group.and_then(|(images, skipped)| {
                        told.begin(&skipped)?;
                        compute(&images, &mut |_, row| {
                            leash.go_on()?;
                            told.row(row)
                        })
                    });
                    match computed {
                        _ if leash.is_dropped() => return Ok(()),
                        Ok(()) => {}
                        // Rank 0 says so where its turn comes.
                        Err(error) => return told.fail(error),
                    }
                }
                Ok(())
            })
        })
    }

    /// The groups that are this rank's.
    fn own<'a>(&self, groups: &'a [Range<usize>]) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (rank, size) = (self.world.rank(), self.world.size());
        groups.iter().skip(rank).step_by(size).cloned()
    }

    /// Reads this rank's groups while `work` takes them.
    fn reading<T>(
        &self,
        groups: &[Range<usize>],
        work: impl FnOnce(&Receiver<Result<Group>>) -> T,
    ) -> T {
        let (sender, receiver) = sync_channel(0);
        let own = self.own(groups);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for range in own {
                    let group = ImageStore::read(
                        self.origins[range].to_vec(),
                        self.transform,
                        self.exif,
                        self.memory,
                        self.skip_bad,
                        |_| go_on(0),
                    );
                    // A reader that is gone wants no more.
                    if sender.send(group).is_err() {
                        return;
                    }
                }
            });
            let worked = work(&receiver);
            drop(receiver);
            worked
        })
    }
}

/// A group's images in their order, whether they are left out or have an answer.
#[derive(Default)]
struct InOrder<'a> {
    /// Those that are not shown yet.
    rest: &'a [Origin],
    /// Those that are left out, the next one last, by how many images there are from it on.
    left_out: Vec<(usize, Skipped)>,
    /// Those that were shown.
    answers: usize,
    first_bad: Option<Skipped>,
}

impl<'a> InOrder<'a> {
    fn new(group: &'a [Origin], left_out: LeftOut) -> Self {
        let skipped = left_out.into_iter().map(|(at, reason)| {
            let path = group[at].name().into();
            (group.len() - at, Skipped { path, reason })
        });
        let left_out: Vec<_> = skipped.rev().collect();
        InOrder {
            rest: group,
            first_bad: left_out.last().map(|(_, bad)| bad.clone()),
            left_out,
            answers: 0,
        }
    }

    /// The answer for the next image that is not left out.
    fn row(&mut self, row: &[f32], show: &mut impl FnMut(Shown) -> Result<()>) -> Result<()> {
        self.end(show)?;
        let Some((next, rest)) = self.rest.split_first() else {
            return Ok(());
        };
        self.rest = rest;
        self.answers += 1;
        show(Shown::Answer(next.name(), row))
    }

    /// There is no answer before the next one that is left out.
    fn end(&mut self, show: &mut impl FnMut(Shown) -> Result<()>) -> Result<()> {
        while let Some((_, bad)) = self.left_out.pop_if(|(at, _)| *at == self.rest.len()) {
            self.rest = &self.rest[1..];
            show(Shown::LeftOut(&bad))?;
        }
        Ok(())
    }
}

/// So many images in groups, which `ranks` take in turn: of a round, in which each has one, all have as many images, as far
/// as there are some. An image's answer has so many `bytes`.
fn groups(images: usize, ranks: usize, bytes: usize) -> Vec<Range<usize>> {
    // One process keeps no answers.
    let most = match ranks {
        1 => MOST,
        _ => (ROOM / bytes.max(1)).clamp(1, MOST),
    };
    let mut groups = Vec::new();
    let (mut start, mut size) = (0, FIRST);
    while start < images {
        let even = (images - start).div_ceil(ranks);
        for _ in 0..ranks {
            let end = (start + size.min(most).min(even)).min(images);
            if start < end {
                groups.push(start..end);
            }
            start = end;
        }
        size = (2 * size).min(MOST);
    }
    groups
}

#[cfg(test)]
mod tests;
