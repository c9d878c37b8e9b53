//! What flags of `train` take that is neither a number nor a word.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use goldfish::data::folds;
use goldfish::train::Metric;
use goldfish::{Error, Result};

/// Images of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum BatchSize {
    Of(usize),
    Auto,
}

impl FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(BatchSize::Auto),
            (_, Ok(images)) => Ok(BatchSize::Of(images)),
            _ => Err("is a number of images, or auto".into()),
        }
    }
}

/// One of so many parts of the images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) struct Fold {
    /// Counted from 1.
    pub(in crate::cli) part: usize,
    pub(in crate::cli) of: usize,
}

impl Fold {
    /// The images of this part, of images with these labels.
    ///
    /// # Errors
    /// As [`folds`].
    pub(in crate::cli) fn images(self, labels: &[u32], seed: u64) -> Result<Vec<usize>> {
        match folds(labels, self.of, seed) {
            Ok(mut folds) => Ok(folds.swap_remove(self.part - 1)),
            Err(Error::Setting { problem, .. }) => {
                let Fold { part, of } = self;
                Err(Error::setting("fold", format!("{part}/{of}: K {problem}")))
            }
            Err(error) => Err(error),
        }
    }
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (part, of) = text.split_once('/')?;
            let (part, of) = (part.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&part).then_some(Fold { part, of })
        };
        parse().ok_or_else(|| "is part I of K, as in 2/5".into())
    }
}

/// When a run is put down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Every {
    Epochs(usize),
    Time(Duration),
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
        let every = match text.strip_suffix('m') {
            Some(minutes) => {
                number(minutes).map(|n| Every::Time(Duration::from_secs(60 * u64::from(n))))
            }
            None => number(text).map(|n| Every::Epochs(n as usize)),
        };
        every.ok_or_else(|| "is a number of epochs, as 10, or of minutes, as 5m".into())
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(in crate::cli) enum MetricArg {
    Loss,
    Top1,
    Top5,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::Loss => Metric::Loss,
            MetricArg::Top1 => Metric::Top1,
            MetricArg::Top5 => Metric::Top5,
        }
    }
}
