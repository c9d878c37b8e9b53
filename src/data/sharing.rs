//! The files of an image store, read by all ranks of a job: each reads its share, and hears what the others found.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::duplicates::Print;
use super::origin::ContentHash;
use super::store::ImageStore;
use crate::error::{Error, Remedy, Result};
use crate::world::World;

impl ImageStore {
    /// What every rank found of the files that it read, of which this one's are `read`, in the order of the files. What each
    /// file holds is known from then on, whoever has read it.
    pub(super) fn exchange(&self, world: &World, read: Vec<Result<()>>) -> Result<Vec<Result<()>>> {
        let own = world.share(world.rank(), self.len(), 1);
        // Of a file that cannot be read it says nothing.
        let unread = ContentHash::of(&[]);
        let mut contents = Vec::new();
        if let Some(all) = &self.contents {
            for content in &all[own] {
                contents.extend_from_slice(&content.get().unwrap_or(&unread).0);
            }
        }
        let problems: Vec<(usize, Unread)> = read
            .into_iter()
            .enumerate()
            .filter_map(|(at, read)| Some((at, Unread::new(read.err()?))))
            .collect();
        let problems = serde_json::to_vec(&problems).expect("text becomes JSON");
        let contents = world.gather(contents)?;
        let problems = world.gather(problems)?;
        let mut found = Vec::with_capacity(self.len());
        for (rank, (contents, problems)) in contents.iter().zip(problems).enumerate() {
            let share = world.share(rank, self.len(), 1);
            let problems: Vec<(usize, Unread)> =
                serde_json::from_slice(&problems).map_err(|_| world.garbled(rank))?;
            let mut problems = problems.into_iter().peekable();
            if let Some(all) = &self.contents {
                let (contents, []) = contents.as_chunks() else {
                    return Err(world.garbled(rank));
                };
                if contents.len() != share.len() {
                    return Err(world.garbled(rank));
                }
                for (index, content) in share.clone().zip(contents) {
                    if *content != unread.0 {
                        let _ = all[index].set(ContentHash(*content));
                    }
                }
            }
            for (at, index) in share.enumerate() {
                found.push(match problems.next_if(|(bad, _)| *bad == at) {
                    None => Ok(()),
                    Some((_, unread)) => Err(unread.error(self.path(index), &world.name(rank))),
                });
            }
            if problems.next().is_some() {
                return Err(world.garbled(rank));
            }
        }
        Ok(found)
    }

    /// Has the prints of those `which` lack one made by all ranks, each of its share of the images; rank 0, whose `which` counts,
    /// is given all.
    ///
    /// # Errors
    /// As [`ImageStore::print`], and [`Error::Rank`] where another rank is gone.
    pub fn make_prints(&self, which: &[usize], world: &World) -> Result<()> {
        let which: Vec<u64> = which.iter().map(|&image| image as u64).collect();
        let said = world.leads().then(|| bytemuck::cast_slice(&which).to_vec());
        let which: Vec<u64> = bytemuck::pod_collect_to_vec(&world.broadcast(said)?);
        let of = |rank: usize| {
            let share = world.share(rank, self.len(), 1);
            let which = which.iter().map(|&image| image as usize);
            which
                .filter(move |image| share.contains(image))
                .collect::<Vec<_>>()
        };
        let own = of(world.rank());
        let prints = own.par_iter().map(|&image| self.print(image));
        let prints = prints.collect::<Result<Vec<&Print>>>()?;
        if !world.leads() {
            return world.send(
                0,
                prints.iter().flat_map(|print| print.to_bytes()).collect(),
            );
        }
        for rank in 1..world.size() {
            let (images, prints) = (of(rank), world.receive(rank)?);
            let (prints, []) = prints.as_chunks() else {
                return Err(world.garbled(rank));
            };
            if prints.len() != images.len() {
                return Err(world.garbled(rank));
            }
            for (image, print) in images.into_iter().zip(prints) {
                self.give_print(image, Print::from_bytes(print));
            }
        }
        Ok(())
    }
}

/// Why a rank could not read a file, as it tells the others.
#[derive(Serialize, Deserialize)]
struct Unread {
    problem: String,
    /// Whether it is the system that refused it: then which rank it was matters.
    refused: bool,
    /// Whether to leave it out would help.
    leave_out: bool,
}

impl Unread {
    fn new(error: Error) -> Self {
        Unread {
            refused: matches!(error, Error::Io { .. }),
            leave_out: error.remedy() == Some(Remedy::LeaveOut),
            problem: error.problem(),
        }
    }

    fn error(self, path: &Path, rank: &str) -> Error {
        let problem = match self.refused {
            true => format!("{} (on {rank})", self.problem),
            false => self.problem,
        };
        Error::data(path, problem).with(self.leave_out.then_some(Remedy::LeaveOut))
    }
}
