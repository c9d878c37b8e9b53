//! Images in groups: the next is read while one is worked on, so that results come as soon as there are any, and no more
//! than two groups are in memory.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use goldfish::Result;
use goldfish::data::{ImageStore, Origin, Skipped, Transform};

use crate::cli::base::BaseArgs;
use crate::cli::images::tell_skipped;
use crate::cli::progress::Progress;
use crate::cli::stop::go_on;

/// Images of the first group, so that the first result is there soon; each has twice as many as the one before.
const FIRST: usize = 8;
/// Images of a group at most: a multiple of what goes through the network together.
const MOST: usize = 64;

/// The images of a command, not read yet.
pub struct Stream {
    origins: Vec<Origin>,
    transform: Transform,
    exif: bool,
    memory: u64,
    skip_bad: bool,
}

/// Some of them, read.
pub struct Group<'a> {
    /// Those that could be read.
    pub images: Arc<ImageStore>,
    /// Those that were left out of it.
    pub skipped: Vec<Skipped>,
    /// To be told of every image.
    pub progress: &'a mut Progress,
}

impl Stream {
    pub fn new(args: &BaseArgs, transform: Transform, origins: Vec<Origin>) -> Self {
        Stream {
            origins,
            transform,
            exif: args.exif,
            memory: args.memory(),
            skip_bad: args.skip_bad,
        }
    }

    /// The side of the square that the network takes of each.
    pub fn side(&self) -> usize {
        self.transform.size
    }

    /// What results call the images.
    pub fn names(&self) -> Vec<String> {
        let names = self.origins.iter().map(|origin| origin.name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Hands the images to `work`, a group at a time and in order.
    pub fn each(
        self,
        label: &'static str,
        mut work: impl FnMut(Group) -> Result<()>,
    ) -> Result<()> {
        let mut progress = Progress::new(label, "images", self.origins.len() as u64);
        let (sender, receiver) = sync_channel(0);
        let (mut read, mut first_bad) = (0, None);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut rest, mut size) = (&self.origins[..], FIRST);
                while !rest.is_empty() {
                    let (group, later) = rest.split_at(size.min(rest.len()));
                    (rest, size) = (later, (2 * size).min(MOST));
                    let group = ImageStore::read(
                        group.to_vec(),
                        self.transform,
                        self.exif,
                        self.memory,
                        self.skip_bad,
                        |_| go_on(0),
                    );
                    // A reader that is gone wants no more.
                    if sender.send(group).is_err() {
                        return;
                    }
                }
            });
            for group in receiver {
                let (images, skipped) = group?;
                progress.aside(|| tell_skipped(&skipped));
                read += images.len();
                first_bad = first_bad.take().or(skipped.first().cloned());
                work(Group {
                    images,
                    skipped,
                    progress: &mut progress,
                })?;
            }
            Ok(())
        })?;
        match first_bad.filter(|_| read == 0) {
            Some(bad) => Err(bad.alone()),
            None => {
                progress.finish("");
                Ok(())
            }
        }
    }
}
