//! Pictures to validate with that are trained with too.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use super::join::{Pairs, join};
use super::points;
use super::print::{Likeness, Print};
use crate::data::store::ImageStore;
use crate::error::Result;

/// A picture to validate with that is also trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Position of the picture among those to validate with.
    pub validation: usize,
    /// Position of the most alike one, or one of them, among those to train with.
    pub training: usize,
    /// How they are alike.
    pub likeness: Likeness,
}

/// The pictures of `validation` that are in `training` too, or nearly, in their order, each once.
pub fn leaks<P: Borrow<Print> + Sync>(training: &[P], validation: &[P]) -> Vec<Leak> {
    let mut known = BTreeMap::new();
    for (image, print) in training.iter().enumerate().rev() {
        known.insert(print.borrow().pixels, image);
    }
    let same = validation
        .iter()
        .map(|print| Some((Likeness::Same, *known.get(&print.borrow().pixels)?)));
    let mut leaking = Leaking {
        found: same.collect(),
        training,
        validation,
        likeness: Likeness::Near,
    };
    let all = |prints: &[P]| (0..prints.len()).collect::<Vec<usize>>();
    let trained = points(training, &all(training), false);
    for (likeness, mirror) in [(Likeness::Near, false), (Likeness::Mirrored, true)] {
        leaking.likeness = likeness;
        let validated = points(validation, &all(validation), mirror);
        join(&trained, &validated, &mut leaking);
    }
    let found = leaking.found.into_iter().enumerate();
    found
        .filter_map(|(validation, found)| {
            let (likeness, training) = found?;
            Some(Leak {
                validation,
                training,
                likeness,
            })
        })
        .collect()
}

/// The same of the images at the positions `training` and `validation` of a run, by what the network sees of them: their
/// crops. A leak names positions in those lists.
///
/// # Errors
/// As [`decode`](crate::data::decode), where a file that is not kept in memory has changed since it was first read.
pub fn leaks_between(
    images: &ImageStore,
    training: &[usize],
    validation: &[usize],
) -> Result<Vec<Leak>> {
    // With nothing to compare there is nothing to decode.
    if validation.is_empty() {
        return Ok(Vec::new());
    }
    let prints = |which: &[usize]| {
        let prints = which.par_iter().map(|&at| images.print(at));
        prints.collect::<Result<Vec<&Print>>>()
    };
    Ok(leaks(&prints(training)?, &prints(validation)?))
}

/// What is known of the pictures to validate with.
struct Leaking<'a, P> {
    training: &'a [P],
    validation: &'a [P],
    /// How those of the pairs that come now are alike.
    likeness: Likeness,
    /// Of each picture the most alike one to train with, of several the first.
    found: Vec<Option<(Likeness, usize)>>,
}

impl<P: Borrow<Print>> Pairs for Leaking<'_, P> {
    fn wanted(&self, a: usize, b: usize) -> bool {
        self.found[b].is_none_or(|best| best > (self.likeness, a))
    }

    fn near(&mut self, a: usize, b: usize) {
        let [one, other] = [&self.training[a], &self.validation[b]].map(Borrow::borrow);
        if one.is_like(other, self.likeness) {
            self.found[b] = Some((self.likeness, a));
        }
    }
}
