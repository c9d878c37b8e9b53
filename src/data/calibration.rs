//! Whether a network is right as often as it is sure: the expected calibration error of Guo, Pleiss, Sun and Weinberger, "On
//! Calibration of Modern Neural Networks" (2017), over bins of equal width.

use serde::Serialize;

use super::score::Verdict;

/// As many as in the paper.
pub const BINS: usize = 15;

/// Pictures by how sure the network was of them.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    bins: [Sums; BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: usize,
    right: usize,
    confidence: f64,
}

/// The pictures whose confidence is above `from` and at most `to`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// The lower edge, which is not in it.
    pub from: f64,
    /// The upper edge, which is.
    pub to: f64,
    /// Pictures.
    pub count: usize,
    /// Share of them that are right; 0 of none.
    pub accuracy: f64,
    /// Their mean confidence; 0 of none.
    pub confidence: f64,
}

impl Calibration {
    /// Adds a picture.
    pub fn add(&mut self, verdict: &Verdict) {
        let above = |edge: &usize| verdict.confidence > *edge as f64 / BINS as f64;
        let bin = &mut self.bins[(1..BINS).take_while(above).count()];
        bin.count += 1;
        bin.right += usize::from(verdict.is_right());
        bin.confidence += verdict.confidence;
    }

    /// The bins, the least sure first.
    pub fn bins(&self) -> Vec<Bin> {
        let bin = |(index, sums): (usize, &Sums)| {
            let count = sums.count.max(1) as f64;
            Bin {
                from: index as f64 / BINS as f64,
                to: (index + 1) as f64 / BINS as f64,
                count: sums.count,
                accuracy: sums.right as f64 / count,
                confidence: sums.confidence / count,
            }
        };
        self.bins.iter().enumerate().map(bin).collect()
    }

    /// The mean distance between how sure and how often right, each bin counting by its pictures; 0 of no picture.
    pub fn error(&self) -> f64 {
        let gap = |sums: &Sums| (sums.right as f64 - sums.confidence).abs();
        self.bins.iter().map(gap).sum::<f64>() / self.count()
    }

    /// The mean confidence; 0 of no picture.
    pub fn confidence(&self) -> f64 {
        self.bins.iter().map(|sums| sums.confidence).sum::<f64>() / self.count()
    }

    fn count(&self) -> f64 {
        let all: usize = self.bins.iter().map(|sums| sums.count).sum();
        all.max(1) as f64
    }
}
