//! Ranks that are threads of one process.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::failure::name;
use super::post::Post;
use crate::error::{Error, Result};

/// One of them.
#[derive(Debug)]
pub(super) struct Threads {
    rank: usize,
    hosts: Vec<String>,
    /// To each rank.
    to: Vec<Sender<Vec<u8>>>,
    /// From each rank.
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

impl Threads {
    /// So many.
    pub(super) fn of(size: usize) -> Vec<Self> {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let mut all: Vec<Threads> = (0..size)
            .map(|rank| Threads {
                rank,
                hosts: vec![host.clone(); size],
                to: Vec::new(),
                from: Vec::new(),
            })
            .collect();
        for from in 0..size {
            for to in 0..size {
                let (sender, receiver) = channel();
                all[from].to.push(sender);
                all[to].from.push(Mutex::new(receiver));
            }
        }
        all
    }

    fn gone(&self, rank: usize) -> Error {
        Error::Rank {
            rank: name(rank, &self.hosts),
            problem: "has ended before its work was done".into(),
        }
    }
}

impl Post for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn hosts(&self) -> &[String] {
        &self.hosts
    }

    fn send(&self, to: usize, message: Vec<u8>) -> Result<()> {
        // One that has ended takes no more, as with MPI.
        let _ = self.to[to].send(message);
        Ok(())
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>> {
        let messages = self.from[from].lock().map_err(|_| self.gone(from))?;
        messages.recv().map_err(|_| self.gone(from))
    }
}
