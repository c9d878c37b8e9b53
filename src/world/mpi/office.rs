//! The thread that calls MPI.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Source};
use mpi::{Tag, Threading};

use super::super::failure::{Failure, LOST, name};
use super::flight::Flight;
use crate::error::{Error, Result};

/// The last piece of a message, or all of it.
const END: Tag = 1;
/// One that others follow.
const PIECE: Tag = 2;
/// A rank lives.
const BEAT: Tag = 3;
/// A rank has failed: JSON of the [`Failure`].
const FAIL: Tag = 4;
/// A rank has done its part.
const DONE: Tag = 5;
/// All have.
const CLOSE: Tag = 6;

/// Bytes of a piece: MPI counts them in 32 bits, and what comes behind a piece waits for it.
const MOST: usize = 8 << 20;
/// Bytes of a host's name that are exchanged.
const NAME: usize = 256;
/// How often a rank says that it lives.
const EVERY: Duration = Duration::from_secs(1);
/// How long rank 0, told of another's failure, may take to say that it has failed itself: of what all find, it speaks.
const OWN_WORD: Duration = Duration::from_secs(2);
/// How long a rank that has told rank 0 waits to be ended.
const FOR_RANK_0: Duration = Duration::from_secs(5);
/// Between two looks, at least and at most.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_micros(200)];

/// What the others ask of the office.
pub(super) enum Letter {
    To { to: usize, message: Vec<u8> },
    Fail(Failure),
    Close,
}

/// Where this rank stands.
pub(super) struct Place {
    pub(super) rank: usize,
    pub(super) hosts: Vec<String>,
    /// For what comes of each rank.
    pub(super) boxes: Vec<Receiver<Vec<u8>>>,
    /// Whether each has done its part: nothing more comes of it.
    pub(super) ended: Arc<Vec<AtomicBool>>,
}

/// How far the job is from its end.
enum End {
    NotYet,
    /// This rank has done its part, and tells or is to be told.
    Done,
    /// All have.
    Closing,
    /// It fails: at the latest then.
    Failing(Failure, Instant),
}

pub(super) struct Office {
    world: SimpleCommunicator,
    rank: usize,
    hosts: Vec<String>,
    letters: Receiver<Letter>,
    boxes: Vec<Sender<Vec<u8>>>,
    /// To each rank, and of what tag.
    out: VecDeque<(usize, Tag, Flight)>,
    /// From each rank, in order.
    coming: Vec<VecDeque<(Tag, Flight)>>,
    /// The pieces so far of a message of each.
    pieces: Vec<Vec<u8>>,
    heard: Vec<Instant>,
    beaten: Instant,
    /// When this thread last looked: it may have been stopped with the whole process.
    turned: Instant,
    done: Vec<bool>,
    /// The same, for those who wait at the boxes.
    ended: Arc<Vec<AtomicBool>>,
    silence: Duration,
    end: End,
    tell: Box<dyn Fn(&Failure) + Send>,
    // Goes last: with it MPI ends.
    universe: Universe,
}

impl Office {
    /// Starts MPI on this thread.
    pub(super) fn open(
        letters: Receiver<Letter>,
        silence: Duration,
        tell: Box<dyn Fn(&Failure) + Send>,
    ) -> Result<(Self, Place)> {
        // The thread that starts MPI is the one that calls it.
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let Some((universe, threads)) = started else {
            return Err(Error::device("MPI was started twice in this process"));
        };
        if threads < Threading::Funneled {
            return Err(Error::device(
                "this MPI serves no program of several threads: take one that was built for them",
            ));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let mut own = [0u8; NAME];
        let name = gethostname::gethostname().to_string_lossy().into_owned();
        let length = name.len().min(NAME);
        own[..length].copy_from_slice(&name.as_bytes()[..length]);
        let mut all = vec![0u8; size * NAME];
        world.all_gather_into(&own[..], &mut all[..]);
        let hosts = all.chunks(NAME).map(|name| {
            let text = String::from_utf8_lossy(name);
            text.trim_end_matches('\0').to_string()
        });
        let hosts: Vec<String> = hosts.collect();
        let (boxes, received) = (0..size).map(|_| channel()).unzip();
        let now = Instant::now();
        let ended: Arc<Vec<AtomicBool>> =
            Arc::new((0..size).map(|_| AtomicBool::new(false)).collect());
        let office = Office {
            world,
            rank,
            hosts: hosts.clone(),
            letters,
            boxes,
            out: VecDeque::new(),
            coming: (0..size).map(|_| VecDeque::new()).collect(),
            pieces: vec![Vec::new(); size],
            heard: vec![now; size],
            beaten: now,
            turned: now,
            done: vec![false; size],
            ended: ended.clone(),
            silence,
            end: End::NotYet,
            tell,
            universe,
        };
        let place = Place {
            rank,
            hosts,
            boxes: received,
            ended,
        };
        Ok((office, place))
    }

    /// Carries letters until the job is over.
    pub(super) fn run(mut self) {
        let mut pause = PAUSES[0];
        loop {
            let moved = self.look();
            if matches!(self.end, End::Closing) && self.out.is_empty() {
                break;
            }
            pause = match moved {
                true => PAUSES[0],
                false => (pause * 2).min(PAUSES[1]),
            };
            match self.letters.recv_timeout(pause) {
                Ok(letter) => {
                    pause = PAUSES[0];
                    self.take(letter);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left to hand over any: the process ends without a word, and this thread with it.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause),
            }
        }
        drop(self.universe);
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.hosts.len()).filter(move |&other| other != rank)
    }

    fn name(&self, rank: usize) -> String {
        name(rank, &self.hosts)
    }

    fn post(&mut self, to: usize, tag: Tag, bytes: Vec<u8>) {
        let process = self.world.process_at_rank(to as i32);
        let flight = Flight::out(&process, tag, bytes);
        self.out.push_back((to, tag, flight));
    }

    fn take(&mut self, letter: Letter) {
        match letter {
            Letter::To { to, message } => {
                let mut rest = message;
                while rest.len() > MOST {
                    let after = rest.split_off(MOST);
                    self.post(to, PIECE, rest);
                    rest = after;
                }
                self.post(to, END, rest);
            }
            Letter::Fail(failure) => self.fail(failure),
            Letter::Close => {
                if matches!(self.end, End::NotYet) {
                    self.end = End::Done;
                    self.done[self.rank] = true;
                    if self.rank != 0 {
                        self.post(0, DONE, Vec::new());
                    }
                }
                self.close();
            }
        }
    }

    /// Rank 0 ends the job once all are done.
    fn close(&mut self) {
        if self.rank == 0 && matches!(self.end, End::Done) && self.done.iter().all(|&done| done) {
            for other in self.others() {
                self.post(other, CLOSE, Vec::new());
            }
            self.end = End::Closing;
        }
    }

    /// This rank has failed.
    fn fail(&mut self, failure: Failure) {
        if self.rank == 0 {
            self.abort(&failure);
        }
        if matches!(self.end, End::Failing(..)) {
            return;
        }
        let told = serde_json::to_vec(&failure);
        self.post(0, FAIL, told.expect("text becomes JSON"));
        self.end = End::Failing(failure, Instant::now() + FOR_RANK_0);
    }

    /// Says what is wrong, and ends all.
    fn abort(&self, failure: &Failure) -> ! {
        (self.tell)(failure);
        self.world.abort(i32::from(failure.code))
    }

    /// Whether anything has moved.
    fn look(&mut self) -> bool {
        let mut moved = self.send_on();
        while let Some((message, status)) = self.world.any_process().immediate_matched_probe() {
            let length = status.count(u8::equivalent_datatype()) as usize;
            let from = status.source_rank() as usize;
            let flight = Flight::into(message, length);
            self.coming[from].push_back((status.tag(), flight));
            self.heard[from] = Instant::now();
            moved = true;
        }
        for from in 0..self.coming.len() {
            moved |= self.hear(from);
        }
        self.live();
        moved
    }

    /// Forgets what has gone out; whether anything is still on its way.
    fn send_on(&mut self) -> bool {
        let out = std::mem::take(&mut self.out);
        let still = out.into_iter().filter_map(|(to, tag, flight)| {
            let flight = flight.landed().err()?;
            Some((to, tag, flight))
        });
        self.out = still.collect();
        self.out.iter().any(|(_, tag, _)| *tag != BEAT)
    }

    /// Takes what has come of a rank; whether there was anything, or is on its way.
    fn hear(&mut self, from: usize) -> bool {
        let mut moved = false;
        // Beats count by having come, whatever is still on its way before them.
        let coming = std::mem::take(&mut self.coming[from]).into_iter();
        let coming = coming.filter_map(|(tag, flight)| match tag {
            BEAT => Some((tag, flight.landed().err()?)),
            _ => Some((tag, flight)),
        });
        self.coming[from] = coming.collect();
        while let Some((tag, flight)) = self.coming[from].pop_front() {
            moved = true;
            let bytes = match flight.landed() {
                Ok(bytes) => bytes,
                Err(flight) => {
                    self.coming[from].push_front((tag, flight));
                    break;
                }
            };
            self.heard[from] = Instant::now();
            match tag {
                PIECE => self.pieces[from].extend(bytes),
                END => {
                    let message = match self.pieces[from].is_empty() {
                        true => bytes,
                        false => {
                            self.pieces[from].extend(bytes);
                            std::mem::take(&mut self.pieces[from])
                        }
                    };
                    // Where nobody waits any more, the process is at its end.
                    let _ = self.boxes[from].send(message);
                }
                FAIL => self.failed(from, &bytes),
                DONE => {
                    self.done[from] = true;
                    self.ended[from].store(true, Ordering::Relaxed);
                    self.close();
                }
                CLOSE => self.end = End::Closing,
                _ => {}
            }
        }
        moved
    }

    /// Another rank has failed.
    fn failed(&mut self, from: usize, told: &[u8]) {
        let unknown = |_| Failure {
            rank: self.name(from),
            problem: "failed".into(),
            code: LOST,
        };
        let failure = serde_json::from_slice(told).unwrap_or_else(unknown);
        if !matches!(self.end, End::Failing(..)) {
            self.end = End::Failing(failure, Instant::now() + OWN_WORD);
        }
    }

    /// Says that this rank lives, and sees that the others do.
    fn live(&mut self) {
        let now = Instant::now();
        // Time in which this process was stopped is nobody's silence.
        if now.duration_since(self.turned) > 2 * EVERY {
            self.heard = vec![now; self.heard.len()];
        }
        self.turned = now;
        if now.duration_since(self.beaten) >= EVERY {
            self.beaten = now;
            for other in self.others() {
                let waits = |(to, tag, _): &(usize, Tag, Flight)| (*to, *tag) == (other, BEAT);
                if !self.out.iter().any(waits) {
                    self.post(other, BEAT, Vec::new());
                }
            }
        }
        if let End::Failing(failure, at) = &self.end {
            if now >= *at {
                self.abort(failure);
            }
            return;
        }
        let lost = self.others().find(|&other| {
            let closed = matches!(self.end, End::Closing);
            !closed && now.duration_since(self.heard[other]) > self.silence
        });
        if let Some(lost) = lost {
            let failure = Failure {
                rank: self.name(self.rank),
                problem: format!(
                    "{} has not been heard of for {} s: it has died, or the network between the two is cut",
                    self.name(lost),
                    self.silence.as_secs()
                ),
                code: LOST,
            };
            // The first of those that are there tells; where that is not rank 0, the others give it time.
            let there = |&rank: &usize| {
                rank == self.rank || now.duration_since(self.heard[rank]) < self.silence / 2
            };
            let first = (0..self.hosts.len()).find(there);
            match (first == Some(self.rank), lost) {
                (true, _) => self.abort(&failure),
                (false, 0) => self.end = End::Failing(failure, now + FOR_RANK_0),
                (false, _) => self.fail(failure),
            }
        }
    }
}
