//! The prints of pictures, kept from one run to the next: a run whose features are there decodes no picture for them.

use std::collections::BTreeMap;

use super::shelf::{Counts, Shelf};
use crate::data::ImageStore;
use crate::data::duplicates::Print;
use crate::error::Result;
use crate::world::World;

/// The prints of pictures of one transform.
#[derive(Debug)]
pub struct Prints {
    shelf: Shelf,
}

impl Prints {
    /// Those that lie beside what `shelf` holds of the same pictures; none beside prints.
    pub fn beside(shelf: &Shelf) -> Option<Self> {
        let shelf = Shelf::beside(shelf)?;
        Some(Prints { shelf })
    }

    /// Gives `images`, whose contents are known, the prints of those in `which`: those that are kept, the others made by the
    /// ranks of `world` and kept.
    ///
    /// # Errors
    /// As [`ImageStore::make_prints`].
    pub fn give(&mut self, images: &ImageStore, which: &[usize], world: &World) -> Result<()> {
        let mut row = Vec::new();
        let mut lacking = Vec::new();
        for &image in which.iter().filter(|&&image| !images.has_print(image)) {
            let content = images.content(image);
            let found = content.and_then(|content| self.shelf.take(&content, &mut row));
            match <&[u8; Print::BYTES]>::try_from(&row[..]) {
                Ok(bytes) if found.is_some() => images.give_print(image, Print::from_bytes(bytes)),
                _ => lacking.push(image),
            }
        }
        images.make_prints(&lacking, world)?;
        let made = lacking.iter().map(|&image| {
            let print = images.print(image)?;
            Ok(images.content(image).map(|content| (content, print)))
        });
        let made: Vec<_> = made.collect::<Result<_>>()?;
        // A picture may be there more than once.
        let made: BTreeMap<_, _> = made.into_iter().flatten().collect();
        self.shelf.expect(made.len());
        for (content, print) in made {
            self.shelf.put(&content, &[&print.to_bytes()]);
        }
        self.shelf.seal();
        Ok(())
    }

    /// What was had of them so far.
    pub fn counts(&self) -> Counts {
        self.shelf.counts()
    }

    /// What went wrong since this was last asked: each a sentence.
    pub fn notes(&mut self) -> Vec<String> {
        self.shelf.notes()
    }
}
