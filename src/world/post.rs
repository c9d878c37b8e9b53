//! What carries the messages of a world.

use std::fmt;

use crate::error::Result;

/// Carries bytes between ranks. Messages of one rank to another arrive in their order.
pub trait Post: Send + Sync + fmt::Debug {
    /// This process's number, counted from 0.
    fn rank(&self) -> usize;

    /// The host of every rank.
    fn hosts(&self) -> &[String];

    /// Hands a message over, and does not wait for it to be taken.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) where rank `to` is known to be gone.
    fn send(&self, to: usize, message: Vec<u8>) -> Result<()>;

    /// The next message of rank `from`, waited for as long as that one is known to live.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) where it is gone.
    fn receive(&self, from: usize) -> Result<Vec<u8>>;
}
