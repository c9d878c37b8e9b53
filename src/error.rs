//! The one error type of the library. Every message says what was wrong, where, and what to do next, in the words of the
//! library's own settings; the command line turns the kind into an exit code and adds what to type.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// `Result` with goldfish's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, by who has to act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Values that cannot be computed with, or not together.
    #[error("{0}")]
    Usage(String),
    /// A setting is out of range or contradicts another one.
    #[error("{name} {problem}")]
    Setting {
        /// The field that holds it, as in [`crate::train::Plan`], [`crate::nn::Choice`] and [`crate::nn::Loading`].
        name: &'static str,
        /// What is wrong with it, to be read after its name.
        problem: String,
    },
    /// Tensors of these shapes do not fit the operation.
    #[error("{op}: expected {expected}, found {found}")]
    Shape {
        /// The operation, by its name in [`crate::ops`].
        op: &'static str,
        /// What the operation takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A file or folder holds something else than it should.
    #[error("{}: {}", path.display(), ended(problem, remedy))]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do where that is a thing to do to the file.
        problem: String,
        /// What else would help.
        remedy: Option<Remedy>,
    },
    /// The operating system refused a file operation.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No usable device, or the device failed while working.
    #[error("{}", ended(problem, remedy))]
    Device {
        /// Which device, and what it did.
        problem: String,
        /// What would help.
        remedy: Option<Remedy>,
    },
    /// The device has no room for what was asked, with what to ask less of.
    #[error("{0}")]
    Memory(String),
    /// A shader did not become a pipeline on this device.
    #[error("kernel {kernel} failed on this device: {message}")]
    Kernel {
        /// The kernel's label.
        kernel: String,
        /// The driver's or validator's message.
        message: String,
    },
    /// Something is wrong with another process of the same job: see [`World`](crate::world::World).
    #[error("{rank}: {problem}")]
    Rank {
        /// Which, and on what host.
        rank: String,
        /// What is wrong.
        problem: String,
    },
    /// Training produced a loss, or numbers of the adapter, that are not finite.
    #[error("{}", diverged(*step, *loss, *lr))]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// The loss; finite where it was the update after it that was not.
        loss: f32,
        /// The learning rate.
        lr: f64,
    },
    /// The user interrupted the work.
    #[error("interrupted{}", after(*step))]
    Interrupted {
        /// Steps finished before the stop; 0 where none was, or nobody counts them.
        step: u64,
    },
}

/// Whether a loss is that of an adapter that nothing was learned by yet.
fn untaught(step: u64, loss: f32) -> bool {
    step <= 1 && !loss.is_finite()
}

fn diverged(step: u64, loss: f32, lr: f64) -> String {
    if untaught(step, loss) {
        return format!(
            "the loss is {loss} at step 1, before anything is learned: numbers of the base or of the adapter to start from are \
             too large"
        );
    }
    let what = match loss.is_finite() {
        true => format!(
            "the adapter's numbers overflowed in the update after step {step}, whose loss was {loss}"
        ),
        false => format!("the loss became {loss} at step {step}"),
    };
    let remedy = Remedy::LowerRate;
    format!(
        "{what}: stopped; the last adapter whose loss and numbers were finite was kept. The learning rate was {lr}. {remedy}"
    )
}

fn after(steps: u64) -> String {
    match steps {
        0 => String::new(),
        1 => " after 1 step".into(),
        steps => format!(" after {steps} steps"),
    }
}

/// What would help against an error, for those who say it in their own words: the command line names its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Fewer or smaller images at once.
    LessAtOnce,
    /// Another device.
    OtherDevice,
    /// A lower learning rate.
    LowerRate,
    /// To go on without files that cannot be read.
    LeaveOut,
    /// Another folder, or leave to overwrite this one.
    OtherFolder,
    /// To say whether folders are named by the base's classes or by those of one's own.
    SayClasses,
}

impl Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::LessAtOnce => "Lower the batch or image size",
            Remedy::OtherDevice => "Choose another device",
            Remedy::LowerRate => "Lower the learning rate and try again",
            Remedy::LeaveOut => "Replace or remove it, or go on without it",
            Remedy::SayClasses => "Say which classes are meant",
            Remedy::OtherFolder => "Choose another folder, or let it be overwritten",
        })
    }
}

/// A problem with the remedy as the sentence after it; what others say may end with a stop of its own.
fn ended(problem: &str, remedy: &Option<Remedy>) -> String {
    match remedy {
        Some(remedy) => format!("{}. {remedy}", without_stop(problem)),
        None => problem.trim_end().into(),
    }
}

/// What others say, without the stop or the empty lines at its end.
fn without_stop(said: &str) -> &str {
    said.trim_end().trim_end_matches(['.', ':', ';', ','])
}

impl Error {
    /// What would help, where the kind of error or its place says so.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Error::Data { remedy, .. } | Error::Device { remedy, .. } => *remedy,
            Error::Memory(_) => Some(Remedy::LessAtOnce),
            Error::NonFinite { step, loss, .. } if !untaught(*step, *loss) => {
                Some(Remedy::LowerRate)
            }
            _ => None,
        }
    }

    /// The same with what would help, for [`Error::Data`] and [`Error::Device`].
    pub fn with(mut self, helps: impl Into<Option<Remedy>>) -> Self {
        if let Error::Data { remedy, .. } | Error::Device { remedy, .. } = &mut self {
            *remedy = helps.into();
        }
        self
    }

    /// What is wrong, without the file that it is wrong with, and without what would help.
    pub fn problem(self) -> String {
        match self {
            Error::Data { problem, .. } => problem,
            Error::Io { action, source, .. } => format!("cannot {action}: {source}"),
            other => other.to_string(),
        }
    }

    /// An [`Error::Setting`].
    pub fn setting(name: &'static str, problem: impl Into<String>) -> Self {
        Error::Setting {
            name,
            problem: problem.into(),
        }
    }

    /// An [`Error::Device`].
    pub fn device(problem: impl Into<String>) -> Self {
        Error::Device {
            problem: problem.into(),
            remedy: None,
        }
    }

    /// An [`Error::Shape`].
    pub fn shape(op: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Error::Shape {
            op,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// An [`Error::Shape`] for two tensors of shapes `a` and `b` that do not go together.
    pub fn shapes(
        op: &'static str,
        expected: impl Into<String>,
        a: impl Display,
        b: impl Display,
    ) -> Self {
        Self::shape(op, expected, format!("{a} and {b}"))
    }

    /// An [`Error::Data`] about `path`.
    pub fn data(path: &Path, problem: impl Into<String>) -> Self {
        Error::Data {
            path: path.to_path_buf(),
            problem: problem.into(),
            remedy: None,
        }
    }

    /// A mapper from [`std::io::Error`] to [`Error::Io`] about `path`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io {
            path,
            action,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Error, Remedy};

    const REMEDIES: [Remedy; 6] = [
        Remedy::LessAtOnce,
        Remedy::OtherDevice,
        Remedy::LowerRate,
        Remedy::LeaveOut,
        Remedy::OtherFolder,
        Remedy::SayClasses,
    ];

    /// Drivers, the system and other libraries end what they say as they like.
    #[test]
    fn what_others_say_does_not_end_twice() {
        for end in ["", ".", "...", ":", ".\n", "\n\n", " ", ";"] {
            let said = format!("it is bent{end}");
            for remedy in REMEDIES.map(Some).into_iter().chain([None]) {
                let data = Error::data(Path::new("x"), &*said).with(remedy).to_string();
                let device = Error::device(&*said).with(remedy).to_string();
                let expected = match remedy {
                    Some(remedy) => format!("it is bent. {remedy}"),
                    None => said.trim_end().to_string(),
                };
                assert_eq!(data, format!("x: {expected}"));
                assert_eq!(device, expected);
            }
        }
    }

    #[test]
    fn a_remedy_is_a_sentence_without_its_stop() {
        for remedy in REMEDIES {
            let text = remedy.to_string();
            assert!(text.starts_with(char::is_uppercase) && text.ends_with(char::is_alphanumeric));
        }
        assert!(!Remedy::LessAtOnce.to_string().contains("device"));
    }

    #[test]
    fn steps_are_counted_where_there_are_some() {
        let said = [0, 1, 2].map(|step| Error::Interrupted { step }.to_string());
        assert_eq!(
            said,
            [
                "interrupted",
                "interrupted after 1 step",
                "interrupted after 2 steps"
            ]
        );
    }
}
