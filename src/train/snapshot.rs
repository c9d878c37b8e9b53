//! Where a run stands between two steps: everything that decides how it goes on, so that it can be put down and taken up
//! with the same bits.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Score;
use crate::error::{Error, Result};
use crate::formats::state::{self, Named, State};
use crate::nn::Adapter;
use crate::tensor::{Shape, Tensor};

/// The layout of the files; another one is another goldfish's.
const VERSION: u32 = 2;
/// What the names of the optimiser's tensors start with.
const OPTIMIZER: &str = "optimizer.";

/// Steps and epochs done, and the best epoch.
pub(super) type Far<'a> = (u64, usize, Option<&'a Best>);

/// A run between two steps.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The adapter.
    pub adapter: Adapter,
    /// The optimiser's own numbers, by name; none before the first step.
    pub(super) optimizer: Named,
    /// How far it is.
    pub(super) position: Position,
    /// The best adapter so far, of a run that is validated.
    pub best: Option<Best>,
}

/// How far a run is, beside its tensors. The orders of the images, dropout and whatever else is drawn follow from the seed
/// and from this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Steps done.
    pub(super) steps: u64,
    /// Epochs that are closed: trained and validated.
    pub(super) epochs: usize,
    /// Epochs since the best one.
    pub(super) waited: usize,
    /// Sum of the losses of the images of the epoch that is under way, each by what it counts: the bits of an f64.
    loss_bits: u64,
    /// What those images count, summed: the bits of an f64.
    count_bits: u64,
}

impl Position {
    /// A step is done of which `loss` is the mean. Its images count `count` together: as many as they are, or the weights of
    /// their classes.
    pub(super) fn enter(&mut self, loss: f32, count: f64) {
        let add = |bits: u64, more: f64| (f64::from_bits(bits) + more).to_bits();
        self.steps += 1;
        self.loss_bits = add(self.loss_bits, f64::from(loss) * count);
        self.count_bits = add(self.count_bits, count);
    }

    /// Closes the epoch, `better` than all before where it was validated; its images' mean loss.
    pub(super) fn close(&mut self, better: Option<bool>) -> f64 {
        let mean = f64::from_bits(self.loss_bits) / f64::from_bits(self.count_bits);
        self.epochs += 1;
        self.waited = match better {
            Some(false) => self.waited + 1,
            Some(true) | None => 0,
        };
        (self.loss_bits, self.count_bits) = (0, 0);
        mean
    }
}

/// The adapter of the epoch with the best validation.
#[derive(Clone, Debug)]
pub struct Best {
    /// It.
    pub adapter: Adapter,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// How good it is.
    pub score: Score,
}

/// The same without its numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BestNote {
    epoch: usize,
    score: Score,
}

/// What a file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    position: Position,
    best: Option<BestNote>,
    /// What the run's folder keeps beside: see [`super::run`].
    beside: serde_json::Value,
}

impl From<Adapter> for Snapshot {
    /// A run that starts with this adapter.
    fn from(adapter: Adapter) -> Self {
        Snapshot {
            adapter,
            optimizer: Named::new(),
            position: Position::default(),
            best: None,
        }
    }
}

impl Snapshot {
    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.position.steps
    }

    /// Epochs done.
    pub fn epochs(&self) -> usize {
        self.position.epochs
    }

    /// How far it is.
    pub(super) fn far(&self) -> Far<'_> {
        let Position { steps, epochs, .. } = self.position;
        (steps, epochs, self.best.as_ref())
    }

    /// The optimiser's own numbers of this name.
    pub(super) fn optimizer(&self, name: &str) -> Result<Tensor> {
        let found = self.optimizer.iter().find(|(found, _)| found == name);
        let missing = || {
            Error::Usage(format!(
                "{name} of the optimiser is not where the run stood"
            ))
        };
        Ok(found.ok_or_else(missing)?.1.clone())
    }

    /// Writes it to `path` with what belongs beside it.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub(super) fn save(&self, path: &Path, beside: &serde_json::Value) -> Result<()> {
        let note = Note {
            version: VERSION,
            position: self.position.clone(),
            best: self.best.as_ref().map(|best| BestNote {
                epoch: best.epoch,
                score: best.score,
            }),
            beside: beside.clone(),
        };
        let mut tensors = named(&self.adapter, "");
        let optimizer = self.optimizer.iter();
        tensors.extend(optimizer.map(|(name, t)| (format!("{OPTIMIZER}{name}"), t.clone())));
        if let Some(best) = &self.best {
            tensors.extend(named(&best.adapter, "best."));
        }
        let note = serde_json::to_string(&note).expect("plain values become JSON");
        state::save(path, &note, &tensors)?;
        Ok(())
    }

    /// What [`Snapshot::save`] was given beside the snapshot that `file`, which lies at `path`, holds.
    ///
    /// # Errors
    /// [`Error::Data`] where it is another version's.
    pub(super) fn beside(path: &Path, file: &State) -> Result<serde_json::Value> {
        Ok(note(path, file)?.beside)
    }

    /// What [`Snapshot::save`] wrote of the run that `start`, its fresh adapter, begins, out of `file`, which lies at `path`.
    ///
    /// # Errors
    /// [`Error::Data`] where it is another version's or of an adapter with other modules.
    pub(super) fn read(path: &Path, file: &State, start: &Adapter) -> Result<Self> {
        let wrong = |why: String| Error::data(path, why);
        let note = note(path, file)?;
        let Some(first) = start.trained().first().cloned() else {
            return Err(wrong("there is nothing to go on with".into()));
        };
        let mut tensors = file.tensors(first.gpu())?;
        let mut read = |prefix: &str| {
            let like = named(start, prefix).into_iter();
            let read = like.map(|(name, like)| take(&mut tensors, &name, like.shape()));
            let read: Result<Vec<Tensor>, String> = read.collect();
            Ok::<_, Error>(start.with(&read.map_err(wrong)?))
        };
        let adapter = read("")?;
        let best = match note.best {
            Some(best) => Some(Best {
                adapter: read("best.")?,
                epoch: best.epoch,
                score: best.score,
            }),
            None => None,
        };
        let named = tensors.into_iter().filter_map(|(name, tensor)| {
            let name = name.strip_prefix(OPTIMIZER)?.to_string();
            Some((name, tensor))
        });
        Ok(Snapshot {
            adapter,
            optimizer: named.collect(),
            position: note.position,
            best,
        })
    }
}

/// What `file` says beside its tensors. Of another version's nothing is known but which that is.
fn note(path: &Path, file: &State) -> Result<Note> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unread = |e: serde_json::Error| {
        let problem = format!("not where a run of this goldfish stood ({e})");
        Error::data(path, problem)
    };
    let Versioned { version } = serde_json::from_str(file.note()).map_err(unread)?;
    if version != VERSION {
        let problem = format!(
            "is of version {version} and this goldfish writes {VERSION}: go on with the goldfish that began the run"
        );
        return Err(Error::data(path, problem));
    }
    serde_json::from_str(file.note()).map_err(unread)
}

/// Takes the tensor of this name and shape out of `tensors`.
fn take(tensors: &mut Named, name: &str, shape: &Shape) -> Result<Tensor, String> {
    let Some(at) = tensors.iter().position(|(found, _)| found == name) else {
        return Err(format!("{name} is missing: it is another run's"));
    };
    let (_, tensor) = tensors.swap_remove(at);
    match tensor.shape() == shape {
        true => Ok(tensor),
        false => Err(format!(
            "{name} has shape {}, and this run's has {shape}: it is another run's",
            tensor.shape()
        )),
    }
}

/// What is trained of an adapter, by name.
fn named(adapter: &Adapter, prefix: &str) -> Named {
    let loras = adapter.loras.iter();
    let loras = loras.flat_map(|(module, _)| ["A", "B"].map(|f| format!("{module}.lora_{f}")));
    let head = ["weight", "bias"].map(|name| format!("head.{name}"));
    let names = loras.chain(adapter.head.iter().flat_map(|_| head.clone()));
    let names = names.map(|name| format!("{prefix}{name}"));
    names.zip(adapter.trained()).collect()
}

#[cfg(test)]
mod tests {
    use super::Position;

    /// PyTorch 2's, in f64: `z = torch.arange(35).reshape(7, 5).mul(7).remainder(11).double() / 4`,
    /// `c = torch.tensor([0, 4, 1, 1, 3, 0, 1])`, `w = torch.tensor([0.5, 2, 1, 0.25, 3]).double()`; the loss is
    /// `nn.CrossEntropyLoss(w, label_smoothing=0.1)` of the rows 0 to 2, 3 to 5 and 6 with the sum of `w[c]`, and of all.
    #[test]
    fn an_epoch_s_loss_is_that_of_all_its_images_at_once() {
        let mut position = Position::default();
        for (loss, count) in [(1.986_344_1, 5.5), (2.215_744_3, 2.75), (0.900_498_7, 2.0)] {
            position.enter(loss, count);
        }
        let mean = position.close(None);
        assert!((mean - 1.836_018_232_313_785_5).abs() < 1e-7, "{mean}");
        assert_eq!((position.steps, position.epochs), (3, 1));
        // The next begins with nothing.
        position.enter(0.5, 2.0);
        assert_eq!(position.close(None), 0.5);
    }
}
