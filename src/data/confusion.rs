//! What pictures of each class were taken for, and what follows from it: precision, recall, F1, as scikit-learn's
//! `precision_recall_fscore_support` defines them, 0 where nothing is divided by nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Counts of pictures by their class and by what they were taken for.
#[derive(Clone, Debug, Default)]
pub struct Confusion {
    /// Only what occurs: of a thousand classes most pairs never do.
    cells: BTreeMap<(usize, usize), usize>,
}

/// How well one class is told from the others, or the mean over classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Share of the pictures that were taken for the class and are of it.
    pub precision: f64,
    /// Share of the class's pictures that were taken for it.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
}

/// The figures of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassQuality {
    /// The class.
    pub index: usize,
    /// Pictures of it.
    pub count: usize,
    /// Pictures that were taken for it.
    pub said: usize,
    /// Those of both.
    pub right: usize,
    /// What follows.
    pub quality: Quality,
}

impl Confusion {
    /// Adds a picture of class `label` that was taken for `said`.
    pub fn add(&mut self, label: usize, said: usize) {
        *self.cells.entry((label, said)).or_default() += 1;
    }

    /// Pictures of class `label` that were taken for `said`.
    pub fn count(&self, label: usize, said: usize) -> usize {
        self.cells.get(&(label, said)).copied().unwrap_or(0)
    }

    /// What the pictures of class `label` were taken for, most often first, then by index.
    pub fn taken_for(&self, label: usize) -> Vec<(usize, usize)> {
        let row = self.cells.range((label, 0)..=(label, usize::MAX));
        let mut taken: Vec<(usize, usize)> =
            row.map(|(&(_, said), &count)| (said, count)).collect();
        taken.sort_by_key(|&(said, count)| (std::cmp::Reverse(count), said));
        taken
    }

    /// The classes that have pictures or that some were taken for, by index.
    pub fn classes(&self) -> Vec<usize> {
        let both = self.cells.keys().flat_map(|&(label, said)| [label, said]);
        both.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// The figures of each of [`Confusion::classes`].
    pub fn each(&self) -> Vec<ClassQuality> {
        let mut sums: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (&(label, taken), &cell) in &self.cells {
            sums.entry(label).or_default().0 += cell;
            sums.entry(taken).or_default().1 += cell;
        }
        let share = |part: usize, of: usize| match of {
            0 => 0.0,
            of => part as f64 / of as f64,
        };
        let class = |(index, (count, said))| {
            let right = self.count(index, index);
            ClassQuality {
                index,
                count,
                said,
                right,
                quality: Quality {
                    precision: share(right, said),
                    recall: share(right, count),
                    f1: share(2 * right, count + said),
                },
            }
        };
        sums.into_iter().map(class).collect()
    }

    /// The mean over [`Confusion::classes`], each counting alike.
    pub fn macro_average(&self) -> Quality {
        self.average(|_| 1)
    }

    /// The mean over the pictures: each class counts by how many it has.
    pub fn weighted_average(&self) -> Quality {
        self.average(|class| class.count)
    }

    fn average(&self, weight: impl Fn(&ClassQuality) -> usize) -> Quality {
        let each = self.each();
        let all = each.iter().map(&weight).sum::<usize>().max(1) as f64;
        let mean = |part: fn(&Quality) -> f64| {
            let parts = each.iter().map(|c| weight(c) as f64 * part(&c.quality));
            parts.sum::<f64>() / all
        };
        Quality {
            precision: mean(|q| q.precision),
            recall: mean(|q| q.recall),
            f1: mean(|q| q.f1),
        }
    }
}
