//! The one error type of the library. Every message says what was wrong, where, and what to do next;
//! the command line turns the kind into an exit code.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// `Result` with goldfish's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, by who has to act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range or contradicts another one.
    #[error("{0}")]
    Usage(String),
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
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
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
    #[error("{0}")]
    Device(String),
    /// The device has no room for what was asked.
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
    /// Training produced a loss, or numbers of the adapter, that are not finite.
    #[error(
        "{}: stopped; the last adapter whose loss and numbers were finite was kept. Lower --lr (it was {lr}) and try again",
        diverged(*step, *loss)
    )]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// The loss; finite where it was the update after it that was not.
        loss: f32,
        /// The learning rate.
        lr: f64,
    },
    /// The user interrupted the work.
    #[error("interrupted after {step} steps")]
    Interrupted {
        /// Steps finished before the stop.
        step: u64,
    },
}

fn diverged(step: u64, loss: f32) -> String {
    match loss.is_finite() {
        true => format!(
            "the adapter's numbers overflowed in the update after step {step}, whose loss was {loss}"
        ),
        false => format!("the loss became {loss} at step {step}"),
    }
}

impl Error {
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
