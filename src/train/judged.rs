//! `validation.jsonl`: what the network said of each validation picture before training and says after it, a line a picture.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::lines;
use crate::data::{Classes, Prediction, Verdict, top};
use crate::error::{Error, Result};
use crate::files::write_atomic;

/// The file's name in a run's folder.
pub const FILE: &str = "validation.jsonl";
/// Answers that are kept of a picture, the likeliest first.
const KEPT: usize = 5;

/// A picture whose class is known, and what was said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The file, from the run's folder where it is relative.
    pub path: String,
    /// Its class.
    pub label: usize,
    /// The class's name.
    pub category: String,
    /// By the network without what was trained; absent where that has no such class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Answer>,
    /// By the network with what was trained.
    pub after: Answer,
}

/// What was said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// How right it is.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The likeliest classes.
    pub top: Vec<Prediction>,
}

impl Answer {
    /// Of finite `logits`, of which `label` is the true class's.
    ///
    /// # Panics
    /// Where there is no such logit.
    pub fn new(logits: &[f32], label: usize, classes: &Classes) -> Self {
        Answer {
            verdict: Verdict::new(logits, label),
            top: top(logits, KEPT, classes),
        }
    }
}

/// Writes [`FILE`] into `folder`.
///
/// # Errors
/// [`Error::Io`] where the disk is full or the folder read-only.
pub fn write(folder: &Path, judged: &[Judged]) -> Result<()> {
    let mut text = String::new();
    for one in judged {
        text += &serde_json::to_string(one).expect("plain values become JSON");
        text.push('\n');
    }
    write_atomic(&folder.join(FILE), text.as_bytes())
}

/// Reads it back; `None` where there is none.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Data`] where a line is no such picture.
pub fn read(folder: &Path) -> Result<Option<Vec<Judged>>> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let mut judged = Vec::new();
    for (number, one) in lines::<Judged>(&path)? {
        let answers = one.before.iter().chain([&one.after]);
        let numbers: Vec<f64> = answers
            .flat_map(|a| [a.verdict.confidence, a.verdict.loss])
            .collect();
        if !numbers.into_iter().all(f64::is_finite) {
            let problem = format!("line {number} has a number that is not finite");
            return Err(Error::data(&path, problem));
        }
        judged.push(one);
    }
    Ok(Some(judged))
}

/// Removes [`FILE`] from `folder`, where it tells of an adapter that is there no more.
///
/// # Errors
/// [`Error::Io`] where it cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    let path = folder.join(FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "remove")(e)),
        _ => Ok(()),
    }
}
