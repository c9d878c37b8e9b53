//! The processes that work on one job together, each with a device of its own. They are ranks, counted from 0 as MPI does, and
//! hand one another bytes; rank 0 leads: it alone decides, writes and tells. How the bytes travel is a [`Post`]'s business: MPI's
//! (feature `mpi`), or that of threads of one process. What is shared stands with those who share it, in [`data`](crate::data)
//! and [`train`](crate::train).

mod failure;
#[cfg(feature = "mpi")]
mod mpi;
mod post;
mod threads;

use std::fmt;
use std::ops::{Range, Sub};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use crate::error::{Error, Result};
use failure::name;

pub use failure::{Failure, LOST};
#[cfg(feature = "mpi")]
pub use mpi::{Mpi, SILENCE};
pub use post::Post;
use threads::Threads;

/// All ranks of a job, as one of them sees it. Clones are the same rank.
#[derive(Clone)]
pub struct World {
    post: Arc<dyn Post>,
    carried: Arc<Carried>,
}

/// What was handed to and fro on this rank so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes to other ranks.
    pub sent: u64,
    /// Bytes from other ranks.
    pub received: u64,
    /// Seconds of waiting for other ranks.
    pub waited: f64,
}

impl Sub for Traffic {
    type Output = Self;

    /// What has come since `before`.
    fn sub(self, before: Self) -> Self {
        Traffic {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            waited: self.waited - before.waited,
        }
    }
}

#[derive(Debug, Default)]
struct Carried {
    sent: AtomicU64,
    received: AtomicU64,
    nanoseconds: AtomicU64,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl Default for World {
    /// [`World::alone`].
    fn default() -> Self {
        World::alone()
    }
}

impl World {
    /// One process, which shares with nobody.
    pub fn alone() -> Self {
        let [alone] = <[World; 1]>::try_from(World::threads(1)).expect("one was asked for");
        alone
    }

    /// So many ranks that are threads of this process: what [`Post`]s over a network do, without one.
    pub fn threads(size: usize) -> Vec<Self> {
        let all = Threads::of(size).into_iter();
        all.map(|post| World::of(Arc::new(post))).collect()
    }

    /// What `work` gives on each of so many such ranks.
    ///
    /// # Panics
    /// Where one of them does.
    pub fn on_threads<T: Send>(size: usize, work: impl Fn(World) -> T + Sync) -> Vec<T> {
        let work = &work;
        thread::scope(|scope| {
            let ranks = World::threads(size).into_iter();
            let ranks: Vec<_> = ranks.map(|rank| scope.spawn(move || work(rank))).collect();
            let ended = ranks.into_iter().map(|rank| rank.join());
            ended.map(|ended| ended.expect("no rank panics")).collect()
        })
    }

    /// The ranks that `post` reaches.
    pub fn of(post: Arc<dyn Post>) -> Self {
        World {
            post,
            carried: Arc::default(),
        }
    }

    /// This process's number.
    pub fn rank(&self) -> usize {
        self.post.rank()
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.post.hosts().len()
    }

    /// Whether there is one alone.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Whether this is rank 0.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// A rank with its host, for people.
    pub fn name(&self, rank: usize) -> String {
        name(rank, self.post.hosts())
    }

    /// The number of this rank among those on its host, and how many these are.
    pub fn local(&self) -> (usize, usize) {
        let (hosts, rank) = (self.post.hosts(), self.rank());
        let on = |ranks: &[String]| ranks.iter().filter(|host| **host == hosts[rank]).count();
        (on(&hosts[..rank]), on(hosts))
    }

    /// The share of `rank` of so many things: those that follow one another, and as many as others have, give or take a
    /// `unit`. Every thing is in one share; of few, some have none.
    pub fn share(&self, rank: usize, things: usize, unit: usize) -> Range<usize> {
        let (size, unit) = (self.size(), unit.max(1));
        let units = things.div_ceil(unit);
        let at = |rank: usize| (rank * units / size * unit).min(things);
        at(rank)..at(rank + 1)
    }

    /// Hands rank `to` a message, and does not wait for it to be taken.
    ///
    /// # Errors
    /// [`Error::Rank`] where it is known to be gone.
    pub fn send(&self, to: usize, message: Vec<u8>) -> Result<()> {
        let bytes = message.len() as u64;
        self.carried.sent.fetch_add(bytes, Relaxed);
        self.post.send(to, message)
    }

    /// The next message of rank `from`.
    ///
    /// # Errors
    /// [`Error::Rank`] where that one is gone.
    pub fn receive(&self, from: usize) -> Result<Vec<u8>> {
        let start = Instant::now();
        let message = self.post.receive(from)?;
        let (bytes, time) = (message.len() as u64, start.elapsed().as_nanos() as u64);
        self.carried.received.fetch_add(bytes, Relaxed);
        self.carried.nanoseconds.fetch_add(time, Relaxed);
        Ok(message)
    }

    /// What this rank has handed to others and had of them so far.
    pub fn traffic(&self) -> Traffic {
        let Carried {
            sent,
            received,
            nanoseconds,
        } = &*self.carried;
        Traffic {
            sent: sent.load(Relaxed),
            received: received.load(Relaxed),
            waited: nanoseconds.load(Relaxed) as f64 / 1e9,
        }
    }

    /// What rank 0 says to all, handed on from rank to rank: the others give `None`.
    ///
    /// # Errors
    /// As [`World::receive`].
    pub fn broadcast(&self, said: Option<Vec<u8>>) -> Result<Vec<u8>> {
        let (rank, size) = (self.rank(), self.size());
        // The binomial tree: a rank has it from the one without its lowest bit, and hands it to those with a lower bit set.
        let lowest = match rank {
            0 => size.next_power_of_two(),
            _ => 1 << rank.trailing_zeros(),
        };
        let said = match said {
            Some(said) if rank == 0 => said,
            _ => self.receive(rank - lowest)?,
        };
        let mut bit = lowest >> 1;
        while bit > 0 {
            if rank + bit < size {
                self.send(rank + bit, said.clone())?;
            }
            bit >>= 1;
        }
        Ok(said)
    }

    /// What each rank gives, by rank, for all.
    ///
    /// # Errors
    /// As [`World::receive`].
    pub fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let rank = self.rank();
        for to in (0..self.size()).filter(|&to| to != rank) {
            self.send(to, own.clone())?;
        }
        let mut own = Some(own);
        let from = (0..self.size()).map(|from| match from == rank {
            true => Ok(own.take().expect("a rank comes once")),
            false => self.receive(from),
        });
        from.collect()
    }

    /// The least of the numbers that ranks give, and at least 1.
    ///
    /// # Errors
    /// As [`World::receive`].
    pub fn least(&self, number: usize) -> Result<usize> {
        let all = self.gather((number as u64).to_le_bytes().to_vec())?;
        let numbers = all.iter().enumerate();
        let numbers = numbers.map(|(rank, bytes)| self.number(rank, bytes));
        let numbers = numbers.collect::<Result<Vec<usize>>>()?;
        Ok(numbers.into_iter().min().map_or(1, |least| least.max(1)))
    }

    /// The number that rank 0 gives.
    ///
    /// # Errors
    /// As [`World::receive`].
    pub fn leaders(&self, number: usize) -> Result<usize> {
        let own = self.leads().then(|| (number as u64).to_le_bytes().to_vec());
        self.number(0, &self.broadcast(own)?)
    }

    /// The number that `rank` has sent.
    fn number(&self, rank: usize, bytes: &[u8]) -> Result<usize> {
        let bytes = bytes.try_into().map_err(|_| self.garbled(rank))?;
        Ok(u64::from_le_bytes(bytes) as usize)
    }

    /// That a message of `rank` is none that this program sends.
    pub fn garbled(&self, rank: usize) -> Error {
        Error::Rank {
            rank: self.name(rank),
            problem: format!(
                "says what {} does not understand: start the same goldfish everywhere",
                self.name(self.rank())
            ),
        }
    }

    /// Refuses to go on where ranks do not have the same `what`, of which `digest` tells.
    ///
    /// # Errors
    /// [`Error::Rank`] that names the first that has another than rank 0, on every rank; as [`World::receive`].
    pub fn same(&self, what: &str, digest: &[u8]) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let all = self.gather(digest.to_vec())?;
        match all.iter().position(|other| *other != all[0]) {
            None => Ok(()),
            Some(other) => Err(Error::Rank {
                rank: self.name(other),
                problem: format!(
                    "has not the same {what} as {}: give all ranks the same, at the same paths",
                    self.name(0)
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
