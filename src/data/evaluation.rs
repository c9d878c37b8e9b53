//! Everything that is said of how good a network is, gathered from its verdicts: the mean figures, those of each class, what
//! was taken for what, and whether it is as often right as it is sure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calibration::{Bin, Calibration};
use super::confusion::{Confusion, Quality};
use super::score::{Score, Tally, Verdict};

/// What is gathered, picture by picture.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    all: Tally,
    each: BTreeMap<usize, Tally>,
    confusion: Confusion,
    calibration: Calibration,
}

/// What it comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Over all pictures.
    #[serde(flatten)]
    pub score: Score,
    /// The mean over the classes that have pictures or that some were taken for, each counting alike.
    pub macro_average: Quality,
    /// The mean over the pictures.
    pub weighted_average: Quality,
    /// How sure the network is on average.
    pub mean_confidence: f64,
    /// See [`Calibration::error`].
    pub calibration_error: f64,
    /// What that is the sum of.
    pub calibration_bins: Vec<Bin>,
    /// The classes that have pictures, by index.
    pub categories: Vec<Category>,
    /// What was taken for what.
    pub confusion: Matrix,
}

/// The figures of a class that has pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Category {
    /// The class.
    pub index: usize,
    /// Its name.
    pub category: String,
    /// Over its pictures.
    #[serde(flatten)]
    pub score: Score,
    /// How well it is told from the others.
    #[serde(flatten)]
    pub quality: Quality,
    /// Pictures that were taken for it, its own and others; its precision is of these.
    pub said: usize,
    /// What its pictures were taken for, most often first.
    pub taken_for: Vec<Taken>,
}

/// What pictures were taken for.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// The class.
    pub index: usize,
    /// Its name.
    pub category: String,
    /// How many.
    pub count: usize,
}

/// Counts of pictures, a row for each true class and a column for each that was said.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// The classes of the rows and, in the same order, of the columns.
    pub indices: Vec<usize>,
    /// Their names.
    pub categories: Vec<String>,
    /// Row by row.
    pub counts: Vec<Vec<usize>>,
}

impl Evaluation {
    /// Adds what was said of a picture of class `label`.
    pub fn add(&mut self, label: usize, verdict: &Verdict) {
        self.all.count_in(verdict);
        self.each.entry(label).or_default().count_in(verdict);
        self.confusion.add(label, verdict.said);
        self.calibration.add(verdict);
    }

    /// What it comes to, under the names that `name` gives to the classes.
    pub fn figures(&self, name: impl Fn(usize) -> String) -> Figures {
        let qualities = self.confusion.each().into_iter();
        let categories = qualities.filter_map(|class| {
            let tally = self.each.get(&class.index)?;
            let taken = self.confusion.taken_for(class.index).into_iter();
            let taken = taken.map(|(index, count)| Taken {
                index,
                category: name(index),
                count,
            });
            Some(Category {
                index: class.index,
                category: name(class.index),
                score: tally.score(),
                quality: class.quality,
                said: class.said,
                taken_for: taken.collect(),
            })
        });
        Figures {
            score: self.all.score(),
            macro_average: self.confusion.macro_average(),
            weighted_average: self.confusion.weighted_average(),
            mean_confidence: self.calibration.confidence(),
            calibration_error: self.calibration.error(),
            calibration_bins: self.calibration.bins(),
            categories: categories.collect(),
            confusion: self.matrix(&name),
        }
    }

    fn matrix(&self, name: impl Fn(usize) -> String) -> Matrix {
        let indices = self.confusion.classes();
        let row = |&label: &usize| {
            let cells = indices.iter();
            cells
                .map(|&said| self.confusion.count(label, said))
                .collect()
        };
        Matrix {
            categories: indices.iter().map(|&index| name(index)).collect(),
            counts: indices.iter().map(row).collect(),
            indices,
        }
    }
}
