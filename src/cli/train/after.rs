//! What a run leaves for those who look at it, once its adapter is safe: what is said of its validation pictures, its metrics
//! as a table and as events, what it took, and its page.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::files::write_atomic;
use goldfish::nn::Adapter;
use goldfish::train::history::History;
use goldfish::train::judged::{self, Answer, Judged};
use goldfish::train::{Prefix, Trained, answers};
use goldfish::{Error, Result};
use serde_json::json;

use super::checked::Checked;
use crate::cli::adopt::noted;
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::cli::terminal::note;

/// Says what the run took to compile and in memory.
pub(super) fn tell_cost(checked: &Checked, prefix: &Prefix, trained: &Trained) {
    let compiled = checked.gpu.compiled();
    note!(
        "kernels  {} compiled or found in the driver's cache in {:.2} s",
        compiled.kernels,
        compiled.seconds
    );
    note!(
        "memory   {}",
        crate::cli::memory::taken(&checked.gpu, prefix, trained.kept)
    );
}

/// Writes it all. The run is whole without: what goes wrong here is told and no more.
pub(super) fn leave(
    folder: &Path,
    checked: &Checked,
    prefix: &mut Prefix,
    trained: &Trained,
    stop: &AtomicBool,
) {
    match written(folder, checked, prefix, trained, stop) {
        Ok(page) => note!("report   {}", page.display()),
        Err(Error::Interrupted { .. }) => {
            note!(
                "notice   the run is whole, and its report was not made: goldfish report makes it"
            );
        }
        Err(error) => note!("notice   the run is whole, and its report could not be made: {error}"),
    }
}

/// Leaves what asks no network, of a run in `folder` that did not come to its end but has an adapter.
pub(super) fn leave_early(folder: &Path) {
    let written = || {
        History::read(folder)?.write(folder)?;
        report::of_run(folder)
    };
    match written() {
        Ok(page) => note!("report   {}", page.display()),
        Err(error) => note!("notice   its report could not be made: {error}"),
    }
}

fn written(
    folder: &Path,
    checked: &Checked,
    prefix: &mut Prefix,
    trained: &Trained,
    stop: &AtomicBool,
) -> Result<PathBuf> {
    let judged = judge(folder, checked, prefix, trained, stop)?;
    if !judged.is_empty() {
        judged::write(folder, &judged)?;
    }
    let compiled = checked.gpu.compiled();
    let cost = json!({
        "memory": crate::cli::memory::taken(&checked.gpu, prefix, trained.kept),
        "kernels": format!("{} made ready in {:.2} s", compiled.kernels, compiled.seconds),
    });
    write_atomic(&folder.join(report::COST), format!("{cost}\n").as_bytes())?;
    History::read(folder)?.write(folder)?;
    report::of_run(folder)
}

/// How often each validation picture is looked at for it after `adapter` is trained.
pub(in crate::cli) fn verdicts(adapter: &Adapter) -> usize {
    match &adapter.head {
        Some(head) if head.frozen() == 0 => 1,
        _ => 2,
    }
}

/// What the network says of each validation picture without what was trained, where it has the class, and with the best of
/// what was trained.
fn judge(
    folder: &Path,
    checked: &Checked,
    prefix: &mut Prefix,
    trained: &Trained,
    stop: &AtomicBool,
) -> Result<Vec<Judged>> {
    let data = &checked.data;
    let which = &data.split.validation;
    let after = trained
        .best
        .as_ref()
        .map_or(&trained.adapter, |best| &best.adapter);
    // The base's own classes, and it alone.
    let alone = match &after.head {
        None => Some((Adapter::default(), data.classes.len())),
        Some(head) if head.frozen() > 0 => {
            let head = head.clone();
            let frozen = head.frozen();
            let alone = Adapter {
                loras: Vec::new(),
                head: Some(head),
            };
            Some((alone, frozen))
        }
        Some(_) => None,
    };
    let passes = verdicts(after);
    if which.is_empty() {
        return Ok(Vec::new());
    }
    let mut progress = Progress::new("verdicts", "images", (passes * which.len()) as u64);
    let mut say = |adapter: &Adapter, first: usize| {
        let mut said = Vec::new();
        answers(prefix, &data.images, which, adapter, |image, logits| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted {
                    step: trained.steps,
                });
            }
            progress.one();
            let label = data.labels[image] as usize;
            let logits = &logits[..first.min(logits.len())];
            let known = label < logits.len() && logits.iter().all(|logit| logit.is_finite());
            said.push(known.then(|| Answer::new(logits, label, &data.classes)));
            Ok(())
        })?;
        Ok::<_, Error>(said)
    };
    let mut before = match &alone {
        Some((alone, first)) => say(alone, *first)?,
        None => vec![None; which.len()],
    };
    let after = say(after, usize::MAX)?;
    progress.finish("");
    let judged = which.iter().zip(after).enumerate();
    let judged = judged.filter_map(|(at, (&image, after))| {
        let label = data.labels[image] as usize;
        Some(Judged {
            path: noted(data.images.path(image), folder),
            label,
            category: data.classes.name(label),
            before: before[at].take(),
            after: after?,
        })
    });
    Ok(judged.collect())
}
