//! How often answers are right, and how much is lost where they are not: the figures of a validation, added up picture by
//! picture from the logits.

use serde::{Deserialize, Serialize};

/// Shares of the pictures whose class is the first, or among the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Pictures.
    pub count: usize,
    /// Share of those taken for what they are.
    pub top1: f64,
    /// Share of those whose class is among the five of the largest logits.
    pub top5: f64,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
}

/// What the network says of one picture whose class is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The class of the largest logit; of equal ones the first.
    pub said: usize,
    /// Its probability by softmax.
    pub confidence: f64,
    /// How many classes come before the true one, largest logits first and equal ones by index: 0 where it is right.
    pub rank: usize,
    /// Cross-entropy of the true class.
    pub loss: f64,
}

impl Verdict {
    /// Of finite `logits`, of which `label` is the true class's.
    ///
    /// # Panics
    /// Where there is no such logit.
    pub fn new(logits: &[f32], label: usize) -> Self {
        let own = logits[label];
        let (mut said, mut rank) = (0, 0);
        for (index, logit) in logits.iter().enumerate() {
            if logit.total_cmp(&logits[said]).is_gt() {
                said = index;
            }
            let order = logit.total_cmp(&own);
            rank += usize::from(order.is_gt() || order.is_eq() && index < label);
        }
        let largest = f64::from(logits[said]);
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
        Verdict {
            said,
            confidence: 1.0 / sum,
            rank,
            loss: sum.ln() + largest - f64::from(own),
        }
    }

    /// Whether the picture is taken for what it is.
    pub fn is_right(&self) -> bool {
        self.rank == 0
    }
}

/// Sums over pictures.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    count: usize,
    first: usize,
    five: usize,
    loss: f64,
}

impl Tally {
    /// Adds a picture of class `label`.
    ///
    /// # Panics
    /// Where `logits` has no such class.
    pub fn add(&mut self, logits: &[f32], label: usize) {
        self.count_in(&Verdict::new(logits, label));
    }

    /// Adds a picture of which `verdict` was given.
    pub fn count_in(&mut self, verdict: &Verdict) {
        self.count += 1;
        self.first += usize::from(verdict.is_right());
        self.five += usize::from(verdict.rank < 5);
        self.loss += verdict.loss;
    }

    /// The means; zeros of no picture.
    pub fn score(&self) -> Score {
        let mean = |sum: f64| sum / self.count.max(1) as f64;
        Score {
            count: self.count,
            top1: mean(self.first as f64),
            top5: mean(self.five as f64),
            loss: mean(self.loss),
        }
    }
}
