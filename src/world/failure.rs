//! How ranks are called, and what one of them has to say when it ends the job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a job exits with that has lost a rank, or whose ranks do not go together.
pub const LOST: u8 = 6;

/// What ends a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Of which rank, with its host.
    pub rank: String,
    /// What it says.
    pub problem: String,
    /// What the job exits with.
    pub code: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rank, self.problem)
    }
}

/// A rank with its host, for people.
pub(super) fn name(rank: usize, hosts: &[String]) -> String {
    format!("rank {rank} on {}", hosts[rank])
}
