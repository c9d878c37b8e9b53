//! MPI as the post of a world. One thread, the office, calls MPI, and nobody else does; the others hand it letters and
//! wait at boxes. So no wait is MPI's: what is sent and received is asked after, every rank tells the others now and then that it
//! lives, and the job ends where one has not been heard of.

mod flight;
mod office;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::failure::{Failure, name};
use super::post::Post;
use crate::error::{Error, Result};
use office::{Letter, Office, Place};

/// A rank that is not heard of for so long is taken to be lost.
pub const SILENCE: Duration = Duration::from_secs(30);
/// How long a job that fails has to end by MPI's own means.
const TO_END: Duration = Duration::from_secs(20);
/// How often one who waits looks whether there is anything to wait for.
const LOOK: Duration = Duration::from_millis(200);

/// This process's place among those that a launcher (mpirun, srun) has started.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    hosts: Vec<String>,
    letters: Sender<Letter>,
    /// From each rank.
    boxes: Vec<Mutex<Receiver<Vec<u8>>>>,
    /// Whether each has done its part.
    ended: Arc<Vec<AtomicBool>>,
    office: Mutex<Option<JoinHandle<()>>>,
}

impl Mpi {
    /// Joins the others. Where the job fails, `tell` is called by the one rank that says so, which is rank 0 while it lives,
    /// and the job ends. A rank of which nothing was heard for `silence` is lost.
    ///
    /// # Errors
    /// [`Error::Device`] where this MPI cannot be used so.
    pub fn join(silence: Duration, tell: impl Fn(&Failure) + Send + 'static) -> Result<Arc<Self>> {
        let (letters, outgoing) = channel();
        let (ready, begun) = channel();
        let begin = move || match Office::open(outgoing, silence, Box::new(tell)) {
            Ok((office, place)) => {
                let _ = ready.send(Ok(place));
                office.run();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let office = thread::Builder::new().name("mpi".into()).spawn(begin);
        let office = office.map_err(|e| Error::device(format!("no thread for MPI: {e}")))?;
        let gone = |_| Error::device("MPI could not be started: its thread ended");
        let Place {
            rank,
            hosts,
            boxes,
            ended,
        } = begun.recv().map_err(gone)??;
        Ok(Arc::new(Mpi {
            rank,
            hosts,
            letters,
            boxes: boxes.into_iter().map(Mutex::new).collect(),
            ended,
            office: Mutex::new(Some(office)),
        }))
    }

    /// Ends the job on all ranks with what `rank`, which is this one where nothing is said, has found: rank 0 tells. Returns where
    /// MPI has not ended this process in time: whether it had been told.
    pub fn fail(&self, rank: Option<String>, problem: String, code: u8) -> bool {
        let failure = Failure {
            rank: rank.unwrap_or_else(|| name(self.rank, &self.hosts)),
            problem,
            code,
        };
        let told = self.letters.send(Letter::Fail(failure)).is_ok();
        if told {
            thread::sleep(TO_END);
        }
        told
    }

    /// Ends this rank's part, once all others have ended theirs.
    pub fn close(&self) {
        let open = self.letters.send(Letter::Close).is_ok();
        if let Ok(mut office) = self.office.lock()
            && let Some(office) = office.take().filter(|_| open)
        {
            // It has said what was wrong.
            let _ = office.join();
        }
    }
}

impl Post for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn hosts(&self) -> &[String] {
        &self.hosts
    }

    fn send(&self, to: usize, message: Vec<u8>) -> Result<()> {
        let sent = self.letters.send(Letter::To { to, message });
        sent.map_err(|_| self.over())
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>> {
        let messages = self.boxes[from].lock().map_err(|_| self.over())?;
        loop {
            let ended = self.ended[from].load(Ordering::Relaxed);
            match messages.recv_timeout(LOOK) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) if !ended => {}
                // It was seen to have ended before the wait, and all that it has sent had come by then.
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Rank {
                        rank: name(from, &self.hosts),
                        problem: format!(
                            "has ended before {} had all that it needs of it: start all ranks alike",
                            name(self.rank, &self.hosts)
                        ),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.over()),
            }
        }
    }
}

impl Mpi {
    fn over(&self) -> Error {
        Error::Rank {
            rank: name(self.rank, &self.hosts),
            problem: "MPI's thread has ended, and with it the job".into(),
        }
    }
}
