//! What a device reports outside of any call: it becomes the error of the next one. A device that is lost stays lost.

use std::sync::{Arc, Mutex, OnceLock};

use crate::error::{Error, Remedy, Result};

/// What went wrong on one device.
pub(super) struct Failures {
    /// The device's name.
    label: String,
    /// The first that nobody has heard of yet.
    first: Mutex<Option<Error>>,
    /// Why the device is gone: nothing works on it any more.
    lost: OnceLock<String>,
}

impl Failures {
    /// Listens to `device`.
    pub(super) fn of(device: &wgpu::Device, label: &str) -> Arc<Self> {
        let failures = Arc::new(Failures {
            label: label.into(),
            first: Mutex::default(),
            lost: OnceLock::new(),
        });
        let listener = failures.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            listener.report(match error {
                wgpu::Error::OutOfMemory { .. } => full(&listener.label),
                other => Error::device(format!("{}: {other}", listener.label)),
            });
        }));
        let listener = failures.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                listener.lose(&message);
            }
        });
        failures
    }

    /// Makes `error` the error of the next call, unless one waits there already.
    pub(super) fn report(&self, error: Error) {
        let mut first = self.first.lock().expect("no panic holds the failure");
        first.get_or_insert(error);
    }

    /// From here on every call fails.
    pub(super) fn lose(&self, why: &str) {
        // It is lost once, and the first reason is the reason.
        let _ = self.lost.set(why.trim_end_matches(['.', '\n', ' ']).into());
    }

    /// What waits to be heard, and then for ever that the device is lost where it is.
    pub(super) fn check(&self) -> Result<()> {
        let first = self
            .first
            .lock()
            .expect("no panic holds the failure")
            .take();
        match (first, self.lost.get()) {
            (Some(error), _) => Err(error),
            (None, Some(why)) => Err(self.gone(why)),
            (None, None) => Ok(()),
        }
    }

    /// wgpu gives a device up that has no room for what it needs itself.
    fn gone(&self, why: &str) -> Error {
        if wants_memory(why) {
            return full(&self.label);
        }
        let problem = format!(
            "{}: the device was lost ({why}): start again, and update its driver where it happens again",
            self.label
        );
        Error::device(problem).with(Remedy::OtherDevice)
    }
}

/// A device of this name that did not open.
pub(super) fn unopened(label: &str, why: &str) -> Error {
    match wants_memory(why) {
        true => full(label),
        false => Error::device(format!("{label}: cannot open the device: {why}"))
            .with(Remedy::OtherDevice),
    }
}

fn wants_memory(why: &str) -> bool {
    why.to_lowercase().contains("memory")
}

fn full(label: &str) -> Error {
    Error::Memory(format!(
        "{label}: out of memory: close other programs that use it, or lower the batch or image size; where the weights alone \
         do not fit, take half precision or a smaller network"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Failures, unopened};
    use crate::error::{Error, Remedy};

    fn failures() -> Failures {
        Failures {
            label: "card".into(),
            first: Default::default(),
            lost: Default::default(),
        }
    }

    #[test]
    fn the_first_failure_is_heard_once_and_a_loss_for_ever() {
        let failures = failures();
        failures.check().expect("nothing went wrong");
        failures.report(Error::device("one"));
        failures.report(Error::device("two"));
        failures.lose("reset by the system.\n");
        failures.lose("later");
        let said = || failures.check().expect_err("it went wrong").to_string();
        assert_eq!(said(), "one");
        let lost = "card: the device was lost (reset by the system): start again, and update its driver where it happens \
                    again. Choose another device";
        assert_eq!([said(), said()], [lost, lost]);
    }

    #[test]
    fn a_device_that_is_given_up_for_want_of_memory_is_out_of_memory() {
        let failures = failures();
        failures.lose("Not enough memory left.");
        let error = failures.check().expect_err("it is lost");
        assert!(
            matches!(&error, Error::Memory(text) if text.starts_with("card: out of memory: close"))
        );
        assert_eq!(error.remedy(), Some(Remedy::LessAtOnce));
        assert!(!error.to_string().contains("another device"), "{error}");
    }

    #[test]
    fn a_device_that_has_no_memory_to_open_needs_no_other_device() {
        let full = unopened("card", "Not enough memory left.");
        assert!(matches!(full, Error::Memory(_)));
        let broken = unopened("card", "no queue.").to_string();
        assert_eq!(
            broken,
            "card: cannot open the device: no queue. Choose another device"
        );
    }
}
