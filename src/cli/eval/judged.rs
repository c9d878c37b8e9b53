//! One picture of an evaluation: what it is and what was said of it.

use std::path::Path;

use goldfish::data::{Classes, Verdict};
use serde::Serialize;

/// What was said of a picture.
pub struct Judged<'a> {
    pub path: &'a Path,
    pub label: usize,
    pub verdict: Verdict,
    /// The base's, where it was asked and has the class.
    pub before: Option<Verdict>,
}

impl Judged<'_> {
    /// What of the name is not UTF-8 stands as U+FFFD.
    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Whether the base was, and whether the adapted network is.
    pub fn right(&self) -> (bool, bool) {
        let before = self.before.as_ref().is_some_and(Verdict::is_right);
        (before, self.verdict.is_right())
    }

    pub fn shown(&self, classes: &Classes) -> Shown {
        Shown {
            path: self.path(),
            category: classes.name(self.label),
            said: classes.name(self.verdict.said),
            right: self.verdict.is_right(),
            confidence: self.verdict.confidence,
            probability: (-self.verdict.loss).exp(),
            before: self.before.map(|verdict| Before {
                said: classes.name(verdict.said),
                right: verdict.is_right(),
                confidence: verdict.confidence,
            }),
        }
    }
}

/// The same as results show it.
#[derive(Serialize)]
pub struct Shown {
    pub(super) path: String,
    /// What it is.
    pub(super) category: String,
    /// What it was taken for.
    pub(super) said: String,
    pub(super) right: bool,
    /// Probability of what was said.
    pub(super) confidence: f64,
    /// Probability of what it is.
    pub(super) probability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Before>,
}

/// The base's answer.
#[derive(Serialize)]
pub(super) struct Before {
    pub(super) said: String,
    pub(super) right: bool,
    pub(super) confidence: f64,
}
