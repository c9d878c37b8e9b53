//! The settings of a run, and the order of its images that follows from them.

use crate::error::{Error, Result};
use crate::random::Stream;

/// What the loop needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Passes over the data.
    pub epochs: usize,
    /// Images a step; an epoch's last step takes the rest.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub lr: f64,
    /// Seed of the order of the images and of dropout.
    pub seed: u64,
    /// Share of what goes into each A that is dropped in training.
    pub dropout: f64,
    /// Keeps less for the gradient and computes it once more instead.
    pub checkpoint: bool,
}

impl Default for Plan {
    /// The tutorial's.
    fn default() -> Self {
        Plan {
            epochs: 20,
            batch_size: 5,
            lr: 1e-3,
            seed: 0,
            dropout: 0.0,
            checkpoint: false,
        }
    }
}

impl Plan {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if value == 0 {
                return Err(Error::setting(name, "must be at least 1"));
            }
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return Err(Error::setting(
                "lr",
                format!("must be a positive number, found {}", self.lr),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::setting(
                "dropout",
                format!("must be at least 0 and below 1, found {}", self.dropout),
            ));
        }
        Ok(())
    }

    /// The images of every step. Epoch `e` (from 0) is cut from [`Stream::permutation`] of the stream `shuffle <e>`;
    /// a step's images are sorted, since their order means nothing and steps of the same ones can share their data.
    pub fn order(&self, images: usize) -> Vec<Vec<usize>> {
        (0..self.epochs)
            .flat_map(|epoch| {
                let order = Stream::new(self.seed, &format!("shuffle {epoch}")).permutation(images);
                let batches = order.chunks(self.batch_size).map(|images| {
                    let mut images = images.to_vec();
                    images.sort_unstable();
                    images
                });
                batches.collect::<Vec<_>>()
            })
            .collect()
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size)
    }
}
