//! One shelf of the store, as a run takes from it and puts onto it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::disk::{ABOUT, Full, Store, packs};
use super::key::{Holds, Key};
use super::pack::{Pack, Writing, length};
use crate::data::ContentHash;
use crate::files::write_atomic;

/// Bytes that a pack is put in its place with.
const PACK: u64 = 64 << 20;
/// Or after so long: what a run that is killed has computed since then is lost.
const AGE: Duration = Duration::from_secs(30);

/// The rows of one [`Key`], or the prints of one [`PrintKey`](super::PrintKey).
pub struct Shelf {
    store: Store,
    folder: PathBuf,
    key: Holds,
    digest: [u8; 32],
    packs: Vec<Pack>,
    /// Where a content's rows are: the pack's number, and the row's in it.
    index: BTreeMap<(ContentHash, u32), u32>,
    /// The pack that was read last.
    open: Option<(u32, Arc<File>)>,
    /// The packs that this run has taken from or written: they stay.
    own: HashSet<PathBuf>,
    writing: Option<(Writing, Instant)>,
    /// Bytes that a new pack may come to.
    room: u64,
    /// Nothing more is written.
    ended: bool,
    notes: Vec<String>,
    counts: Counts,
}

/// A row in its pack's file, of which no more is known.
pub(in crate::train) struct Found {
    pub(in crate::train) file: Arc<File>,
    pub(in crate::train) offset: u64,
    /// The number of the pack.
    pub(in crate::train) pack: u32,
}

/// What a run had of a shelf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were there.
    pub taken: usize,
    /// Rows that were put there.
    pub put: usize,
    /// Rows that were there and damaged.
    pub damaged: usize,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("folder", &self.folder)
            .field("key", &self.key)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Shelf {
    /// The shelf of `key` in `store`, with what is there. Packs that are damaged are removed.
    pub fn open(store: &Store, key: Key) -> Self {
        Self::of(store, key.into())
    }

    /// Of the prints of the images whose features a shelf holds; beside prints there are none.
    pub(super) fn beside(shelf: &Shelf) -> Option<Self> {
        match &shelf.key {
            Holds::Features(key) => {
                let mut prints = Self::of(&shelf.store, Holds::Prints(key.prints()));
                // The same run's, which has yet to take from them: no print is made room for with them.
                prints.own = shelf.packs.iter().map(|pack| pack.path.clone()).collect();
                Some(prints)
            }
            Holds::Prints(_) => None,
        }
    }

    fn of(store: &Store, key: Holds) -> Self {
        let folder = store.folder().join(key.folder());
        let mut shelf = Shelf {
            store: store.clone(),
            digest: key.digest(),
            packs: Vec::new(),
            index: BTreeMap::new(),
            open: None,
            own: HashSet::new(),
            writing: None,
            room: PACK,
            ended: store.most() == 0,
            notes: Vec::new(),
            counts: Counts::default(),
            folder,
            key,
        };
        for path in packs(&shelf.folder) {
            shelf.add(&path);
        }
        if !shelf.packs.is_empty() {
            // It is for those who list it: nothing is lost where it cannot be written.
            let _ = say(&shelf.folder, &shelf.key);
        }
        shelf
    }

    fn add(&mut self, path: &Path) {
        match Pack::open(path, self.key.row(), &self.digest) {
            Ok(pack) => {
                let number = self.packs.len() as u32;
                let entries = pack.entries.iter().zip(0..);
                self.index
                    .extend(entries.map(|(entry, row)| ((entry.content, number), row)));
                self.packs.push(pack);
            }
            // Another process made room.
            Err(_) if !path.exists() => {}
            Err(problem) => {
                let removed = match fs::remove_file(path) {
                    Ok(()) => "removed",
                    Err(_) => "left alone",
                };
                let path = path.display();
                self.notes
                    .push(format!("{path}: {problem}; {removed}, and computed again"));
            }
        }
    }

    /// What it holds.
    pub fn key(&self) -> &Holds {
        &self.key
    }

    /// What was had of it so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// For another run, which counts from here.
    pub(in crate::train) fn anew(mut self) -> Self {
        self.counts = Counts::default();
        self
    }

    /// What went wrong since this was last asked: each a sentence.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Whether there is a row of `content`; it may yet turn out to be damaged.
    pub fn has(&self, content: &ContentHash) -> bool {
        self.places(content).next().is_some()
    }

    /// The packs that a content has a row in, and which.
    fn places(&self, content: &ContentHash) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = self.index.range((*content, 0)..=(*content, u32::MAX));
        range.map(|((_, pack), row)| (*pack, *row))
    }

    /// Reads the row of `content` into `row` and says where it is; `None` where there is none, or none that is whole.
    pub(in crate::train) fn take(
        &mut self,
        content: &ContentHash,
        row: &mut Vec<u8>,
    ) -> Option<Found> {
        let places: Vec<(u32, u32)> = self.places(content).collect();
        let mut damaged = 0;
        for (pack, at) in places {
            match self.read(pack, at, row) {
                Ok(Some(file)) => {
                    self.counts.taken += 1;
                    let offset = u64::from(at) * row.len() as u64;
                    return Some(Found { file, offset, pack });
                }
                Ok(None) => damaged += 1,
                // Another process made room.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => damaged += 1,
            }
            self.index.remove(&(*content, pack));
        }
        self.counts.damaged += usize::from(damaged > 0);
        None
    }

    /// The file, where the row is whole.
    fn read(
        &mut self,
        number: u32,
        at: u32,
        row: &mut Vec<u8>,
    ) -> std::io::Result<Option<Arc<File>>> {
        let pack = &self.packs[number as usize];
        let file = match &mut self.open {
            Some((open, file)) if *open == number => file,
            other => {
                let file = Arc::new(File::open(&pack.path)?);
                if self.own.insert(pack.path.clone()) {
                    // When it was last used; where that cannot be said it goes the earlier.
                    let _ = file.set_modified(SystemTime::now());
                }
                &mut other.insert((number, file)).1
            }
        };
        let whole = pack.read(file, at as usize, row)?;
        Ok(whole.then(|| file.clone()))
    }

    /// No more rows than so many are to be put: no more is to go for them than they need.
    pub(super) fn expect(&mut self, rows: usize) {
        self.room = length(rows, self.key.row()).min(PACK);
    }

    /// Whether anything more is kept.
    pub(in crate::train) fn takes(&self) -> bool {
        !self.ended
    }

    /// Keeps a row of `content`, where there is room.
    pub(in crate::train) fn put(&mut self, content: &ContentHash, row: &[&[u8]]) {
        let pending = self.writing.as_ref().is_some_and(|(w, _)| w.has(content));
        if self.ended || pending || self.has(content) {
            return;
        }
        if let Err(error) = self.write(content, &row.concat()) {
            self.end(format!("{}: {error}", self.folder.display()));
        }
    }

    fn write(&mut self, content: &ContentHash, row: &[u8]) -> std::io::Result<()> {
        let (writing, _) = match &mut self.writing {
            Some(writing) => writing,
            none => {
                fs::create_dir_all(&self.folder)?;
                say(&self.folder, &self.key)?;
                let room = self.room.min(self.store.most());
                if let Some(full) = self.store.make_room(room, &self.own)? {
                    self.end(match full {
                        Full::Store => format!(
                            "the store holds as much as it may, {} MiB, and all of it is of this run",
                            self.store.most() >> 20
                        ),
                        Full::Disk => {
                            format!("the disk of {} is nearly full", self.folder.display())
                        }
                    });
                    return Ok(());
                }
                let writing = Writing::new(&self.folder, row.len(), self.digest)?;
                none.insert((writing, Instant::now()))
            }
        };
        writing.put(*content, row)?;
        self.counts.put += 1;
        if self.writing.as_ref().is_some_and(|(writing, since)| {
            writing.bytes() + row.len() as u64 > PACK.min(self.store.most())
                || since.elapsed() > AGE
        }) {
            self.seal();
        }
        Ok(())
    }

    /// Nothing more is kept, and why.
    fn end(&mut self, why: String) {
        self.seal();
        self.ended = true;
        self.notes.push(format!(
            "{why}: what this run computes from here on is not kept for the next"
        ));
    }

    /// Puts what was written so far in its place.
    pub(in crate::train) fn seal(&mut self) {
        let Some((writing, _)) = self.writing.take() else {
            return;
        };
        match writing.finish(&self.folder) {
            Ok(path) => {
                self.own.insert(path.clone());
                self.add(&path);
            }
            Err(error) => {
                self.ended = true;
                let folder = self.folder.display();
                self.notes.push(format!(
                    "{folder}: {error}: what this run computes is not kept for the next"
                ));
            }
        }
    }
}

/// Says beside the packs in `folder` what they hold, unless that stands there already.
fn say(folder: &Path, key: &Holds) -> std::io::Result<()> {
    let (about, text) = (folder.join(ABOUT), key.text());
    if fs::read(&about).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    write_atomic(&about, text.as_bytes()).map_err(std::io::Error::other)
}

impl Drop for Shelf {
    /// A run that is stopped keeps what it has.
    fn drop(&mut self) {
        self.seal();
    }
}
