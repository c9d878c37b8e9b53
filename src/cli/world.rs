//! The ranks of a job as the command line meets them: joined where a launcher (mpirun, srun) has started several, of which rank 0
//! alone says anything.

use std::sync::OnceLock;

use goldfish::world::{Traffic, World};
use goldfish::{Error, Result};
use sha2::{Digest as _, Sha256};

use super::terminal::note;
use super::{stop, terminal};

static WORLD: OnceLock<World> = OnceLock::new();

/// The ranks of this job.
pub fn world() -> World {
    WORLD.get_or_init(World::alone).clone()
}

/// Joins the ranks that a launcher has started with this one; all of them were given the same words.
pub fn join() -> Result<()> {
    let (world, joined) = mpi::join()?;
    if !world.leads() {
        terminal::silence();
        stop::led();
    }
    let size = world.size();
    let _ = WORLD.set(world);
    joined?;
    match launched() {
        Some(started) if size == 1 => Err(alone_among(started)),
        _ => same_words(std::env::args_os()),
    }
}

/// How many processes a launcher says that it has started, where they are several.
fn launched() -> Option<usize> {
    const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];
    let sizes = SIZES.iter().filter_map(|name| {
        let size = std::env::var(name).ok()?.parse().ok()?;
        Some(size).filter(|&size: &usize| size > 1)
    });
    sizes.max()
}

/// Ends this rank's part of a job that went well.
pub fn leave() {
    mpi::close();
}

/// Ends the job on all ranks, where there are several: rank 0 says why. Returns where there are none.
pub fn fail(error: &Error, said: &str, code: u8) {
    match error {
        // It names the one that it is about.
        Error::Rank { rank, problem } => mpi::fail(Some(rank), problem, code),
        _ => mpi::fail(None, said, code),
    }
}

/// Says what this rank, of several, has handed over since `before`, and how much of `seconds` it waited for the others.
pub fn tell_traffic(before: Traffic, seconds: f64) {
    let world = world();
    if world.is_alone() {
        return;
    }
    let Traffic {
        sent,
        received,
        waited,
    } = world.traffic() - before;
    note!(
        "ranks    rank 0 of {}: {:.1} MiB sent, {:.1} MiB received, {:.0} % of {seconds:.1} s spent waiting for others",
        world.size(),
        sent as f64 / f64::from(1 << 20),
        received as f64 / f64::from(1 << 20),
        100.0 * waited / seconds.max(1e-3)
    );
}

/// Refuses what is one process's work.
pub fn one_alone(what: &str) -> Result<()> {
    let world = world();
    match world.is_alone() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{what} is the work of one process, and {} were started: leave mpirun out. train, predict, eval and doctor share \
             theirs",
            world.size()
        ))),
    }
}

/// Refuses ranks that were asked for different things; each may have a device of its own.
fn same_words(words: impl Iterator<Item = std::ffi::OsString>) -> Result<()> {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    let mut words = words.skip(1);
    while let Some(word) = words.next() {
        let word = word.as_encoded_bytes();
        if word == b"--device" {
            words.next();
        } else if !word.starts_with(b"--device=") {
            digest.update((word.len() as u64).to_le_bytes());
            digest.update(word);
        }
    }
    world().same("command line", &digest.finalize())
}

/// The device of this rank: the one that is `asked` for, else of those of its host that are GPUs its own, by its number there.
pub fn device(asked: Option<String>) -> Option<String> {
    let (number, ranks) = world().local();
    if asked.is_some() || ranks == 1 {
        return asked;
    }
    let devices = goldfish::gpu::devices();
    let own: Vec<usize> = devices
        .iter()
        .filter(|device| device.kind != "software")
        .map(|device| device.index)
        .collect();
    // Where there is none, all share the software one.
    let index = own.get(number % own.len().max(1))?;
    Some(index.to_string())
}

#[cfg(feature = "mpi")]
fn alone_among(started: usize) -> Error {
    Error::Usage(format!(
        "{started} processes were started, and they do not find one another: each would do all of the work. The launcher must be of the \
         MPI that goldfish was built with (Slurm: srun --mpi=pmix); or leave it out"
    ))
}

#[cfg(not(feature = "mpi"))]
fn alone_among(started: usize) -> Error {
    Error::Usage(format!(
        "{started} processes were started by a launcher, and this goldfish was built without MPI: each would do all of the work. Build \
         one that has it (cargo install --path . --features mpi), or leave the launcher out"
    ))
}

#[cfg(feature = "mpi")]
mod mpi {
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    use goldfish::world::{Failure, Mpi, SILENCE, World};
    use goldfish::{Error, Result};

    use crate::cli::stop;
    use crate::cli::terminal::{plain, say};

    /// Seconds of silence after which a rank is lost.
    const RANK_TIMEOUT: &str = "GOLDFISH_RANK_TIMEOUT";
    /// What launchers tell the processes that they start.
    const LAUNCHERS: [&str; 5] = [
        "OMPI_COMM_WORLD_SIZE",
        "PMIX_RANK",
        "PMI_RANK",
        "PMI_SIZE",
        "MPI_LOCALNRANKS",
    ];

    static JOINED: OnceLock<Arc<Mpi>> = OnceLock::new();

    /// The ranks, and what is wrong all the same.
    pub(super) fn join() -> Result<(World, Result<()>)> {
        if LAUNCHERS
            .iter()
            .all(|name| std::env::var_os(name).is_none())
        {
            return Ok((World::alone(), Ok(())));
        }
        let silence = silence();
        let tell = |failure: &Failure| say(format_args!("error: {failure}"));
        let mpi = Mpi::join(*silence.as_ref().unwrap_or(&SILENCE), tell)?;
        let world = World::of(mpi.clone());
        let _ = JOINED.set(mpi);
        Ok((world, silence.map(drop)))
    }

    fn silence() -> Result<Duration> {
        let Some(text) = std::env::var_os(RANK_TIMEOUT) else {
            return Ok(SILENCE);
        };
        let text = text.to_string_lossy();
        match text.parse() {
            Ok(seconds @ 2..=86_400) => Ok(Duration::from_secs(seconds)),
            _ => Err(Error::Usage(format!(
                "{RANK_TIMEOUT}={} is no number of seconds from 2 to 86400",
                plain(&text)
            ))),
        }
    }

    pub(super) fn close() {
        if let Some(mpi) = JOINED.get() {
            mpi.close();
        }
    }

    pub(super) fn fail(rank: Option<&str>, said: &str, code: u8) {
        if let Some(mpi) = JOINED.get() {
            if !mpi.fail(rank.map(str::to_string), said.into(), code) {
                say(format_args!("error: {said}"));
            }
            stop::end_at_once(code);
        }
    }
}

#[cfg(not(feature = "mpi"))]
mod mpi {
    use goldfish::Result;
    use goldfish::world::World;

    pub(super) fn join() -> Result<(World, Result<()>)> {
        Ok((World::alone(), Ok(())))
    }

    pub(super) fn close() {}

    pub(super) fn fail(_rank: Option<&str>, _said: &str, _code: u8) {}
}
