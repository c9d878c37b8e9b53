//! What ranks say of the groups of a [`Stream`](super::stream::Stream): each tells rank 0 of its own, image by image, and rank 0
//! hears them in turn. It lets a rank be no more than a few groups ahead, and dismisses all where nothing more is wanted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use goldfish::data::{Origin, Skipped};
use goldfish::world::World;
use goldfish::{Error, Remedy, Result};
use serde::{Deserialize, Serialize};

/// Groups of a rank that rank 0 has not taken yet, at most: the one that it will ask for next, and the one after that.
const AHEAD: usize = 2;

/// What rank 0 says where it has taken a group of a rank.
const TAKEN: &[u8] = b"taken";
/// What it says where it wants no more.
const ENOUGH: &[u8] = b"enough";

/// The last byte of a message that is the numbers of an image.
const ROW: u8 = 0;
/// That of one that is JSON of [`Words`].
const WORDS: u8 = 1;

/// What is said of a group besides numbers; images are meant by their positions in it.
#[derive(Serialize, Deserialize)]
enum Words {
    /// It was read, but for some images, and why. The numbers of the others follow.
    Begun(LeftOut),
    /// Something is wrong with one: of this rank nothing more will come.
    Failed {
        image: usize,
        problem: String,
        /// Whether it can be left out.
        leave_out: bool,
    },
}

/// What rank 0 hears of a group.
pub enum Heard<'a> {
    /// It was read, but for these.
    Begun(LeftOut),
    /// What the network says of the next one.
    Row(&'a [f32]),
}

/// The images of a group that are left out, by their positions in it, and why.
pub type LeftOut = Vec<(usize, String)>;

/// The positions of those of `group` that were `skipped`.
pub fn left_out(group: &[Origin], skipped: &[Skipped]) -> LeftOut {
    let mut skipped = skipped.iter().peekable();
    let positions = group.iter().enumerate().filter_map(|(at, origin)| {
        let bad = skipped.next_if(|bad| bad.path == origin.name())?;
        Some((at, bad.reason.clone()))
    });
    positions.collect()
}

/// A group as its rank tells of it.
pub struct Told<'a> {
    world: &'a World,
    group: &'a [Origin],
}

impl<'a> Told<'a> {
    pub fn new(world: &'a World, group: &'a [Origin]) -> Self {
        Told { world, group }
    }

    fn say(&self, words: &Words) -> Result<()> {
        let mut message = serde_json::to_vec(words).expect("text becomes JSON");
        message.push(WORDS);
        self.world.send(0, message)
    }

    /// It was read, but for those that were `skipped`.
    pub fn begin(&self, skipped: &[Skipped]) -> Result<()> {
        self.say(&Words::Begun(left_out(self.group, skipped)))
    }

    /// What the network says of the next one.
    pub fn row(&self, row: &[f32]) -> Result<()> {
        let numbers: &[u8] = bytemuck::cast_slice(row);
        let mut message = Vec::with_capacity(numbers.len() + 1);
        message.extend_from_slice(numbers);
        message.push(ROW);
        self.world.send(0, message)
    }

    /// What went wrong: where it is about an image, rank 0 is told, and is to say so once it has shown those before it.
    pub fn fail(&self, error: Error) -> Result<()> {
        let path = match &error {
            Error::Data { path, .. } | Error::Io { path, .. } => path,
            _ => return Err(error),
        };
        let mut group = self.group.iter();
        let Some(image) = group.position(|origin| origin.name() == path) else {
            return Err(error);
        };
        self.say(&Words::Failed {
            image,
            leave_out: error.remedy() == Some(Remedy::LeaveOut),
            problem: error.problem(),
        })
    }
}

/// Gives `each` what `rank` says of a group, whose answers have `length` numbers.
pub fn hear(
    world: &World,
    rank: usize,
    group: &[Origin],
    length: usize,
    mut each: impl FnMut(Heard) -> Result<()>,
) -> Result<()> {
    let garbled = || world.garbled(rank);
    let mut rest = None;
    while rest != Some(0) {
        let mut message = world.receive(rank)?;
        match (message.pop(), &mut rest) {
            (Some(ROW), Some(rest)) if message.len() == 4 * length => {
                *rest -= 1;
                each(Heard::Row(&bytemuck::pod_collect_to_vec(&message)))?;
            }
            (Some(WORDS), rest) => match serde_json::from_slice(&message).map_err(|_| garbled())? {
                Words::Begun(left_out) => {
                    let in_order = left_out.is_sorted_by(|(a, _), (b, _)| a < b);
                    let within = left_out.last().is_none_or(|(last, _)| *last < group.len());
                    if !(in_order && within && rest.is_none()) {
                        return Err(garbled());
                    }
                    *rest = Some(group.len() - left_out.len());
                    each(Heard::Begun(left_out))?;
                }
                Words::Failed {
                    image,
                    problem,
                    leave_out,
                } => {
                    let image = group.get(image).ok_or_else(garbled)?;
                    let remedy = leave_out.then_some(Remedy::LeaveOut);
                    return Err(Error::data(image.name(), problem).with(remedy));
                }
            },
            _ => return Err(garbled()),
        }
    }
    Ok(())
}

/// Lets `rank` go on, of which a group was taken.
pub fn go_on_with(world: &World, rank: usize) -> Result<()> {
    world.send(rank, TAKEN.to_vec())
}

/// Tells all others that nothing more is wanted.
pub fn dismiss(world: &World) -> Result<()> {
    (1..world.size()).try_for_each(|rank| world.send(rank, ENOUGH.to_vec()))
}

/// How far rank 0 lets this rank go.
pub struct Leash {
    state: Mutex<Held>,
    changed: Condvar,
}

struct Held {
    /// Groups that may be begun yet.
    room: usize,
    /// Whether rank 0 wants no more, or is gone.
    dropped: bool,
}

impl Leash {
    /// Runs `work` on a rank that is led, and waits until rank 0 dismisses it.
    pub fn held(world: &World, work: impl FnOnce(&Leash) -> Result<()>) -> Result<()> {
        let held = Held {
            room: AHEAD,
            dropped: false,
        };
        let leash = Arc::new(Leash {
            state: Mutex::new(held),
            changed: Condvar::new(),
        });
        let (listener, world) = (leash.clone(), world.clone());
        let listening = std::thread::spawn(move || listener.listen(&world));
        // Where it fails the job ends, and no word of rank 0 is waited for.
        work(&leash)?;
        listening.join().unwrap_or(Ok(()))
    }

    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, world: &World) -> Result<()> {
        loop {
            let word = world.receive(0);
            let mut state = self.state();
            match word.as_deref() {
                Ok(TAKEN) => state.room += 1,
                _ => state.dropped = true,
            }
            self.changed.notify_all();
            if state.dropped {
                return word.map(drop);
            }
        }
    }

    /// Waits until the next group may be begun; `false` where none is wanted.
    pub fn wait(&self) -> bool {
        let closed = |state: &mut Held| state.room == 0 && !state.dropped;
        let waited = self.changed.wait_while(self.state(), closed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.room = state.room.saturating_sub(1);
        !state.dropped
    }

    /// Whether nothing more is wanted.
    pub fn is_dropped(&self) -> bool {
        self.state().dropped
    }

    /// An error where nothing more is wanted: it ends what is under way.
    pub fn go_on(&self) -> Result<()> {
        match self.is_dropped() {
            true => Err(Error::Interrupted { step: 0 }),
            false => Ok(()),
        }
    }
}
