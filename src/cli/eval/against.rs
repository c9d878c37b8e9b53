//! `--compare-base`: what an adapter gained on the classes that it was trained on, and what it forgot of others.

use std::collections::BTreeMap;

use goldfish::data::Classes;
use goldfish::nn::Adapter;
use serde::Serialize;

use super::judged::Judged;
use crate::cli::terminal::plain;

/// What of an adapted network's answers the base can be asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The base has the same classes.
    Same,
    /// It has the first so many of them, and those only.
    First(usize),
    /// It has others.
    Other,
}

impl Kind {
    pub fn of(adapter: &Adapter) -> Self {
        match adapter.head.as_ref().map(|head| head.frozen()) {
            None => Kind::Same,
            Some(0) => Kind::Other,
            Some(frozen) => Kind::First(frozen),
        }
    }

    /// How many the base chooses from, where those are not all.
    pub fn first(self) -> Option<usize> {
        match self {
            Kind::First(frozen) => Some(frozen),
            Kind::Same | Kind::Other => None,
        }
    }
}

/// The base and the adapted network about the same pictures.
#[derive(Serialize)]
pub struct Against {
    /// What the comparison leaves out, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Over all pictures of classes that the base has.
    all: Change,
    /// Over those of classes that the adapter was trained on, where the run says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<Change>,
    /// Over the rest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Change>,
    categories: Vec<CategoryChange>,
    /// Pictures that the base alone had wrong.
    gained: Vec<String>,
    /// Pictures that the base alone had right.
    lost: Vec<String>,
}

/// How many of some pictures are right.
#[derive(Clone, Copy, Default, Serialize)]
struct Change {
    count: usize,
    /// Share that the base has right.
    before: f64,
    /// Share that the adapted network has right.
    after: f64,
    /// Pictures that the adapter put right.
    gained: usize,
    /// Pictures that it put wrong.
    lost: usize,
}

#[derive(Serialize)]
struct CategoryChange {
    index: usize,
    category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<bool>,
    #[serde(flatten)]
    change: Change,
}

impl Against {
    /// `trained` is what the adapter's run says that it learned from.
    pub fn new(
        kind: Kind,
        judged: &[Judged],
        trained: Option<&[String]>,
        classes: &Classes,
    ) -> Self {
        let names = trained.map(|names| {
            let found = names.iter().filter_map(|name| classes.find(name).ok()?);
            found.collect::<Vec<usize>>()
        });
        let is_trained = |index: usize| match kind {
            _ if names.as_ref().is_some_and(|n| n.contains(&index)) => Some(true),
            // The new classes are what a run with a head was for.
            Kind::First(frozen) => Some(index >= frozen),
            Kind::Same | Kind::Other => names.as_ref().map(|_| false),
        };
        let mut each: BTreeMap<usize, Vec<&Judged>> = BTreeMap::new();
        let known = judged.iter().filter(|one| one.before.is_some());
        known.for_each(|one| each.entry(one.label).or_default().push(one));
        let of = |wanted: Option<bool>| {
            let wanted = |label: &usize| wanted.is_none() || is_trained(*label) == wanted;
            let some = each.iter().filter(|(label, _)| wanted(label));
            Change::of(some.flat_map(|(_, pictures)| pictures.iter().copied()))
        };
        let part = |wanted| Some(of(Some(wanted))).filter(|change| change.count > 0);
        let paths = |wanted: fn(bool, bool) -> bool| {
            let changed = each.values().flatten().filter(|one| {
                let (before, after) = one.right();
                wanted(before, after)
            });
            changed.map(|one| one.path()).collect()
        };
        Against {
            note: note(kind, judged.len() - of(None).count),
            all: of(None),
            trained: part(true),
            others: part(false),
            categories: each
                .iter()
                .map(|(&index, pictures)| CategoryChange {
                    index,
                    category: classes.name(index),
                    trained: is_trained(index),
                    change: Change::of(pictures.iter().copied()),
                })
                .collect(),
            gained: paths(|before, after| !before && after),
            lost: paths(|before, after| before && !after),
        }
    }

    /// As lines below the table.
    pub fn table(&self) -> String {
        let line = |name: &str, change: &Change, rest: &str| {
            format!(
                "{name:<28} {:>6} {:>7.1} % {:>7.1} % {:>7} {:>6}  {rest}\n",
                change.count,
                change.before * 100.0,
                change.after * 100.0,
                change.gained,
                change.lost
            )
        };
        let mut text = String::new();
        if self.all.count > 0 {
            text = format!(
                "\n{:<28} {:>6} {:>9} {:>9} {:>7} {:>6}\n",
                "against the base", "images", "before", "after", "gained", "lost"
            );
            for category in &self.categories {
                let trained = match category.trained {
                    Some(true) => "trained",
                    _ => "",
                };
                text += &line(&plain(&category.category), &category.change, trained);
            }
            let parts = [
                ("classes it was trained on", &self.trained),
                ("other classes", &self.others),
            ];
            for (name, change) in parts {
                if let Some(change) = change {
                    text += &line(name, change, "");
                }
            }
            text += &line("all", &self.all, "");
        }
        if let Some(note) = &self.note {
            text += &format!("against the base: {note}\n");
        }
        text
    }
}

impl Change {
    fn of<'a>(pictures: impl Iterator<Item = &'a Judged<'a>>) -> Self {
        let mut change = Change::default();
        let (mut before, mut after) = (0, 0);
        for picture in pictures {
            let (was, is) = picture.right();
            change.count += 1;
            before += usize::from(was);
            after += usize::from(is);
            change.gained += usize::from(is && !was);
            change.lost += usize::from(was && !is);
        }
        let share = |part: usize| part as f64 / change.count.max(1) as f64;
        (change.before, change.after) = (share(before), share(after));
        change
    }
}

/// What cannot be compared, of so many pictures.
fn note(kind: Kind, left_out: usize) -> Option<String> {
    match kind {
        Kind::Same => None,
        Kind::Other => Some(
            "it has no such classes (the adapter brings a last layer of its own for them), and there is nothing to compare"
                .into(),
        ),
        Kind::First(_) if left_out == 0 => None,
        Kind::First(frozen) => Some(format!(
            "{left_out} of the pictures are of classes that it does not have; it is asked about those of its {frozen} alone, \
             and the adapted network chooses from all of its own"
        )),
    }
}
